"""Asks the ingestors what this replica did not receive itself."""

import asyncio
import itertools
from collections.abc import Mapping
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from market.announcements import RESUME_TOPIC, ResumeAnswer, ResumeAsk, encode, resume_answers
from market.messages import Message
from market.streams import StreamName

ANSWER_WITHIN_S: Final = 0.5
MAX_ASKS: Final = 1000
"""Questions under way at once; past it clients are told that they were not recovered."""

log = structlog.get_logger(__name__)
_decode: Final = msgspec.json.Decoder(ResumeAnswer).decode


class Resume:
    """One replica's questions about the recent past of streams that nobody had wanted here."""

    def __init__(self, bus: Bus, replica: str) -> None:
        self._bus = bus
        self._replica = replica
        self._numbers = itertools.count(1)
        self._asks: dict[int, asyncio.Future[ResumeAnswer]] = {}
        self.asked_total = 0
        self.unanswered_total = 0
        self.invalid_total = 0
        bus.listen(resume_answers(replica), self._hear)

    async def ask(self, since: Mapping[StreamName, int]) -> dict[StreamName, list[Message]]:
        """For each stream the message with that cursor and all that came after it, where an ingestor remembers."""
        if not since or len(self._asks) >= MAX_ASKS:
            return {}
        number = next(self._numbers)
        answered = self._asks[number] = asyncio.get_running_loop().create_future()
        names = {str(stream): stream for stream in since}
        self.asked_total += 1
        try:
            asked = {name: since[stream] for name, stream in names.items()}
            await self._bus.announce(RESUME_TOPIC, encode(ResumeAsk(self._replica, number, asked)))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer = await answered
        except TimeoutError:
            self.unanswered_total += 1
            return {}
        finally:
            del self._asks[number]
        return {
            names[name]: [Message(names[name], m.cursor, m.received_us, bytes(m.payload)) for m in kept]
            for name, kept in answer.streams.items()
            if name in names
        }

    def _hear(self, body: bytes) -> None:
        try:
            answer = _decode(body)
        except msgspec.DecodeError as error:
            self.invalid_total += 1
            log.warning("resume answer not understood", error=str(error))
            return
        waiting = self._asks.get(answer.ask)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
