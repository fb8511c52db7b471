"""How late the event loop is: what blocks it delays every client."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import Metric

from telemetry.families import histograms
from telemetry.histograms import Histogram

EVERY_S: Final = 0.1


class LoopLag:
    """One timer, every EVERY_S; uvloop's timers count in ms, so that up to 1 ms of lateness is theirs.

    `then` is called every time: what else is to be done so often needs no timer of its own.
    """

    def __init__(self, then: Callable[[], None] | None = None) -> None:
        self._then = then
        self._histogram = Histogram()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._wait()

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        text = "How late timers of the event loop are, sampled every 100 ms"
        yield histograms("loop_lag_seconds", text, [], [((), self._histogram)])

    def _wait(self) -> None:
        # Not `loop.time()`: uvloop looks at the clock once a turn, which is what is measured here.
        due = time.monotonic() + EVERY_S
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._ring, due)

    def _ring(self, due: float) -> None:
        self._histogram.observe(max(0.0, time.monotonic() - due))
        if self._then is not None:
            self._then()
        self._wait()
