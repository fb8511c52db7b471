"""When updates are published: one pace for every server, whatever its publisher is written in."""

import random
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from loadtest.bench.processes import BenchError

JITTER: Final = 0.25
"""A tick is late by up to this part of the interval, or JITTER_MAX_S."""
JITTER_MAX_S: Final = 0.005
"""More than a tick of the kernel, whose accounting would otherwise see the server in the same phase of every turn."""


class Pace(NamedTuple):
    """`rate` updates a second, every `tick_ms` in one batch; None: one by one, evenly but for the jitter."""

    rate: float
    tick_ms: float | None = None

    @property
    def tick_s(self) -> float:
        """Between two batches, in s."""
        return 1 / self.rate if self.tick_ms is None else self.tick_ms / 1000

    def commands(self, due: int) -> bytes:
        """What tells a publisher to publish the `due` updates: as one batch, or one by one."""
        return b"1\n" * due if self.tick_ms is None else b"%d\n" % due


class Metronome:
    """Tells a publisher how many updates to publish, in a thread of its own, from `start` to `stop`."""

    def __init__(self, tell: Callable[[bytes], None], pace: Pace) -> None:
        self._tell = tell
        self._pace = pace
        self._stopping = threading.Event()
        self._error: BenchError | None = None
        self._thread = threading.Thread(target=self._run, name="metronome", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. Raises BenchError when the publisher was lost meanwhile."""
        self._stopping.set()
        self._thread.join()
        if self._error:
            raise self._error

    def _run(self) -> None:
        began = time.monotonic()
        jitter_s = min(JITTER * self._pace.tick_s, JITTER_MAX_S)
        sent = ticks = 0
        while not self._stopping.is_set():
            ticks += 1
            # Half an update ahead, so that rounding does not turn two even ticks into an empty and a double one.
            due = int(ticks * self._pace.tick_s * self._pace.rate + 0.5) - sent
            late_s = random.uniform(0.0, jitter_s)  # noqa: S311 # spreads load, guards nothing
            time.sleep(max(0.0, began + ticks * self._pace.tick_s + late_s - time.monotonic()))
            if due:
                try:
                    self._tell(self._pace.commands(due))
                except BenchError as error:
                    self._error = error
                    return
                sent += due
