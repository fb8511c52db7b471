"""What JSON clients' messages mean, and the original's words for those that mean nothing."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import Code, MarketError
from market.streams import Market, StreamName
from server.doors.json_messages import read_message
from server.doors.json_requests import (
    PRICE_PACE,
    Command,
    Form,
    HistoricalKlines,
    Ping,
    Subscribe,
    Unsubscribe,
    UnsubscribeAll,
    parse_command,
    typed_to_leave,
)
from server.groups import Pace

LIMIT = 1024


def check(stream: StreamName) -> None:
    """An exchange that knows every symbol but two."""
    if stream.symbol in ("nopeusdt", "btcusd"):
        raise MarketError(Code.UNKNOWN_SYMBOL, f"Unknown symbol: {stream.symbol}", "BTCUSDT")


def parse(**message: Any) -> Command:
    return parse_command(read_message(msgspec.json.encode(message)), check, LIMIT)


def subscribed(**message: Any) -> list[tuple[str, Form]]:
    """The streams that a request subscribes to, in which form."""
    request = parse(**{"type": "subscribe"} | message)
    assert isinstance(request, Subscribe)
    assert request.rejected == []
    return [(str(item.stream), item.form) for item in request.items]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"streamType": "kline", "symbols": ["btcusdt", "ETHUSDT"]},
            ["spot:btcusdt@kline_1m", "spot:ethusdt@kline_1m"],
        ),
        ({"streamType": "kline", "symbols": ["btcusdt"], "options": {"interval": "5m"}}, ["spot:btcusdt@kline_5m"]),
        ({"streamType": "kline", "symbols": "BTCUSDT", "interval": "1h"}, ["spot:btcusdt@kline_1h"]),
        ({"streamType": "depth", "symbols": ["btcusdt"]}, ["spot:btcusdt@depth20"]),
        ({"streamType": "depth", "symbols": ["btcusdt"], "options": {"level": 5}}, ["spot:btcusdt@depth5"]),
        ({"streamType": "depth", "symbols": ["btcusdt"], "options": {"level": "10"}}, ["spot:btcusdt@depth10"]),
        ({"streamType": "ticker", "symbols": ["btcusdt"], "market": "futures"}, ["futures:btcusdt@ticker"]),
        ({"streamType": "markPrice", "symbols": ["btcusdt"]}, ["futures:btcusdt@markPrice@1s"]),
        (
            {"streamType": "markPrice", "symbols": ["btcusdt"], "options": {"updateSpeed": "3s"}},
            ["futures:btcusdt@markPrice"],
        ),
        ({"streamType": "liquidation", "symbols": ["_global_"]}, ["futures:*@forceOrder"]),
        ({"streamType": "liquidation", "symbols": ["ALL"]}, ["futures:*@forceOrder"]),
        ({"streamType": "kline", "symbols": ["all"]}, ["spot:*@kline_1m"]),
        ({"streamType": "ticker", "symbols": ["btcusdt", "BTCUSDT"]}, ["spot:btcusdt@ticker"]),
        ({"streamType": "trade", "symbols": ["btcusdt"]}, ["spot:btcusdt@trade"]),
    ],
    ids=str,
)
def test_a_typed_request_names_streams_by_type_symbols_and_options(
    message: dict[str, Any], expected: list[str]
) -> None:
    assert subscribed(**message) == [(stream, Form.TYPED) for stream in expected]


def test_a_raw_request_names_streams_as_binance_does() -> None:
    assert subscribed(rawStreams=["btcusdt@kline_1m", "ethusdt@depth20@100ms", "futures:btcusdt@markPrice"]) == [
        ("spot:btcusdt@kline_1m", Form.RAW),
        ("spot:ethusdt@depth20@100ms", Form.RAW),
        ("futures:btcusdt@markPrice", Form.RAW_PREFIXED),
    ]
    assert subscribed(rawStreams=["btcusdt@trade", "!forceOrder@arr"], market="futures") == [
        ("futures:btcusdt@trade", Form.RAW),
        ("futures:*@forceOrder", Form.RAW),
    ]


@pytest.mark.parametrize("named", [{"symbol": "BTC"}, {"asset": "btc"}, {"symbols": ["BTC"]}, {"symbols": "btc"}])
def test_document_004_names_base_assets(named: dict[str, Any]) -> None:
    request = parse(type="SUBSCRIBE", **named)
    assert isinstance(request, Subscribe)
    assert [(item.sent, str(item.stream), item.form) for item in request.items] == [
        ("BTC", "spot:btcusdt@bookTicker", Form.PRICE)
    ]
    assert request.pace == PRICE_PACE


@pytest.mark.parametrize(
    ("message", "text", "code"),
    [
        ({"type": "nonsense"}, "Unknown message type: nonsense", "unknown_event"),
        ({}, "Unknown message type: undefined", "unknown_event"),
        ({"type": "NONSENSE"}, "Unknown message type", "unknown_event"),
        ({"type": 7}, "Invalid message format", "bad_request"),
        ({"type": "subscribe", "streamType": "nothing", "symbols": ["btcusdt"]}, "Invalid stream type: nothing", None),
        ({"type": "subscribe", "symbols": ["btcusdt"]}, "Invalid stream type: undefined", "invalid_stream"),
        ({"type": "subscribe", "streamType": "all", "symbols": ["ALL"]}, "Invalid stream type: all", "invalid_stream"),
        ({"type": "subscribe", "streamType": "kline"}, "Symbols must be a non-empty array", "bad_request"),
        ({"type": "subscribe", "streamType": "kline", "symbols": 5}, "Symbols must be a non-empty array", None),
        ({"type": "subscribe", "streamType": "kline", "symbols": [1]}, "Symbols must be a non-empty array", None),
        ({"type": "unsubscribe", "streamType": "kline", "symbols": []}, "Symbol list must be non-empty", None),
        ({"type": "subscribe", "rawStreams": []}, "Stream list must be non-empty", "bad_request"),
        ({"type": "unsubscribe", "rawStreams": {}}, "Stream list must be non-empty", "bad_request"),
        ({"type": "getHistoricalKlines", "interval": "1m"}, "Symbol is required", "bad_request"),
        ({"type": "getHistoricalKlines", "symbol": "btcusdt"}, "Interval is required", "bad_request"),
        ({"type": "SUBSCRIBE"}, "Symbol is required", "bad_request"),
        ({"type": "subscribe", "rawStreams": ["a@trade"] * 1025}, "At most 1024 streams a client", "too_many_streams"),
        ({"type": "subscribe", "rawStreams": ["a@trade"], "throttle": 7}, "throttle must be one of", "bad_request"),
        ({"type": "subscribe", "rawStreams": ["a@trade"], "market": "moon"}, "market must be", "bad_request"),
        ({"type": "subscribe", "rawStreams": ["a@trade"], "since": [1]}, "since must map", "bad_request"),
        ({"type": "subscribe", "streamType": "kline", "symbols": ["a"], "options": [1]}, "Invalid options", None),
        ({"type": "subscribe", "streamType": "kline", "symbols": ["a"], "interval": "7m"}, "Invalid option", None),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_means_nothing_is_refused_in_the_original_s_words(
    message: dict[str, Any], text: str, code: str | None
) -> None:
    with pytest.raises(MarketError) as refused:
        parse(**message)
    assert refused.value.message.startswith(text)
    assert code is None or refused.value.code == code


@pytest.mark.parametrize(
    "data", ["", "nonsense", "[1]", "7", "null", '{"type":', b"\xff", "[" * 900_000, '{"a":' * 9999]
)
def test_what_is_no_json_object_is_refused(data: str | bytes) -> None:
    with pytest.raises(MarketError, match="Invalid message format"):
        read_message(data)


def test_each_name_is_judged_by_itself() -> None:
    request = parse(type="subscribe", streamType="ticker", symbols=["btcusdt", "nopeusdt", "b@d", "ALL"])
    assert isinstance(request, Subscribe)
    assert [item.sent for item in request.items] == ["btcusdt"]
    assert [(rejection.key, rejection.sent, rejection.error.code) for rejection in request.rejected] == [
        ("symbol", "nopeusdt", "unknown_symbol"),
        ("symbol", "b@d", "invalid_symbol"),
        ("symbol", "ALL", "bad_request"),
    ]


def test_an_unknown_asset_is_told_in_assets() -> None:
    request = parse(type="SUBSCRIBE", symbols=["NOPE", ""])
    assert isinstance(request, Subscribe)
    (unknown, missing) = request.rejected
    assert (unknown.error.message, unknown.error.suggestion) == ("Unsupported symbol: NOPE. Did you mean BTC?", "BTC")
    assert missing.error.message == "Symbol is required"


def test_binance_s_arrays_of_all_symbols_are_raw_streams_only() -> None:
    assert subscribed(rawStreams=["!miniTicker@arr"]) == [("spot:!miniTicker@arr", Form.RAW)]
    request = parse(type="subscribe", streamType="ticker", symbols=["!"])
    assert isinstance(request, Subscribe)
    assert [rejection.error.code for rejection in request.rejected] == ["invalid_symbol"]


@pytest.mark.parametrize(
    ("stream_type", "symbol", "stream"),
    [
        ("book", "BTCUSDT", "spot:btcusdt@book"),
        ("avgPrice", "BTCUSDT", "spot:btcusdt@avgPrice"),
        ("ticker_4h", "all", "spot:*@ticker_4h"),
        ("continuousKline", "BTCUSDT_PERPETUAL", "futures:btcusdt_perpetual@continuousKline_1m"),
    ],
)
def test_every_kind_is_a_stream_type(stream_type: str, symbol: str, stream: str) -> None:
    assert subscribed(streamType=stream_type, symbols=[symbol]) == [(stream, Form.TYPED)]


def test_a_kind_that_is_not_of_all_symbols_is_refused_by_symbol() -> None:
    request = parse(type="subscribe", streamType="book", symbols=["ALL"])
    assert isinstance(request, Subscribe)
    assert [rejection.error.code for rejection in request.rejected] == ["invalid_stream"]


def test_a_full_request_says_pace_snapshot_and_since() -> None:
    request = parse(
        type="subscribe", rawStreams=["btcusdt@trade"], throttle=250, snapshot=False, since={"btcusdt@trade": 5}
    )
    assert isinstance(request, Subscribe)
    assert (request.pace, request.snapshot) == (Pace(250), False)
    assert request.since == {StreamName.parse("btcusdt@trade"): 5}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({}, HistoricalKlines("BTCusdt", Market.SPOT, "1m", 500, None, None)),
        ({"limit": 5000, "isFutures": True}, HistoricalKlines("BTCusdt", Market.FUTURES, "1m", 1000, None, None)),
        ({"limit": "7", "market": "futures"}, HistoricalKlines("BTCusdt", Market.FUTURES, "1m", 7, None, None)),
        ({"startTime": 0, "endTime": 0.0}, HistoricalKlines("BTCusdt", Market.SPOT, "1m", 500, None, None)),
        ({"startTime": 1, "endTime": 2}, HistoricalKlines("BTCusdt", Market.SPOT, "1m", 500, 1, 2)),
    ],
)
def test_historical_klines_have_document_001s_parameters(message: dict[str, Any], expected: HistoricalKlines) -> None:
    assert parse(type="getHistoricalKlines", symbol="BTCusdt", interval="1m", **message) == expected


@pytest.mark.parametrize("limit", [-1, 1.5, "many", [], 2**60])
def test_a_limit_is_a_whole_number(limit: object) -> None:
    with pytest.raises(MarketError, match="limit must be a whole number"):
        parse(type="getHistoricalKlines", symbol="btcusdt", interval="1m", limit=limit)


def test_both_manners_of_ping_are_pings() -> None:
    assert parse(type="ping") == parse(type="PING") == Ping()


HELD = [
    StreamName.parse(text)
    for text in (
        "btcusdt@kline_1m", "btcusdt@kline_5m", "ethusdt@kline_1m", "btcusdt@depth5", "futures:btcusdt@kline_1m",
        "btcusdt@depth20", "btcusdt@ticker", "*@miniTicker",
    )
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ({"streamType": "kline", "symbols": ["BTCUSDT"]}, ["spot:btcusdt@kline_1m", "spot:btcusdt@kline_5m"]),
        ({"streamType": "kline", "symbols": ["btcusdt"], "options": {"interval": "5m"}}, ["spot:btcusdt@kline_5m"]),
        ({"streamType": "kline", "symbols": ["ALL"], "interval": "1m"}, [
            "spot:btcusdt@kline_1m", "spot:ethusdt@kline_1m",
        ]),
        ({"streamType": "kline", "symbols": ["btcusdt"], "market": "futures"}, ["futures:btcusdt@kline_1m"]),
        ({"streamType": "depth", "symbols": ["btcusdt"]}, ["spot:btcusdt@depth5", "spot:btcusdt@depth20"]),
        ({"streamType": "depth", "symbols": ["btcusdt"], "options": {"level": 20}}, ["spot:btcusdt@depth20"]),
        ({"streamType": "kline", "symbols": ["solusdt"]}, []),
        ({"streamType": "miniTicker", "symbols": ["ALL"]}, ["spot:*@miniTicker"]),
    ],
    ids=str,
)  # fmt: skip
def test_leaving_a_type_leaves_it_whatever_the_options_unless_they_are_given(
    message: dict[str, Any], left: list[str]
) -> None:
    request = parse(type="unsubscribe", **message)
    assert isinstance(request, Unsubscribe)
    assert [str(stream) for stream in typed_to_leave(request, HELD)] == left


@pytest.mark.parametrize(
    ("stream_type", "text"),
    [("trade", "Not subscribed to stream type: trade"), ("miniTicker", "Subscribed to ALL symbols: unsubscribe ALL")],
)
def test_leaving_what_is_not_held_is_refused(stream_type: str, text: str) -> None:
    request = parse(type="unsubscribe", streamType=stream_type, symbols=["btcusdt"])
    assert isinstance(request, Unsubscribe)
    with pytest.raises(MarketError) as refused:
        typed_to_leave(request, HELD)
    assert refused.value.message == text


def test_an_unknown_symbol_can_be_left() -> None:
    request = parse(type="unsubscribe", rawStreams=["nopeusdt@trade"])
    assert isinstance(request, Unsubscribe)
    assert (len(request.items), request.rejected) == (1, [])


def test_everything_is_left_at_once() -> None:
    everything = parse(type="unsubscribe", streamType="all", symbols=["ALL"])
    assert everything == UnsubscribeAll({"streamType": "all", "symbols": ["ALL"]})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["subscribe", "unsubscribe", "SUBSCRIBE", "getHistoricalKlines", "kline", "depth", "ALL"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = st.sampled_from(
    ["type", "streamType", "rawStreams", "symbols", "symbol", "asset", "options", "interval", "market", "isFutures",
     "limit", "startTime", "endTime", "throttle", "snapshot", "since"]
)  # fmt: skip


@given(st.dictionaries(KEYS, VALUES))
def test_whatever_comes_is_a_command_or_a_refusal(message: dict[str, object]) -> None:
    try:
        command = parse_command(read_message(msgspec.json.encode(message)), check, LIMIT)
    except MarketError as error:
        msgspec.json.encode([error.message, error.suggestion])
    else:
        assert command is not None
