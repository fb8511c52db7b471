"""What a subscription yields. All times in ms since the epoch unless a name says otherwise."""

from typing import Any, TypeAlias

import msgspec


class Message(msgspec.Struct, frozen=True):
    """One message of a stream; a snapshot is the first of its stream.

    `data` is the exchange's payload: prices and quantities are the strings that it sent. `ts` is when the service
    received it. `cursor` tells the messages of a stream apart and grows.
    """

    stream: str
    cursor: int
    ts: int
    data: Any


class Gap(msgspec.Struct, frozen=True):
    """Messages of a stream are missing here, between the one before and the one after.

    `missed` counts them and `until` is the cursor of the last, where that is known. Reasons: `conflated`, `dropped`
    (this machine read too slowly), `upstream` (nobody has them), `unread` (the program took them too slowly from its
    subscription), `away` (the server no longer has what came while the client was away).
    """

    stream: str
    missed: int | None
    until: int | None
    reason: str


class Disconnected(msgspec.Struct, frozen=True):
    """The connection was lost; the client is coming back by itself."""

    reason: str


class Recovered(msgspec.Struct, frozen=True):
    """The client is back after `away_s` seconds and all is subscribed again.

    What was missed has come in its place, each message once; of the streams in `lost` some is gone for good (each had
    its Gap with the reason `away`). `replica` serves the client now.
    """

    away_s: float
    replica: str
    lost: tuple[str, ...]


class Status(msgspec.Struct, frozen=True):
    """How the exchange's feed stands: `exchange` is `connected` or `disconnected`.

    `source` is `binance`, `simulated` or `replay`.
    """

    exchange: str
    source: str
    replica: str


class Draining(msgspec.Struct, frozen=True, rename="camel"):
    """The replica ends and will close the connection in `delay_ms`; the client then goes to another one by itself."""

    delay_ms: int
    replica: str


class Rejected(msgspec.Struct, frozen=True):
    """A stream is refused, or has ended for this client.

    Of a book with the code `too_many_books` the subscription stands: it begins as soon as there is room.
    """

    stream: str
    code: str
    message: str
    suggestion: str | None = None


Event: TypeAlias = Message | Gap | Disconnected | Recovered | Status | Draining | Rejected
