"""The ingestor as a whole: demand from the bus, streams from the exchange, messages to the bus."""

import asyncio
import contextlib
import time
from typing import Final

import msgspec
import structlog

from binance.rest import RestClient
from binance.settings import Endpoints
from bus.base import Bus
from bus.loglimit import LogLimit
from ingestor.books import Books, upstream_of
from ingestor.demand import Leases
from ingestor.memory import Memory
from ingestor.publisher import Publisher
from ingestor.settings import IngestorSettings
from ingestor.venues import open_feeds
from market.announcements import (
    DEMAND_TOPIC,
    FEED_TOPIC,
    MAX_REFUSALS,
    REFUSALS_TOPIC,
    REPEAT_S,
    RESUME_TOPIC,
    Demand,
    FeedStatus,
    Refusals,
    ResumeAsk,
    encode,
    resume_answers,
)
from market.streams import Kind, StreamName

logger = structlog.get_logger(__name__)

# Long enough to gather what a burst of clients asks for, too short for anybody to notice.
_DEBOUNCE_S: Final = 0.02
_EXPIRY_S: Final = 0.25
_REPORT_S: Final = 30.0
# Three times what MAX_STREAMS_PER_REPLICA names of usual length take.
_MAX_DEMAND_BYTES: Final = 2 * 1024 * 1024

_decode_demand: Final = msgspec.json.Decoder(Demand).decode
_decode_resume: Final = msgspec.json.Decoder(ResumeAsk).decode


class Ingestor:
    """Carries what replicas want, and the default symbols' prices always, from the exchange to the bus.

    Make it before the bus is started, whose owner starts and closes it. Neither an exchange nor a
    bus that is away keeps it from starting.
    """

    def __init__(self, settings: IngestorSettings, bus: Bus, endpoints: Endpoints) -> None:
        self.leases = Leases(settings.default_tickers)
        self.memory = Memory()
        self.publisher = Publisher(bus, self.memory)
        self.feed = open_feeds(settings, endpoints, self._take, self._note_state)
        self._rest = RestClient(endpoints, ledger=bus)
        self.books = Books(self._rest, self.publisher.add)
        self.malformed_demands_total = 0
        self._settings = settings
        self._bus = bus
        self._state_changed = asyncio.Event()
        self._was_connected = False
        self._running = False
        self._change: asyncio.TimerHandle | None = None
        self._malformed_log = LogLimit()
        self._tasks: list[asyncio.Task[None]] = []
        self._answers: set[asyncio.Task[None]] = set()
        bus.listen(DEMAND_TOPIC, self._hear)
        bus.listen(RESUME_TOPIC, self._hear_resume)

    async def start(self) -> None:
        """Begin to connect, listen and publish; returns at once."""
        self._running = True
        self.publisher.start()
        self._carry()
        self._tasks = [asyncio.create_task(work) for work in (self._expire(), self._announce(), self._report())]

    async def close(self) -> None:
        """End all connections and tasks; the bus is its owner's."""
        self._running = False
        if self._change is not None:
            self._change.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.feed.close()
        await self.books.close()
        await self.publisher.close()
        await self._rest.close()

    @property
    def status(self) -> FeedStatus:
        """How the feed stands, as replicas are told."""
        return FeedStatus(
            ingestor=self._settings.instance,
            source=self._settings.source,
            connected=self.feed.connected,
            streams=len(self.feed.streams),
            last_message_ms=self.feed.last_message_ms,
            remembered=len(self.memory),
            forgotten_total=self.memory.forgotten_total,
            cut_total=self.memory.cut_total,
            books=len(self.books),
            books_refused=len(self.books.refused),
        )

    def _hear(self, body: bytes) -> None:
        """Take over one replica's announcement."""
        try:
            if len(body) > _MAX_DEMAND_BYTES:
                raise ValueError(f"{len(body)} bytes")  # noqa: TRY301 # one place deals with what is malformed
            demand = _decode_demand(body)
        except (msgspec.MsgspecError, ValueError) as error:
            self.malformed_demands_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                logger.warning("malformed demand", error=str(error), start=body[:200], held_back=held_back)
            return
        if self.leases.renew(demand, time.monotonic()):
            self._schedule_change()

    def _hear_resume(self, body: bytes) -> None:
        """Answer what a replica asks about the past, if it is remembered here."""
        try:
            ask = _decode_resume(body)
        except msgspec.MsgspecError as error:
            self.malformed_demands_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                logger.warning("malformed question", error=str(error), start=body[:200], held_back=held_back)
            return
        answer = msgspec.structs.replace(self.memory.answer(ask), books=self.books.answer(ask.books))
        if (answer.streams or answer.books) and self._running:
            task = asyncio.get_running_loop().create_task(
                self._bus.announce(resume_answers(ask.replica), encode(answer))
            )
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def _schedule_change(self) -> None:
        # The bus may outlive the ingestor and be heard before it starts.
        if self._running and self._change is None:
            self._change = asyncio.get_running_loop().call_later(_DEBOUNCE_S, self._apply_change)

    def _apply_change(self) -> None:
        self._change = None
        self._carry()
        logger.info(
            "demand changed",
            streams=len(self.feed.streams),
            replicas=len(self.leases),
            connections=len(self.feed.connections),
        )
        self._note_state()

    def _carry(self) -> None:
        """Carry what is wanted, books by the streams they are made of."""
        wanted, refused = self.leases.wanted, self.books.refused
        self.books.carry(stream for stream in wanted if self._maintains(stream))
        if self.books.refused != refused:
            self._state_changed.set()
        self.feed.carry({upstream_of(stream) for stream in wanted.difference(self.books.refused)})
        self.memory.carry(wanted)

    @staticmethod
    def _maintains(_stream: StreamName) -> bool:
        """Whether this ingestor is the one in the cluster that maintains and publishes a book: alone, it is."""
        return True

    def _take(self, stream: StreamName, payload: bytes, received_us: int) -> None:
        """Publish one message, and have the book changed that is made of it, which publishes its own."""
        self.books.take(stream, payload, received_us)
        if stream in self.leases.wanted and stream.kind is not Kind.BOOK:
            self.publisher.take(stream, payload, received_us)

    def _note_state(self) -> None:
        if self.feed.connected != self._was_connected:
            self._was_connected = not self._was_connected
            self._state_changed.set()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_S)
            now = time.monotonic()
            if not self._bus.connected:
                self.leases.extend(now)
            elif self.leases.expire(now):
                self._schedule_change()

    async def _announce(self) -> None:
        while True:
            self._state_changed.clear()
            try:
                await self._bus.announce(FEED_TOPIC, encode(self.status))
                await self._announce_refusals()
            except Exception:  # the next one may arrive
                logger.exception("feed status not announced")
            # Time for the next one, whether or not anything changes before.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._state_changed.wait(), REPEAT_S)

    async def _announce_refusals(self) -> None:
        if refused := self.books.refused[:MAX_REFUSALS]:
            await self._bus.announce(REFUSALS_TOPIC, encode(Refusals([str(stream) for stream in refused])))

    async def _report(self) -> None:
        while True:
            before = self.publisher.published_total
            await asyncio.sleep(_REPORT_S)
            logger.info(
                "feed",
                connected=self.feed.connected,
                streams=len(self.feed.streams),
                messages=self.publisher.published_total - before,
                max_lag_ms=self.publisher.take_max_lag_ms(),
                dropped=self.publisher.backlog.dropped_total,
                conflated=self.publisher.backlog.conflated_total,
                malformed=self.publisher.malformed_total,
                books=len(self.books),
                book_syncs=self.books.synced_total,
                book_gaps=self.books.gaps_total,
                books_refused=len(self.books.refused),
                remembered=len(self.memory),
                forgotten=self.memory.forgotten_total,
            )
