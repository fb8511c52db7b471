"""Draining: a replica that ends lets its clients go one after the other, so that they return elsewhere one by one.

New clients are refused with a 503, at which Nginx asks the next replica; those that are here are told when
they will be closed, and are served until then. The replica goes on listening meanwhile: long polling and
REST need it to the end.
"""

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

import structlog
from aiohttp import web

TICK_S: Final = 0.05
"""What is due within one tick is done at once."""
BATCH: Final = 200
"""How many clients are warned or closed before the loop turns again: live data does not wait for 10,000."""
RETRY_AFTER_S: Final = 1
"""What a refused client is told: by then a balancer knows that this replica takes nobody."""

log = structlog.get_logger(__name__)


class Notice(NamedTuple):
    """What a client is told: how long it may stay, in ms, and which replica it leaves."""

    delay_ms: int
    replica: str

    @property
    def body(self) -> dict[str, object]:
        """As clients read it."""
        return {"delayMs": self.delay_ms, "replica": self.replica}


class Leaver(Protocol):
    """One client that has to leave."""

    @property
    def notice_s(self) -> float:
        """How long before its end it is told, in s; infinite for as early as possible."""

    def warn(self, notice: Notice) -> None:
        """Tell the client that it will be closed."""

    def dismiss(self) -> None:
        """Close the client."""


class Departure(NamedTuple):
    """When one client is warned and closed, in s since the drain began."""

    leaver: Leaver
    warned_s: float
    closed_s: float


def plan_departures(leavers: Sequence[Leaver], drain_s: float, rng: random.Random) -> list[Departure]:
    """When each client goes, in random order and evenly over `drain_s`: no second sees more than its share.

    Clients with the same notice are spread by themselves, also their warnings: who leaves as soon as it is
    warned (as Binance's clients do at `serverShutdown`) arrives elsewhere as evenly as the others. A notice
    that is longer than half of the drain is cut to it; an infinite one is given at the beginning.
    """
    by_notice: dict[float, list[Leaver]] = {}
    for leaver in leavers:
        by_notice.setdefault(leaver.notice_s, []).append(leaver)
    departures = []
    for notice_s, group in by_notice.items():
        rng.shuffle(group)
        lead_s = 0.0 if math.isinf(notice_s) else min(notice_s, drain_s / 2)
        for number, leaver in enumerate(group, start=1):
            spread_s = (drain_s - lead_s) * number / len(group)
            departures.append(Departure(leaver, 0.0 if math.isinf(notice_s) else spread_s, lead_s + spread_s))
    return departures


class Drain:
    """Whether a replica drains, and the carrying out of it."""

    def __init__(self, replica: str, drain_s: float) -> None:
        self._replica = replica
        self._drain_s = drain_s
        self.is_draining = False
        self.dismissed_total = 0

    async def run(self, leavers: Sequence[Leaver]) -> None:
        """Warn and close `leavers`.

        Returns when `drain_s` is over, also where nobody is left: whoever asks `/health/ready` does so at intervals.
        """
        self.is_draining = True
        log.info("draining", replica=self._replica, clients=len(leavers), seconds=self._drain_s)
        loop = asyncio.get_running_loop()
        began = loop.time()
        departures = plan_departures(leavers, self._drain_s, random.SystemRandom())
        for at_s, steps in _timeline(departures, self._warn, self._dismiss):
            await asyncio.sleep(began + at_s - loop.time())
            for number, step in enumerate(steps, start=1):
                step()
                if number % BATCH == 0:
                    await asyncio.sleep(0)
        await asyncio.sleep(began + self._drain_s - loop.time())

    def _warn(self, departure: Departure) -> None:
        delay_ms = round((departure.closed_s - departure.warned_s) * 1000)
        departure.leaver.warn(Notice(delay_ms, self._replica))

    def _dismiss(self, departure: Departure) -> None:
        self.dismissed_total += 1
        departure.leaver.dismiss()


def turn_away(headers: dict[str, str] | None = None) -> web.Response:
    """What a new client is told by a replica that drains: 503, and to come back (RFC 9110, 15.6.4)."""
    return web.Response(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        text="Server shutting down",
        headers={**(headers or {}), "Retry-After": str(RETRY_AFTER_S)},
    )


def _timeline(
    departures: Iterable[Departure], warn: Callable[[Departure], None], dismiss: Callable[[Departure], None]
) -> Iterator[tuple[float, list[Callable[[], None]]]]:
    """All that is to be done, in order of time and by ticks; of one tick warnings come first."""
    steps = [(_tick(each.warned_s), 0, partial(warn, each)) for each in departures]
    steps += [(_tick(each.closed_s), 1, partial(dismiss, each)) for each in departures]
    steps.sort(key=lambda step: step[:2])
    for tick, group in itertools.groupby(steps, key=lambda step: step[0]):
        yield tick * TICK_S, [step for _, _, step in group]


def _tick(at_s: float) -> int:
    return math.floor(at_s / TICK_S)
