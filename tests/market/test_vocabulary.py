"""Messages, intervals, symbols and typed requests."""

import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import Code, MarketError
from market.intervals import SPOT_INTERVALS, close_time, next_open_time, open_time
from market.messages import Message
from market.requests import asset_of, asset_stream, typed_streams
from market.streams import Market, StreamName
from market.symbols import Catalog, SymbolInfo

TRADES = StreamName.parse("btcusdt@trade")
TIMES = st.integers(min_value=1_400_000_000_000, max_value=2_000_000_000_000)


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.binary())
def test_a_message_survives_the_bus_whatever_its_payload(cursor: int, received_us: int, payload: bytes) -> None:
    message = Message(TRADES, cursor, received_us, payload)
    assert Message.decode(TRADES, message.encode()) == message


@pytest.mark.parametrize("data", [b"", b"1", b"1 2", b"x 2 {}", b"1 y {}"])
def test_what_is_not_a_message_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Message.decode(TRADES, data)


@given(st.sampled_from(sorted(SPOT_INTERVALS)), TIMES)
def test_every_moment_is_in_exactly_one_candle(interval: str, at_ms: int) -> None:
    opened = open_time(interval, at_ms)
    assert opened <= at_ms <= close_time(interval, opened)
    assert open_time(interval, next_open_time(interval, opened)) == close_time(interval, opened) + 1


def test_weeks_open_on_monday_and_months_on_the_first() -> None:
    at = int(datetime(2026, 11, 21, 9, tzinfo=UTC).timestamp() * 1000)
    assert datetime.fromtimestamp(open_time("1w", at) / 1000, UTC) == datetime(2026, 11, 16, tzinfo=UTC)
    assert datetime.fromtimestamp(open_time("1M", at) / 1000, UTC) == datetime(2026, 11, 1, tzinfo=UTC)


def _info(symbol: str, status: str = "TRADING") -> SymbolInfo:
    return SymbolInfo(symbol, status, symbol.removesuffix("USDT"), "USDT", "0.01", "0.001")


CATALOG = Catalog(Market.SPOT, [_info("BTCUSDT"), _info("ETHUSDT"), _info("LUNAUSDT", "BREAK")])


def test_a_known_symbol_passes() -> None:
    CATALOG.check(TRADES)
    assert "btcusdt" in CATALOG
    assert CATALOG.trading == ("BTCUSDT", "ETHUSDT")


@pytest.mark.parametrize(
    ("name", "meant"), [("btcusdtt", "BTCUSDT"), ("eth", "ETHUSDT"), ("btcusd", "BTCUSDT"), ("zzz", None)]
)
def test_an_unknown_symbol_is_refused_with_what_was_probably_meant(name: str, meant: str | None) -> None:
    with pytest.raises(MarketError) as refusal:
        CATALOG.check(StreamName.parse(f"{name}@trade"))
    assert (refusal.value.code, refusal.value.suggestion) == (Code.UNKNOWN_SYMBOL, meant)


@pytest.mark.parametrize(
    ("market", "listed", "name"),
    [
        (Market.FUTURES, "1000SHIBUSDT", "shibusdt"),
        (Market.FUTURES, "1000SHIBUSDT", "shib"),
        (Market.SPOT, "SHIBUSDT", "1000shibusdt"),
        (Market.SPOT, "SHIBUSDT", "1000shib"),
    ],
)
def test_an_asset_traded_by_the_thousand_is_found_by_its_other_name(market: Market, listed: str, name: str) -> None:
    assert Catalog(market, [_info(listed), _info("BTCUSDT")]).suggest(name) == listed


def test_what_does_not_trade_is_not_suggested() -> None:
    assert CATALOG.suggest("LUNA") is None


def test_what_a_wrong_name_costs_does_not_grow_with_the_symbols_that_there_are() -> None:
    def calls(count: int) -> int:
        names = (f"{number:04}USDC" for number in range(count))
        catalog = Catalog(Market.SPOT, [SymbolInfo(name, "TRADING", name, "USDC", "0.01", "0.01") for name in names])
        made = 0

        def count_call(_frame: object, event: str, _argument: object) -> None:
            nonlocal made
            made += event in {"call", "c_call"}

        sys.setprofile(count_call)
        try:
            suggestion = catalog.suggest("77777XYZ")
        finally:
            sys.setprofile(None)
        assert suggestion is None
        return made

    assert calls(2) == calls(2_000)


def test_a_halted_symbol_says_so() -> None:
    with pytest.raises(MarketError, match="BREAK") as refusal:
        CATALOG.check(StreamName.parse("lunausdt@trade"))
    assert refusal.value.code is Code.NOT_TRADING


@pytest.mark.parametrize(
    ("stream_type", "options", "market", "expected"),
    [
        ("kline", {}, None, "spot:btcusdt@kline_1m"),
        ("kline", {"interval": "4h"}, Market.FUTURES, "futures:btcusdt@kline_4h"),
        ("depth", {}, None, "spot:btcusdt@depth20"),
        ("depth", {"level": 5}, None, "spot:btcusdt@depth5"),
        ("depth", {"level": "10"}, None, "spot:btcusdt@depth10"),
        ("ticker", {}, Market.FUTURES, "futures:btcusdt@ticker"),
        ("markPrice", {}, None, "futures:btcusdt@markPrice@1s"),
        ("markPrice", {"updateSpeed": "3s"}, Market.SPOT, "futures:btcusdt@markPrice"),
        ("liquidation", {}, None, "futures:btcusdt@forceOrder"),
        ("continuousKline", {}, None, "futures:btcusdt_perpetual@continuousKline_1m"),
    ],
)
def test_typed_requests_mean_what_documents_000_and_001_say(
    stream_type: str, options: dict[str, object], market: Market | None, expected: str
) -> None:
    assert [str(stream) for stream in typed_streams(stream_type, ["BTCUSDT"], options, market)] == [expected]


@pytest.mark.parametrize(
    ("stream_type", "symbols", "options", "code"),
    [
        ("candles", ["btcusdt"], {}, Code.INVALID_STREAM),
        ("kline", [], {}, Code.BAD_REQUEST),
        ("kline", ["btcusdt"], {"interval": "7m"}, Code.INVALID_STREAM),
        ("depth", ["btcusdt"], {"level": 7}, Code.INVALID_STREAM),
        ("depth", ["btcusdt"], {"level": [5]}, Code.INVALID_STREAM),
        ("markPrice", ["btcusdt"], {"updateSpeed": "2s"}, Code.INVALID_STREAM),
        ("ticker", ["btc/usdt"], {}, Code.INVALID_SYMBOL),
    ],
)
def test_typed_requests_that_mean_nothing_are_refused(
    stream_type: str, symbols: list[str], options: dict[str, object], code: Code
) -> None:
    with pytest.raises(MarketError) as refusal:
        typed_streams(stream_type, symbols, options, None)
    assert refusal.value.code is code


def test_all_means_every_symbol_in_any_case() -> None:
    assert str(typed_streams("kline", ["all"], {}, None)[0]) == "spot:*@kline_1m"


def test_an_asset_means_its_usdt_pair() -> None:
    assert str(asset_stream("BTC")) == "spot:btcusdt@ticker"
    assert asset_of("btcusdt") == "BTC"
