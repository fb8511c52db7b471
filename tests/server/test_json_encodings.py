"""The JSON door's messages: both documents' envelopes around the exchange's own bytes, and 004's prices."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.messages import Message
from market.streams import StreamName
from server.doors.json_encodings import RAW, RAW_PREFIXED, TYPED, PriceUpdates
from server.encodings import Encoding
from tests.market.samples import sample

RECEIVED_US = 1_763_000_000_123_456
STREAMS = [
    "spot:btcusdt@kline_1m",
    "spot:btcusdt@ticker",
    "spot:btcusdt@trade",
    "spot:btcusdt@bookTicker",
    "futures:btcusdt@kline_1m",
    "futures:btcusdt@markPrice@1s",
    "futures:btcusdt@depth20",
    "futures:btcusdt@forceOrder",
]


def written(encoding: Encoding, text: str, payload: bytes | None = None) -> Any:
    """What a client reads of one message."""
    return msgspec.json.decode(body(encoding, text, payload))


def body(encoding: Encoding, text: str, payload: bytes | None = None) -> bytes:
    stream = StreamName.parse(text)
    return encoding.encode(Message(stream, 7, RECEIVED_US, sample(text) if payload is None else payload))


@pytest.mark.parametrize("text", STREAMS)
def test_a_typed_message_satisfies_document_000_and_document_001(text: str) -> None:
    message, payload = written(TYPED, text), msgspec.json.decode(sample(text))
    stream = StreamName.parse(text)
    assert message["type"] == stream.event
    assert "stream" not in message
    assert {key: message["data"][key] for key in payload} == payload  # 001
    assert message["data"]["stream"] == stream.binance_name  # 000
    assert message["data"]["data"] == payload
    assert message.get("market") == ("futures" if stream.market == "futures" else None)


@pytest.mark.parametrize("text", STREAMS)
def test_a_raw_message_names_its_stream_and_has_no_type(text: str) -> None:
    message, payload = written(RAW, text), msgspec.json.decode(sample(text))
    name = StreamName.parse(text).binance_name
    assert set(message) == {"stream", "data"}
    assert message["stream"] == message["data"]["stream"] == name
    assert message["data"] == payload | {"stream": name, "data": payload}
    assert written(RAW_PREFIXED, text)["stream"] == text


@pytest.mark.parametrize("encoding", [TYPED, RAW, RAW_PREFIXED])
@pytest.mark.parametrize("text", [*STREAMS, "spot:btcusdt@depth5"])
def test_the_payload_is_the_exchange_s_byte_for_byte(encoding: Encoding, text: str) -> None:
    payload = sample(text)
    assert body(encoding, text).endswith(b'"data":' + payload + b"}}")


def test_an_array_of_all_symbols_is_data_as_it_is() -> None:
    payload = b'[{"e":"24hrMiniTicker","s":"BTCUSDT"}]'
    assert body(RAW, "!miniTicker@arr", payload) == b'{"stream":"!miniTicker@arr","data":%b}' % payload


def test_spot_depth_is_normalised_to_document_001s_shape() -> None:
    data = written(TYPED, "spot:btcusdt@depth5")["data"]
    payload = msgspec.json.decode(sample("spot:btcusdt@depth5"))
    assert data == {
        "e": "depthUpdate",
        "E": RECEIVED_US // 1000,
        "s": "BTCUSDT",
        "U": payload["lastUpdateId"],
        "u": payload["lastUpdateId"],
        "b": payload["bids"],
        "a": payload["asks"],
        "stream": "btcusdt@depth5",
        "data": payload,
    }
    assert written(TYPED, "spot:btcusdt@depth5")["type"] == "depth"


@pytest.mark.parametrize("payload", [b"[1]", b"", b"7", b'{"a":1'])
def test_what_is_no_object_is_refused_rather_than_spliced(payload: bytes) -> None:
    for encoding in (TYPED, RAW):
        with pytest.raises(ValueError, match="object"):
            body(encoding, "btcusdt@trade", payload)


@pytest.mark.parametrize(
    ("encoding", "text", "expected"),
    [
        (TYPED, "btcusdt@ticker", {"type": "gap", "stream": "btcusdt@ticker", "reason": "conflated"}),
        (RAW, "futures:btcusdt@trade", {"type": "gap", "stream": "btcusdt@trade", "reason": "dropped"}),
        (RAW_PREFIXED, "futures:btcusdt@trade", {"type": "gap", "stream": "futures:btcusdt@trade"}),
    ],
)
def test_a_gap_counts_what_a_slow_client_missed(encoding: Encoding, text: str, expected: dict[str, str]) -> None:
    told = encoding.gap(StreamName.parse(text), 3, 17)
    assert told is not None
    gap = msgspec.json.decode(told)
    assert gap | expected == gap
    assert (gap["missed"], gap["until"]) == (3, 17)


def _prices(tick_size: str | None) -> PriceUpdates:
    return PriceUpdates(lambda _symbol: tick_size)


def _book(bid: str, ask: str) -> bytes:
    return msgspec.json.encode({"u": 1, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1"})


def test_a_price_update_is_document_004s() -> None:
    update = written(_prices("0.01000000"), "btcusdt@bookTicker", _book("64908.38720000", "65560.73280000"))
    assert update == {
        "type": "PRICE_UPDATE",
        "data": {
            "symbol": "BTC",
            "bidPrice": 649083872,
            "askPrice": 655607328,
            "decimals": 4,
            "time": 1_763_000_000,
        },
    }


@pytest.mark.parametrize(
    ("tick_size", "bid", "decimals", "scaled"),
    [
        ("0.01000000", "65000.12000000", 4, 650001200),  # as the document's clients expect
        ("0.00000100", "0.01234500", 6, 12345),  # the tick is finer
        (None, "0.01234500", 6, 12345),  # the symbols are not known yet
        ("0.00010000", "0.01234500", 6, 12345),  # the tick was changed
    ],
)
def test_the_decimals_lose_no_digit(tick_size: str | None, bid: str, decimals: int, scaled: int) -> None:
    data = written(_prices(tick_size), "btcusdt@bookTicker", _book(bid, bid))["data"]
    assert (data["decimals"], data["bidPrice"], data["askPrice"]) == (decimals, scaled, scaled)


@given(st.decimals(min_value=0, max_value=100_000, places=8), st.sampled_from([None, "0.01", "0.0001", "0.00000001"]))
def test_prices_are_exact_whatever_the_tick(price: Decimal, tick_size: str | None) -> None:
    data = written(_prices(tick_size), "btcusdt@bookTicker", _book(f"{price:f}", f"{price:f}"))["data"]
    assert Decimal(data["bidPrice"]).scaleb(-data["decimals"]) == price


def test_what_is_no_price_is_refused() -> None:
    with pytest.raises(ValueError, match="no decimal number"):
        body(_prices("0.01"), "btcusdt@bookTicker", _book("cheap", "1"))


def test_a_gap_of_prices_is_told_in_document_004s_manner() -> None:
    gap = msgspec.json.decode(_prices("0.01").gap(StreamName.parse("btcusdt@bookTicker"), 2, 9))
    assert gap == {"type": "GAP", "data": {"symbol": "BTC", "missed": 2, "until": 9, "reason": "conflated"}}
