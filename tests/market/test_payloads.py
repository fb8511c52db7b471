import gzip
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from market.cursors import cursor_of
from market.errors import MarketError
from market.payloads import BookTicker, Kline, Ticker, decode_payload, ticker_from_rest
from market.streams import Market, StreamName
from tests.market.samples import samples

CURSORS = {"trade": "t", "aggTrade": "a", "bookTicker": "u", "depth": "u", "book": "u"} | {
    "depth5": "lastUpdateId",
    "depth20": "u",
}
# Recorded, but not among the kinds that Tickcast carries.
NOT_CARRIED = {"!bookTicker", "defiusdt@compositeIndex"}


@pytest.mark.parametrize(("stream", "payload"), samples().items(), ids=str)
def test_every_canonical_payload_decodes(stream: StreamName, payload: bytes) -> None:
    decoded = decode_payload(stream, payload)
    symbol = getattr(decoded, "symbol", None) or getattr(getattr(decoded, "order", None), "symbol", "BTCUSDT")
    assert symbol == "BTCUSDT"


@pytest.mark.parametrize(("stream", "payload"), samples().items(), ids=str)
def test_the_cursor_is_the_field_that_orders_the_stream(stream: StreamName, payload: bytes) -> None:
    assert cursor_of(stream, payload) == msgspec.json.decode(payload)[CURSORS.get(stream.kind, "E")]


@pytest.mark.parametrize(("stream", "payload"), samples().items(), ids=str)
def test_unknown_keys_are_harmless(stream: StreamName, payload: bytes) -> None:
    newer = payload[:-1] + b',"zz":{"new":[1,2]}}'
    assert decode_payload(stream, newer) == decode_payload(stream, payload)
    assert cursor_of(stream, newer) == cursor_of(stream, payload)


def test_a_payload_without_its_cursor_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        cursor_of(StreamName.parse("btcusdt@trade"), b'{"e":"trade"}')


def test_prices_keep_the_digits_that_the_exchange_sent() -> None:
    book = decode_payload(StreamName.parse("btcusdt@bookTicker"), samples()[StreamName.parse("btcusdt@bookTicker")])
    assert isinstance(book, BookTicker)
    assert book.bid == "67012.33000000"


def test_a_futures_kline_with_blanks_decodes_like_any_other() -> None:
    stream = StreamName.parse("futures:btcusdt@kline_1m")
    kline = decode_payload(stream, samples()[stream])
    assert isinstance(kline, Kline)
    assert (kline.candle.interval, kline.candle.closed, kline.candle.trades) == ("1m", False, 10)


class _Line(msgspec.Struct):
    market: Market
    conn: str
    raw: msgspec.Raw


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


def test_every_recorded_message_decodes_and_has_a_cursor(recordings: Path) -> None:
    decoded: Counter[str] = Counter()
    for file in sorted(recordings.glob("ws/*.ndjson.gz")):
        with gzip.open(file) as lines:
            for line in lines:
                decoded.update(_decode_line(msgspec.json.decode(line, type=_Line)))
    assert decoded.total() > 240_000
    assert {kind for kind in decoded if kind not in CURSORS} == {
        "continuousKline",
        "forceOrder",
        "kline",
        "markPrice",
        "miniTicker",
        "ticker",
    }


def _decode_line(line: _Line) -> list[str]:
    """The kinds of the messages in one recorded line; REST bodies and control replies have none."""
    raw = bytes(line.raw)
    if raw.startswith((b'{"result"', b'{"error"')) or line.conn.startswith(("/api/", "/fapi/")):
        return []
    if raw.startswith(b'{"stream"'):
        combined = msgspec.json.decode(raw, type=_Combined)
        name, payload = combined.stream, bytes(combined.data)
    else:
        name, payload = line.conn.rpartition("/ws/")[2], raw
    try:
        stream = StreamName.parse(name, line.market)
    except MarketError:
        assert name in NOT_CARRIED
        return []
    bodies = (
        [bytes(body) for body in msgspec.json.decode(payload, type=list[msgspec.Raw])]
        if payload[:1] == b"["
        else [payload]
    )
    for body in bodies:
        decode_payload(stream, body)
        assert cursor_of(stream, body) > 0
    return [stream.kind.value] * len(bodies)


def test_a_recorded_rest_ticker_becomes_the_ticker_of_the_stream(recordings: Path) -> None:
    with gzip.open(recordings / "rest/rest-responses.ndjson.gz") as lines:
        bodies = [
            line
            for line in (msgspec.json.decode(line, type=_Line) for line in lines)
            if "24hr?symbol=BTCUSDT" in line.conn
        ]
    tickers = [ticker_from_rest(bytes(body.raw)) for body in bodies]
    assert all(
        isinstance(ticker, Ticker) and ticker.symbol == "BTCUSDT" and float(ticker.last) > 0 for ticker in tickers
    )
    assert len(tickers) == 2
