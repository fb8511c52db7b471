"""The bounded queue between the connection and a program that takes events more slowly than they come."""

import asyncio
from collections import deque
from typing import Final

from .errors import TickcastError
from .events import Event, Gap, Message, Rejected
from .names import is_book, is_state

UNREAD: Final = "unread"


class Inbox:
    """Events in their order: at most `limit`, and beyond those a message and a Gap of each stream.

    Past the limit a state stream's waiting message is replaced by the latest, and an event stream's messages are
    dropped, with a Gap in their place that counts them. A book that lost a change is silent until its next snapshot.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[list[Event]] = deque()
        """Cells of one event, which may be replaced while it waits."""
        self._cells: dict[str, list[Event]] = {}
        """The last waiting cell of each key."""
        self._torn: set[str] = set()
        """Books that lost a change here."""
        self._end: TickcastError | None = None
        self._wake: asyncio.Future[None] | None = None
        self.conflated_total = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Event) -> bool:
        """Take one event; False for a message that was dropped."""
        is_full = len(self._waiting) >= self._limit
        if isinstance(event, Message) and not is_state(event.stream):
            if event.stream in self._torn and event.data["e"] != "bookSnapshot":
                self._drop(event, announce=_gap_key(event.stream) in self._cells)
                return False
            if is_full:
                self._drop(event, announce=True)
                return False
            self._torn.discard(event.stream)
            self._cells.pop(_gap_key(event.stream), None)  # what is dropped from now on comes behind this message
        self._place(event, conflate=is_full)
        return True

    def is_torn(self, book: str) -> bool:
        """Whether `book` lost a change here and waits for a snapshot; nothing waits for one behind the end."""
        return self._end is None and book in self._torn

    def end(self, error: TickcastError) -> None:
        """Nothing comes any more: `get` raises `error` behind what waits."""
        self._end = self._end or error
        self._notify()

    async def get(self) -> Event:
        """The next event, as soon as there is one. Raises what `end` was given."""
        while not self._waiting:
            if self._end is not None:
                raise self._end
            if self._wake is not None:
                raise RuntimeError("Two tasks iterate over one subscription")
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        cell = self._waiting.popleft()
        key = _key(cell[0])
        if self._cells.get(key) is cell:
            del self._cells[key]
        return cell[0]

    def _place(self, event: Event, *, conflate: bool) -> None:
        key = _key(event)
        cell = self._cells.get(key) if conflate else None
        if cell is not None:
            self.conflated_total += 1
            before = cell[0]
            cell[0] = _both(before, event) if isinstance(event, Gap) and isinstance(before, Gap) else event
            return
        cell = [event]
        self._waiting.append(cell)
        self._cells[key] = cell
        self._notify()

    def _drop(self, message: Message, *, announce: bool) -> None:
        self.dropped_total += 1
        if is_book(message.stream):
            self._torn.add(message.stream)
        if announce:
            self._place(Gap(message.stream, 1, message.cursor, UNREAD), conflate=True)

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


def _both(first: Gap, second: Gap) -> Gap:
    """One gap for two that follow each other."""
    missed = None if first.missed is None or second.missed is None else first.missed + second.missed
    return Gap(first.stream, missed, second.until, first.reason if first.reason == second.reason else UNREAD)


def _gap_key(stream: str) -> str:
    return f"Gap {stream}"


def _key(event: Event) -> str:
    """What a later event must share with a waiting one to take its place."""
    if isinstance(event, Message):
        return event.stream
    return f"{type(event).__name__} {event.stream}" if isinstance(event, Gap | Rejected) else type(event).__name__
