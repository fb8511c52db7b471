"""What a Socket.IO client asks for, and what it is answered."""

from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple, TypeAlias

from server.frames import Batch


class ClientEvent(NamedTuple):
    """One event of a client: its name as sent, its arguments, and whether an acknowledgement is due."""

    sid: str
    name: object
    arguments: list[Any]
    wants_ack: bool

    @property
    def data(self) -> object:
        """The first argument, or None."""
        return self.arguments[0] if self.arguments else None


class Reply(NamedTuple):
    """What a handler answers: the acknowledgement's body, and events and frames that go out right behind it."""

    body: object = None
    events: Sequence[tuple[str, object]] = ()
    behind: Sequence[Batch] = ()
    later: Coroutine[Any, Any, "Reply"] | None = None
    """The answer itself, where the client's next events need not wait for it."""


Answer: TypeAlias = Reply | Coroutine[Any, Any, Reply]
"""What answers an event: the reply at once, or what to await for it while the client's next events wait."""
