"""Work that many ask for at once and that is done once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, Generic, TypeVar

import structlog

from market.errors import Code, MarketError

MAX_FLIGHTS: Final = 256
"""How many different things may be under way at once."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


class _Flight(Generic[T]):
    """One piece of work under way, and how many wait for it."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


class Flights(Generic[T]):
    """Work by key: who asks for what is under way joins those who wait for it.

    The work belongs to none of them: it goes on when an asker is cancelled, also the first.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}
        self.joined_total = 0
        """How often somebody joined work that was under way."""

    def __len__(self) -> int:
        return len(self._flights)

    async def join(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `work`, which is begun unless it is under way.

        Raises what the work raises, and MarketError: rate_limited where MAX_FLIGHTS are under way,
        upstream_unavailable where the work was given up, which is no cancellation of the asker.
        """
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= MAX_FLIGHTS:
                raise MarketError(Code.RATE_LIMITED, "Too many different questions at once; try again")
            flight = self._flights[key] = _Flight(asyncio.get_running_loop().create_task(work()))
            flight.task.add_done_callback(lambda _task: self._land(key))
        else:
            self.joined_total += 1
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        except asyncio.CancelledError:
            asker = asyncio.current_task()
            if flight.task.cancelled() and not (asker and asker.cancelling()):
                raise MarketError(Code.UPSTREAM, "The question was given up: this server stops") from None
            raise
        finally:
            flight.waiting -= 1

    async def close(self) -> None:
        """Cancel all work."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _land(self, key: Hashable) -> None:
        flight = self._flights.pop(key)
        if not flight.task.cancelled() and (error := flight.task.exception()) and not flight.waiting:
            log.info("work failed that nobody waited for any more", key=key, error=repr(error))
