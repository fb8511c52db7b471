"""Canonical payloads, as Binance sent them, in every door's envelope: docs/asyncapi.yaml describes the result."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from market.errors import Code, MarketError
from market.messages import Message
from market.streams import Kind, Market, StreamName
from server.doors.binance_ws import COMBINED
from server.doors.binance_ws import RAW as PAYLOADS
from server.doors.json_encodings import RAW, RAW_PREFIXED, TYPED, PriceUpdates
from server.doors.socketio_encodings import CRYPTO_UPDATES, KIND_EVENTS, PRICE_UPDATES
from server.encodings import Encoding
from tests.market.samples import samples
from tests.support.documented import Documented

RECORDED_LINES = 6_000
RECORDED_STEP = 19
PRICES = PriceUpdates(lambda _symbol: None)


def _event(packet: bytes | None) -> tuple[str, Any]:
    """The event and body of an Engine.IO text packet."""
    assert packet is not None
    event, body = json.loads(packet.removeprefix(b"42"))
    return event, body


def _messages(*kinds: Kind) -> list[Message]:
    """A message of every canonical payload, or of those kinds."""
    return [
        Message(stream, 1, 1_795_275_394_401_000, payload)
        for stream, payload in samples().items()
        if not kinds or stream.kind in kinds
    ]


@pytest.mark.parametrize("message", _messages(), ids=lambda message: str(message.stream))
def test_a_payload_of_binances_is_as_documented_at_every_door(message: Message) -> None:
    stream = message.stream
    event, body = _event(KIND_EVENTS.encode(message))
    assert event == stream.event
    Documented("io").check(event, body)
    typed = json.loads(TYPED.encode(message))
    assert typed["type"] == stream.event
    Documented("json").check(typed["type"], typed)
    for raw in (RAW, RAW_PREFIXED):
        Documented("json").check("raw", json.loads(raw.encode(message)))
    if stream.kind is not Kind.BOOK:  # Binance has no such stream
        Documented("binance").check(f"{stream.market}Payload", json.loads(PAYLOADS.encode(message)))
        Documented("binance").check(f"{stream.market}Combined", json.loads(COMBINED.encode(message)))


def test_recorded_messages_of_binances_are_as_documented(recordings: Path) -> None:
    documented = Documented("binance")
    for file in sorted((recordings / "ws").glob("*.ndjson.gz")):
        with gzip.open(file) as lines:
            for line in islice(lines, 0, RECORDED_LINES, RECORDED_STEP):
                recorded = json.loads(line)
                market, message = Market(recorded["market"]), recorded["raw"]
                if _is_carried(market, message):
                    documented.check(f"{market}Combined", message)
    assert set(documented.seen) == {"spotCombined", "futuresCombined"}


def _is_carried(market: Market, message: dict[str, Any]) -> bool:
    try:
        return bool(StreamName.parse(message.get("stream", ""), market))
    except MarketError:
        return False


def test_derived_views_are_as_documented() -> None:
    spot = StreamName.parse("btcusdt@ticker"), StreamName.parse("btcusdt@bookTicker")
    ticker, book = (next(m for m in _messages() if m.stream == stream) for stream in spot)
    for encoding in (PRICE_UPDATES, CRYPTO_UPDATES):
        event, body = _event(encoding.encode(ticker))
        Documented("io").check(event.replace(":", "-"), body)
    Documented("json").check("PRICE_UPDATE", json.loads(PRICES.encode(book)))


@pytest.mark.parametrize("name", ["spot:btcusdt@trade", "futures:btcusdt@ticker"])
def test_a_gap_is_as_documented_at_both_of_our_doors(name: str) -> None:
    stream = StreamName.parse(name)
    for events in (KIND_EVENTS, PRICE_UPDATES, CRYPTO_UPDATES):
        Documented("io").check(*_event(events.gap(stream, 3, 17)))
    by_type: list[Encoding] = [TYPED, RAW, RAW_PREFIXED, PRICES]
    for encoding in by_type:
        body = json.loads(encoding.gap(stream, 3, 17) or b"")
        Documented("json").check(body["type"], body)


def test_a_book_for_which_there_is_no_room_is_refused_as_documented() -> None:
    stream, error = StreamName.parse("btcusdt@book"), MarketError(Code.TOO_MANY_BOOKS, "No room for this book.")
    Documented("io").check(*_event(KIND_EVENTS.refusal(stream, error)))
    for encoding in (TYPED, RAW):
        Documented("json").check("error", json.loads(encoding.refusal(stream, error)))


def test_a_message_that_is_not_documented_is_found() -> None:
    with pytest.raises(AssertionError, match="'pong' was expected"):
        Documented("json").check("pong", {"type": "ping"})
