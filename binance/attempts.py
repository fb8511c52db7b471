"""How often we knock at one of Binance's doors: attempts counted by address, and pauses that were ordered.

Binance admits 300 attempts in 5 minutes per IP address, which several of our processes commonly share:
what they attempt, and the pauses that a refused handshake orders, stand in a ledger that all of them
reach (binance/ledger.py). Source: Binance "WebSocket Streams", "Limits".
"""

import asyncio
import random
import time
from typing import Final

import structlog

from binance.counters import Counters, Trouble
from binance.ledger import Ledger, Pause, SharedPause
from market.windows import RollingWindow

# The ledger's totals begin anew every period, so that up to two of them fall into any 5 minutes.
ATTEMPTS: Final = 150
PERIOD_S: Final = 300

_LEDGER_WAIT_S: Final = (1.0, 5.0)
# All who wait for the end of a pause would come at once.
_SPREAD_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 3 * 86_400.0

_log = structlog.get_logger(__name__)


class Attempts:
    """The attempts on one host by all connections of this process, and, with a ledger, by all processes.

    A ledger that is away lets each process have its safe part, as bus/base.py says of `spend`.
    """

    def __init__(self, host: str, ledger: Ledger | None, counters: Counters) -> None:
        self._host = host
        self._ledger = ledger
        self._pause = None if ledger is None else SharedPause(ledger, f"pause:connect:{host}")
        self._counters = counters
        self._window = RollingWindow(ATTEMPTS, PERIOD_S)
        self._paused_until = 0.0
        self._is_spent = False

    async def take(self) -> None:
        """Wait until one more attempt may be made, and count it."""
        while True:
            await self._sit_out_pause()
            if (wait_s := self._window.wait_s(time.monotonic())) > 0:
                self._note_spent()
                await asyncio.sleep(wait_s)
            elif not await self._spend_shared():
                self._note_spent()
                # When the period of the ledger's total ends is not known here.
                await asyncio.sleep(random.uniform(*_LEDGER_WAIT_S))  # noqa: S311 # spreads load, guards nothing
            # Other connections of this process may have taken the last one while the ledger answered.
            elif self._window.allow(time.monotonic()):
                self._is_spent = False
                self._counters.attempts += 1
                return

    async def pause(self, retry_after_s: float, status: int) -> None:
        """Have all processes make no attempt for `retry_after_s`: a handshake was refused with `status`."""
        pause_s = min(retry_after_s, _LONGEST_PAUSE_S)
        self._paused_until = max(self._paused_until, time.monotonic() + pause_s)
        if self._pause is not None:
            now = time.time()
            await self._pause.extend(Pause(now + pause_s, status, "handshake refused"), now)

    async def _sit_out_pause(self) -> None:
        if self._pause is not None and (shared := await self._pause.read()) is not None:
            pause_s = min(shared.until - time.time(), _LONGEST_PAUSE_S)
            self._paused_until = max(self._paused_until, time.monotonic() + pause_s)
        # Another connection's refusal may prolong the pause meanwhile.
        while (wait_s := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 # waits for the clock
            await asyncio.sleep(wait_s + random.uniform(0, _SPREAD_S))  # noqa: S311 # spreads load, guards nothing

    async def _spend_shared(self) -> bool:
        if self._ledger is None:
            return True
        return await self._ledger.spend(f"attempts:{self._host}", 1, ATTEMPTS, PERIOD_S) is not None

    def _note_spent(self) -> None:
        self._counters.troubles[Trouble.ATTEMPTS_SPENT] += 1
        if not self._is_spent:
            self._is_spent = True
            _log.warning("connection attempts are used up", host=self._host)
