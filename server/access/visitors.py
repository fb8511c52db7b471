"""A visitor: who stands behind a connection or a request, and what they may do here."""

from typing import Final

import msgspec

from server.connections import MAX_STREAMS


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a visitor may do. None means: as the replica's settings say for everybody."""

    subject: str = ""
    """Whom the credentials name; empty for those who showed none."""
    streams: tuple[str, ...] = ("*",)
    """Patterns of stream names in their text form (`spot:btcusdt@*`); `*` = all."""
    max_streams: int = MAX_STREAMS
    max_connections: int | None = None
    """Connections of the subject, in the whole cluster."""
    commands_per_second: float | None = None
    expires_at: float | None = None
    """Unix time in s at which it ends, during a connection too; None = never."""
    is_operator: bool = False
    """Whether `/metrics`, `/cluster` and the admin surface are open to it."""


ANYONE: Final = Grant()
"""What those are granted who need no credentials."""


class Visitor:
    """One client's address and grant; its connections carry it for as long as they live."""

    __slots__ = ("address", "grant")

    def __init__(self, address: str, grant: Grant = ANYONE) -> None:
        self.address = address
        self.grant = grant
