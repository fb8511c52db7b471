"""What neither copy of a stream brought: waited for, asked for, or given up."""

import asyncio
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from bus.loglimit import LogLimit
from market.announcements import REPAIR_TOPIC, REPAIRED_TOPIC, RepairAsk, Repaired, encode
from market.errors import MarketError
from market.messages import Message
from market.streams import StreamName
from server.arbiter import Hole
from server.channels import ArbitratedChannel

ASK_AFTER_S: Final = 0.25
"""How long the other copy has to bring what one has lost, in s."""
GIVE_UP_AFTER_S: Final = 1.5
"""How long messages behind a hole wait at most, in s."""
_CHECK_S: Final = 0.05

log = structlog.get_logger(__name__)
_decode: Final = msgspec.json.Decoder(Repaired).decode


class _Wait:
    """A channel whose messages wait for others before them."""

    __slots__ = ("asked", "channel", "hole", "since")

    def __init__(self, channel: ArbitratedChannel, hole: Hole, since: float) -> None:
        self.channel = channel
        self.hole = hole
        self.since = since
        self.asked = False


class Repairs:
    """Sees to it that no channel waits for longer than GIVE_UP_AFTER_S for what is missing.

    What the other copy has not brought within ASK_AFTER_S is asked for (ingestor/repair.py answers);
    what nobody has is given up, and clients are told.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waits: dict[StreamName, _Wait] = {}
        self._check: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self.asked_total = 0
        self._malformed_log = LogLimit()
        self.malformed_total = 0
        """Answers that were not understood."""
        bus.listen(REPAIRED_TOPIC, self._hear)

    def watch(self, channel: ArbitratedChannel) -> None:
        """See to it that the hole of a channel is filled or given up."""
        if channel.is_full:
            channel.give_up()
        hole = channel.hole
        if hole is None or channel.stream in self._waits:
            return
        loop = asyncio.get_running_loop()
        self._waits[channel.stream] = _Wait(channel, hole, loop.time())
        if self._check is None:
            self._check = loop.call_later(_CHECK_S, self._look)

    async def close(self) -> None:
        """Wait for nothing any more."""
        if self._check is not None:
            self._check.cancel()
        self._waits.clear()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        for stream, wait in tuple(self._waits.items()):
            hole = wait.channel.hole
            if hole is None:
                del self._waits[stream]
            elif hole.after != wait.hole.after:  # filled up to another one
                self._waits[stream] = _Wait(wait.channel, hole, loop.time())
            else:
                wait.hole = hole
                self._judge(wait, loop.time() - wait.since)
        self._check = loop.call_later(_CHECK_S, self._look) if self._waits else None

    def _judge(self, wait: _Wait, waited_s: float) -> None:
        if waited_s < ASK_AFTER_S or (wait.asked and waited_s < GIVE_UP_AFTER_S):
            return
        if wait.asked:
            wait.channel.give_up()
            return
        wait.asked = True
        self.asked_total += 1
        hole = wait.hole
        ask = RepairAsk(str(wait.channel.stream), hole.first, hole.last, hole.after)
        task = asyncio.get_running_loop().create_task(self._bus.announce(REPAIR_TOPIC, encode(ask)))
        self._asking.add(task)
        task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("repair not asked for", exc_info=error)

    def _hear(self, body: bytes) -> None:
        try:
            answer = _decode(body)
            stream = StreamName.parse(answer.stream)
        except (msgspec.DecodeError, MarketError) as error:
            self.malformed_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                log.warning("repair not understood", error=str(error), held_back=held_back)
            return
        wait = self._waits.get(stream)
        if wait is None:
            return  # another replica's hole, or filled meanwhile
        messages = [Message(stream, kept.cursor, kept.received_us, bytes(kept.payload)) for kept in answer.messages]
        wait.channel.repair(messages, first=answer.first, last=answer.last, complete=answer.complete)
