"""Asks the ingestors what this replica did not receive itself."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from bus.loglimit import LogLimit
from market.announcements import RESUME_TOPIC, KeptMessage, ResumeAnswer, ResumeAsk, encode, resume_answers
from market.continuity import unbroken
from market.messages import Message
from market.streams import StreamName

ANSWER_WITHIN_S: Final = 0.5
MAX_ASKS: Final = 1000
"""Questions under way at once; past it clients are told that they were not recovered."""

log = structlog.get_logger(__name__)
_decode: Final = msgspec.json.Decoder(ResumeAnswer).decode


class _Ask:
    """One question: what is still unanswered, and the answers so far."""

    __slots__ = ("answered", "answers", "missing")

    def __init__(self, ask: ResumeAsk) -> None:
        self.missing = {*ask.since, *ask.books}
        self.answers = ResumeAnswer(ask.ask, {}, {})
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, answer: ResumeAnswer) -> None:
        """Take what an ingestor knows of what is missing; one that has missed something itself does not count."""
        for name in self.missing & answer.streams.keys():
            stream, kept = StreamName.parse(name), answer.streams[name]
            if unbroken(stream, [_message(stream, one) for one in kept]):
                self.answers.streams[name] = kept
                self.missing.discard(name)
        for name in self.missing & answer.books.keys():
            self.answers.books[name] = answer.books[name]
            self.missing.discard(name)
        if not self.missing and not self.answered.done():
            self.answered.set_result(None)


class Resume:
    """One replica's questions about the recent past of streams that nobody had wanted here."""

    def __init__(self, bus: Bus, replica: str) -> None:
        self._bus = bus
        self._replica = replica
        self._numbers = itertools.count(1)
        self._asks: dict[int, _Ask] = {}
        self.asked_total = 0
        self.unasked_total = 0
        """Questions that were not asked because MAX_ASKS were under way."""
        self.unanswered_total = 0
        self._malformed_log = LogLimit()
        self.malformed_total = 0
        bus.listen(resume_answers(replica), self._hear)

    async def ask(self, since: Mapping[StreamName, int]) -> dict[StreamName, list[Message]]:
        """For each stream the message with that cursor and all that came after it, where an ingestor remembers."""
        names = {str(stream): stream for stream in since}
        asked = {name: since[stream] for name, stream in names.items()}
        answer = await self._ask(ResumeAsk(self._replica, next(self._numbers), since=asked)) if since else None
        return {
            names[name]: [_message(names[name], one) for one in kept]
            for name, kept in (answer.streams if answer else {}).items()
            if name in names
        }

    async def books(self, streams: Iterable[StreamName]) -> dict[StreamName, Message]:
        """The whole books of `streams` that an ingestor maintains, each as a `bookSnapshot`."""
        names = {str(stream): stream for stream in streams}
        answer = await self._ask(ResumeAsk(self._replica, next(self._numbers), books=list(names))) if names else None
        return {
            names[name]: _message(names[name], kept)
            for name, kept in (answer.books if answer else {}).items()
            if name in names
        }

    async def _ask(self, ask: ResumeAsk) -> ResumeAnswer | None:
        """What ingestors answer, the first of them that knows each stream; None where none does in time."""
        if len(self._asks) >= MAX_ASKS:
            self.unasked_total += 1
            return None
        asking = self._asks[ask.ask] = _Ask(ask)
        self.asked_total += 1
        try:
            await self._bus.announce(RESUME_TOPIC, encode(ask))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await asking.answered
        except TimeoutError:
            self.unanswered_total += 1
        finally:
            del self._asks[ask.ask]
        return asking.answers

    def _hear(self, body: bytes) -> None:
        try:
            answer = _decode(body)
        except msgspec.DecodeError as error:
            self.malformed_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                log.warning("resume answer not understood", error=str(error), held_back=held_back)
            return
        asking = self._asks.get(answer.ask)
        if asking is not None:
            asking.add(answer)


def _message(stream: StreamName, kept: KeptMessage) -> Message:
    return Message(stream, kept.cursor, kept.received_us, bytes(kept.payload))
