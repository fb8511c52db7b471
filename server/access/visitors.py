"""A visitor: who stands behind a connection or a request, and what they may do here."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from market.errors import Code, MarketError
from market.streams import StreamName
from server.access.patterns import compiled, parts_of
from server.access.unauthorized import UnauthorizedError
from server.connections import MAX_STREAMS

EVERYTHING: Final = ("*",)
"""The patterns that cover every stream."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor may do. None means: as the replica's settings say for everybody."""

    subject: str = ""
    """Whom the credentials name; empty for those who showed none."""
    streams: tuple[str, ...] = EVERYTHING
    """Patterns of stream names in their text form (`spot:btcusdt@*`, server/access/patterns.py); `*` = all."""
    max_streams: int = MAX_STREAMS
    max_connections: int | None = None
    """Connections of the subject, in the whole cluster."""
    commands_per_second: float | None = None
    expires_at: float | None = None
    """Unix time in s at which it ends, during a connection too; None = never."""
    is_operator: bool = False
    """Whether `/metrics`, `/cluster` and the admin surface are open to it."""
    key_id: str = ""
    """The API key that it comes from; empty where it comes from none."""

    def covers(self, stream: StreamName) -> bool:
        """Whether a client with this grant may have `stream`."""
        return self.streams == EVERYTHING or compiled(self.streams).match(*parts_of(stream))

    def uncovered(self, streams: Iterable[StreamName]) -> list[StreamName]:
        """Those of `streams` that a client with this grant may not have; of many at once cheaper than one by one."""
        if self.streams == EVERYTHING:
            return []
        patterns = compiled(self.streams)
        return [stream for stream in streams if not patterns.match(*parts_of(stream))]

    def check(self, stream: StreamName) -> None:
        """Raise MarketError (forbidden) for a stream that it does not cover."""
        if not self.covers(stream):
            raise MarketError(Code.FORBIDDEN, f"Your credentials do not cover {stream}")

    def covers_parts(self, market: str, symbol: str, kind: str) -> bool:
        """As `covers`, of what is no stream: candles of the past, or an endpoint's data."""
        return self.streams == EVERYTHING or compiled(self.streams).match(market, symbol.lower(), kind)

    def check_parts(self, market: str, symbol: str, kind: str) -> None:
        """As `check`, of what is no stream."""
        if not self.covers_parts(market, symbol, kind):
            name = f"{market}:{symbol.lower()[:40]}@{kind[:40]}"
            raise MarketError(Code.FORBIDDEN, f"Your credentials do not cover {name}")

    def guarding(self, check: Callable[[StreamName], None]) -> Callable[[StreamName], None]:
        """`check`, and before it that of this grant: what is forbidden is not even known to exist."""
        if self.streams == EVERYTHING:
            return check
        patterns = compiled(self.streams)

        def both(stream: StreamName) -> None:
            if not patterns.match(*parts_of(stream)):
                self.check(stream)
            check(stream)

        return both


ANYONE: Final = Grant()
"""What those are granted who need no credentials."""


class Visitor:
    """One client's address and grant; its connections carry it for as long as they live."""

    __slots__ = ("address", "grant", "refusal", "refused_total")

    def __init__(self, address: str, grant: Grant = ANYONE) -> None:
        self.address = address
        self.grant = grant
        self.refusal: UnauthorizedError | None = None
        """Why a Socket.IO client may not connect, unless its CONNECT packet shows better credentials."""
        self.refused_total = 0
        """How often its credentials were refused."""
