"""Some streams of a client, read as one sequence of events."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Self

from .errors import ClosedError, RefusedError
from .events import Event, Gap, Rejected
from .inbox import UNREAD, Inbox
from .names import is_book
from .routes import Terms

if TYPE_CHECKING:
    from .client import Client


class Subscription(AsyncIterator[Event]):
    """Iterate over it: messages of its streams and what happens to them, in order, across lost connections.

    One task iterates. `rejected` is what was refused of the streams that were asked for last. While nobody iterates,
    at most `max_waiting` events wait (tickcast_client/inbox.py says what happens then); `waiting`, `conflated_total`
    and `dropped_total` tell how it stands.
    """

    def __init__(self, client: "Client", terms: Terms, max_waiting: int) -> None:
        self._client = client
        self.terms = terms
        self.inbox = Inbox(max_waiting)
        self.rejected: tuple[Rejected, ...] = ()

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams it has, by their full names (`spot:btcusdt@trade`)."""
        return tuple(self._client.streams_of(self))

    @property
    def waiting(self) -> int:
        """Events that wait to be taken."""
        return len(self.inbox)

    @property
    def conflated_total(self) -> int:
        """Messages that later ones replaced while nobody took them."""
        return self.inbox.conflated_total

    @property
    def dropped_total(self) -> int:
        """Messages that were dropped, each counted in a Gap with the reason `unread`."""
        return self.inbox.dropped_total

    async def add(self, *streams: str) -> None:
        """Subscribe to more streams.

        Raises RefusedError where all of them are refused, with the code of the first; `rejected` says what of each.
        """
        self.rejected = tuple(await self._client.join(self, streams, self.terms))
        refused = {rejected.stream for rejected in self.rejected}
        if refused and len(refused) >= len(set(streams)):
            first = self.rejected[0]
            raise RefusedError(first.code, first.message, suggestion=first.suggestion)

    async def remove(self, *streams: str) -> tuple[str, ...]:
        """Leave streams; the full names of those left."""
        return tuple(await self._client.leave(streams))

    async def close(self) -> None:
        """Leave all streams, and end the iteration behind what waits."""
        self.inbox.end(ClosedError())
        await self._client.forget(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        try:
            event = await self.inbox.get()
        except ClosedError:
            raise StopAsyncIteration from None
        if isinstance(event, Gap) and event.reason == UNREAD and is_book(event.stream):
            self._client.renew(self, event.stream)
        return event
