"""How the Socket.IO door writes messages: whole Engine.IO text packets (`42[event, body]`)."""

import time
from functools import lru_cache

import msgspec

from market import views
from market.errors import MarketError
from market.messages import Message
from market.payloads import Ticker
from market.requests import asset_of
from market.streams import StreamName
from server.encodings import Encoding, gap_reason
from server.refusals import refusal_of

_decode_ticker = msgspec.json.Decoder(Ticker).decode


def event_text(event: str, body: object) -> bytes:
    """One event for the main namespace; `body` may hold `msgspec.Raw` parts, which stay as they are."""
    return b"42" + msgspec.json.encode([event, body])


def gap_body(stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> dict[str, object]:
    """The body of a `gap` event; the reason is server/encodings.py's."""
    reason = gap_reason(stream, upstream=upstream)
    return {"stream": str(stream), "missed": missed, "until": until, "reason": reason}


class _TextEvents(Encoding):
    """Events as text; a gap is an event of its own."""

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes:
        """`gap {stream, missed, until, reason}`: `missed` messages were left out, the last with cursor `until`."""
        return event_text("gap", gap_body(stream, missed, until, upstream=upstream))

    def refusal(self, stream: StreamName, error: MarketError) -> bytes:
        """`error {code, message, stream}`."""
        return event_text("error", refusal_of(error).body | {"stream": str(stream)})


class KindEvents(_TextEvents):
    """The full protocol: an event named by kind with `{stream, cursor, ts, data}`; `ts` in ms, `data` untouched."""

    def encode(self, message: Message) -> bytes:
        """The event of `message`; the payload's bytes are copied, not decoded."""
        head = _head(message.stream)
        return b'%b%d,"ts":%d,"data":%b}]' % (head, message.cursor, message.received_us // 1000, message.payload)


class PriceUpdates(_TextEvents):
    """Document 002's `price_update`, made of spot tickers."""

    def encode(self, message: Message) -> bytes:
        """The event of one ticker message."""
        return b'42["price_update",%b]' % views.price_update(_decode_ticker(message.payload))


class CryptoUpdates(_TextEvents):
    """Document 003's `crypto:update`, made of the latest spot ticker at every tick."""

    def encode(self, message: Message) -> bytes:
        """The tick of one asset, stamped with the time of sending."""
        asset = asset_of(message.stream.symbol)
        body = views.crypto_update(asset, _decode_ticker(message.payload), time.time_ns() // 1_000_000)
        return b'42["crypto:update",%b]' % body


KIND_EVENTS = KindEvents()
PRICE_UPDATES = PriceUpdates()
CRYPTO_UPDATES = CryptoUpdates()


@lru_cache(maxsize=65_536)
def _head(stream: StreamName) -> bytes:
    return b'42["%b",{"stream":%b,"cursor":' % (stream.event.encode(), msgspec.json.encode(str(stream)))
