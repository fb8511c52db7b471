"""A lean Socket.IO client over WebSocket that behaves like the stock one: it returns by itself, and resumes by `since`.

It checks the ids of the trades that it receives, which have no holes: a missing one was lost, one that
comes again was doubled. Source: docs/protocol.md; Engine.IO 4, Socket.IO 5; the pause before a
new connection is socket.io-client's (`reconnectionDelay` 1000, `randomizationFactor` 0.5, at most 5000 ms).
"""

import asyncio
import random
import re
from typing import Final

from loadtest.probe.lean import Address, LeanWebSocket
from loadtest.rolling.figures import Figures

STREAM: Final = "spot:btcusdt@trade"
PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 5.0
ANSWER_S: Final = 10.0
"""A subscription that is not acknowledged within this has failed."""
_PATH: Final = "/socket.io/?EIO=4&transport=websocket"
_CURSOR: Final = re.compile(rb'^42\["trade",\{"stream":"[^"]+","cursor":(\d+)')


class LeanClient(LeanWebSocket):
    """One client. `is_subscribed` while a subscription of its present connection is acknowledged."""

    def __init__(self, host: str, port: int, source: str, figures: Figures) -> None:
        super().__init__(Address(host, port, source=source), _PATH)
        self._figures = figures
        self._is_over = False
        self._last = 0
        self._cut_at: float | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self.is_subscribed = False
        figures.clients += 1

    async def run(self) -> None:
        """Be connected, again and again, until cancelled."""
        failures = 0
        try:
            while True:
                failures = 0 if await self.connect() else failures + 1
                pause_s = min(MAX_PAUSE_S, PAUSE_S * 2**failures)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 # jitter
        finally:
            self._is_over = True
            self.abort()

    def opened(self) -> None:
        """Wait for the server, which speaks first (LeanWebSocket)."""

    def text_received(self, payload: bytes) -> None:
        """Take a packet (LeanWebSocket)."""
        if (trade := _CURSOR.match(payload)) is not None:
            self._check(int(trade[1]))
        elif payload == b"2":
            self.send(b"3")
        elif payload.startswith(b"0{"):
            self.send(b"40")
        elif payload.startswith(b"40{"):
            self._subscribe()
        elif payload.startswith(b"430["):
            self._acknowledged(payload)
        elif payload.startswith(b'42["draining"'):
            self._figures.told += 1

    def ended(self, *, was_open: bool) -> None:
        """Count the end of a connection (LeanWebSocket)."""
        if self._is_over:
            return
        now = asyncio.get_running_loop().time()
        if not was_open:
            self._figures.failed_connects += 1
        else:
            self._figures.cuts.append(now)
            if not self.is_subscribed:
                self._figures.failed_subscribes += 1
        if self._cut_at is None:
            self._cut_at = now
        self._stop_waiting()
        self.is_subscribed = False

    def _subscribe(self) -> None:
        since = b',"since":{"%b":%d}' % (STREAM.encode(), self._last) if self._last else b""
        self.send(b'420["subscribe",{"streams":["%b"]%b}]' % (STREAM.encode(), since))
        # Its end counts the subscription as failed.
        self._deadline = asyncio.get_running_loop().call_later(ANSWER_S, self.abort)

    def _acknowledged(self, packet: bytes) -> None:
        self._stop_waiting()
        now = asyncio.get_running_loop().time()
        if b'"ok":true' not in packet:
            self._figures.failed_subscribes += 1
            return
        self.is_subscribed = True
        if self._last and b'"recovered":true' not in packet:
            self._figures.unrecovered += 1
        if self._cut_at is not None:
            self._figures.returns.append(now)
            self._figures.slowest_return_s = max(self._figures.slowest_return_s, now - self._cut_at)
            self._cut_at = None

    def _check(self, cursor: int) -> None:
        self._figures.received += 1
        if self._last and cursor <= self._last:
            self._figures.doubled += 1
            return
        if self._last:
            self._figures.lost += cursor - self._last - 1
        self._last = cursor

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
