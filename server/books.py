"""Maintained order books on a replica: each follows its book, so that every newcomer gets a snapshot at once."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from bus.loglimit import LogLimit
from market.announcements import REFUSALS_TOPIC, Refusals
from market.book import BookBuilder, Outcome, decode_book
from market.errors import Code, MarketError
from market.messages import Message
from market.streams import StreamName
from server.arbiter import EPOCH_S
from server.channels import Channel
from server.encodings import Encoding
from server.frames import Frame
from server.resume import Resume

MAX_ASKS: Final = 8
"""Books asked for at once, besides those of new channels; past it a book asks with its next change."""

_REFUSED: Final = MarketError(Code.TOO_MANY_BOOKS, "There is no room for another book now; it begins when there is")

log = structlog.get_logger(__name__)
_decode_refusals: Final = msgspec.json.Decoder(Refusals).decode


class BookChannel(Channel):
    """The stream of one book, and the book.

    Members get changes that follow each other without a gap, or a snapshot that replaces what they
    have. Where a change is missing, nothing goes out until `load` or the maintainer's own snapshot
    has brought the book again; `on_lost` is called with each change that comes in the meantime.
    """

    __slots__ = ("_builder", "_is_refused", "_malformed_log", "_on_lost", "_snapshot")

    def __init__(
        self, stream: StreamName, ready: "asyncio.Future[None]", on_lost: Callable[["BookChannel"], None]
    ) -> None:
        super().__init__(stream, ready)
        self._builder = BookBuilder(stream.market)
        self._is_refused = False
        """Whether nobody maintains the book, as was last heard."""
        self._on_lost = on_lost
        self._malformed_log = LogLimit()
        self._snapshot: Message | None = None
        """The book as newcomers get it, made at most once between two changes."""

    @property
    def has_book(self) -> bool:
        """Whether the book is known and complete."""
        return self._builder.book is not None

    def take(self, message: Message) -> None:
        """Follow a live message, and push it where it is news and nothing before it is missing."""
        try:
            update = decode_book(message.payload)
            if update.is_snapshot:
                if self._is_behind(update.last_update_id, message.received_us):
                    return
                self._builder.restart()  # what came before it on the stream is in it
                is_news = self._builder.join(update)
            else:
                outcome = self._builder.add(update)
                is_news = outcome is Outcome.APPLIED
                if outcome in (Outcome.HELD, Outcome.GAP):
                    self._on_lost(self)
        except (msgspec.MsgspecError, ValueError) as error:
            self._note_malformed(error)
            return
        if is_news:
            self._push(message)

    def load(self, message: Message) -> None:
        """Join a snapshot that was asked for to what has come since, and push the result."""
        if self.has_book:
            return  # the maintainer's own was sooner
        try:
            self._builder.join(decode_book(message.payload))
        except (msgspec.MsgspecError, ValueError) as error:
            self._note_malformed(error)
            return
        joined = self._encode(message.received_us)
        if joined is not None:
            self._push(joined)

    def backfill(self, messages: list[Message]) -> None:
        """Remember what came before the book was known here."""
        if self.has_book:
            super().backfill(messages)

    @property
    def snapshot(self) -> Message | None:
        """The whole book, None while it is not known."""
        if not self.has_book:
            return None
        if self._snapshot is None and self.last is not None:
            self._snapshot = self._encode(self.last.received_us)
        return self._snapshot

    def since(self, cursor: int) -> list[Message] | None:
        """The changes that a client missed whose book is as of `cursor`; None where that cannot be told."""
        return super().since(cursor) if self.has_book else None

    def refuse(self) -> None:
        """Tell all members that nobody maintains the book any more, or yet; once until it begins."""
        if self._is_refused:
            return
        self._is_refused = True
        self._builder.restart()  # what is known of it grows old from now on
        self._snapshot = None
        for group in self.groups.values():
            if (frame := self.notice(group.encoding)) is not None:
                group.add(frame)

    def notice(self, encoding: Encoding) -> Frame | None:
        """That there is no room for the book, while that is so."""
        body = encoding.refusal(self.stream, _REFUSED) if self._is_refused else None
        return None if body is None else Frame(self.stream, 0, encoding, body)

    def renewal(self, encoding: Encoding) -> Frame | None:
        """What makes the book of a member right again that missed some changes: a snapshot behind all that is pending.

        None while the book is not known: its snapshot goes to all members as soon as it is.
        """
        for group in self.groups.values():
            group.flush()
        snapshot = self.snapshot
        sharing = next((group for group in self.groups.values() if group.encoding is encoding), None)
        return sharing.encode(snapshot) if sharing is not None and snapshot is not None else None

    def _is_behind(self, update_id: int, received_us: int) -> bool:
        """Whether a snapshot adds nothing: an ingestor that takes the book over may begin before what is known here.

        Its changes go on from there, and meet the book. Where the book has stood still for longer than
        one ingestor is behind another, the exchange's ids have begun anew.
        """
        book, last = self._builder.book, self.last
        if book is None or last is None or update_id > book.update_id:
            return False
        return received_us - last.received_us < EPOCH_S * 1_000_000

    def _push(self, message: Message) -> None:
        self._is_refused = False
        self._snapshot = None
        self.accept(message)

    def _encode(self, received_us: int) -> Message | None:
        book = self._builder.book
        return None if book is None else Message(self.stream, book.update_id, received_us, book.encode())

    def _note_malformed(self, error: Exception) -> None:
        if (held_back := self._malformed_log.admit()) is not None:
            log.warning("malformed book", stream=str(self.stream), error=str(error), held_back=held_back)


class Books:
    """Where a replica's books come from when it has missed something: the maintainer, asked over the bus.

    `channels` are the replica's, by stream. Make it before the bus is started.
    """

    def __init__(self, bus: Bus, resume: Resume, channels: Mapping[StreamName, Channel]) -> None:
        self._malformed_log = LogLimit()
        self.malformed_total = 0
        self._resume = resume
        self._channels = channels
        self._asking: dict[BookChannel, asyncio.Task[None]] = {}
        bus.listen(REFUSALS_TOPIC, self._hear_refusals)

    def open(self, stream: StreamName, ready: "asyncio.Future[None]") -> BookChannel:
        """A channel that asks for its book whenever it has lost it."""
        return BookChannel(stream, ready, self._ask_for)

    async def load(self, channels: Iterable[Channel]) -> None:
        """Ask for the books of subscribed channels that have none.

        Returns within server/resume.py's ANSWER_WITHIN_S. Nobody answers for a book that is not in
        sync yet: its snapshot is published when it is.
        """
        lost = {
            channel.stream: channel for channel in channels if isinstance(channel, BookChannel) and not channel.has_book
        }
        for stream, message in (await self._resume.books(lost)).items():
            lost[stream].load(message)

    async def close(self) -> None:
        """Stop asking."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hear_refusals(self, body: bytes) -> None:
        """Tell the members of books that an ingestor has no room for."""
        try:
            streams = [StreamName.parse(name) for name in _decode_refusals(body).streams]
        except (msgspec.MsgspecError, ValueError) as error:
            self.malformed_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                log.warning("refusals not understood", error=str(error), held_back=held_back)
            return
        for stream in streams:
            channel = self._channels.get(stream)
            if isinstance(channel, BookChannel):
                channel.refuse()

    def _ask_for(self, channel: BookChannel) -> None:
        if channel not in self._asking and len(self._asking) < MAX_ASKS:
            task = self._asking[channel] = asyncio.get_running_loop().create_task(self.load((channel,)))
            task.add_done_callback(lambda done: self._done(channel, done))

    def _done(self, channel: BookChannel, task: asyncio.Task[None]) -> None:
        del self._asking[channel]
        if not task.cancelled() and (error := task.exception()):
            log.error("book not asked for", stream=str(channel.stream), exc_info=error)
