"""What credentials claim, turned into a grant: one object with the same names in a token and beside an API key. Pure.

`{"streams": ["spot:*"], "max_streams": 100, "max_connections": 5, "commands_per_second": 10, "operator": false}`;
each may be missing. What is not of this shape is refused as a whole: a misspelt limit would be no limit.
"""

import math
from typing import Annotated, Final

import msgspec

from server.access.patterns import compiled
from server.access.visitors import EVERYTHING, Grant
from server.connections import MAX_STREAMS

MAX_PATTERNS: Final = 256

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The claims of one token or API key; None and what is missing mean: as for everybody."""

    streams: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_PATTERNS)] = EVERYTHING
    max_streams: _Count | None = None
    max_connections: _Count | None = None
    commands_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    operator: bool = False

    def __post_init__(self) -> None:
        compiled(self.streams)
        if self.commands_per_second is not None and not math.isfinite(self.commands_per_second):
            raise ValueError("commands_per_second must be a number")

    def grant(self, subject: str, *, expires_at: float | None = None, key_id: str = "") -> Grant:
        """The grant that `subject` has by these claims."""
        return Grant(
            subject=subject,
            streams=self.streams,
            max_streams=MAX_STREAMS if self.max_streams is None else min(self.max_streams, MAX_STREAMS),
            max_connections=self.max_connections,
            commands_per_second=self.commands_per_second,
            expires_at=expires_at,
            is_operator=self.operator,
            key_id=key_id,
        )


def parse_claims(value: object) -> Claims:
    """The claims in a decoded JSON object. Raises ValueError for what is not of their shape."""
    return msgspec.convert(value, Claims)
