"""The ingestor as a whole: demand from the bus, streams from the exchange, messages to the bus."""

import asyncio
import contextlib
import itertools
import time
from typing import Any, Final

import msgspec
import structlog

from binance.rest import RestClient
from binance.settings import Endpoints
from binance.upstream import Upstream
from bus.base import Bus
from bus.loglimit import LogLimit
from ingestor.books import Books, upstream_of
from ingestor.carriers import open_carriers
from ingestor.demand import Leases
from ingestor.feed import Feed
from ingestor.groups import groups_of
from ingestor.members import Phase
from ingestor.memory import Memory
from ingestor.poller import Poller
from ingestor.publisher import Publisher
from ingestor.recorder import open_recorder
from ingestor.repair import Repair
from ingestor.rollcall import RollCall
from ingestor.roster import Roster
from ingestor.settings import IngestorSettings
from market.announcements import (
    DEMAND_TOPIC,
    FEED_TOPIC,
    MAX_REFUSALS,
    REFUSALS_TOPIC,
    REPEAT_S,
    RESUME_TOPIC,
    STALLED_NAMED,
    Demand,
    FeedStatus,
    Refusals,
    ResumeAsk,
    encode,
    resume_answers,
)
from market.figures import GROUPS_NAMED, FeedFigures, GroupFigures, HopFigures
from market.streams import BINANCE_MARKETS, Kind, Market, StreamName

logger = structlog.get_logger(__name__)

# Long enough to gather what a burst of clients asks for, too short for anybody to notice.
_DEBOUNCE_S: Final = 0.02
_EXPIRY_S: Final = 0.25
_TURN_S: Final = 0.2
LEAVE_S: Final = 10.0
"""How long a leaving ingestor waits at most for others to carry what it carries, in s."""
_REPORT_S: Final = 30.0
# Three times what MAX_STREAMS_PER_REPLICA names of usual length take.
_MAX_DEMAND_BYTES: Final = 2 * 1024 * 1024

_decode_demand: Final = msgspec.json.Decoder(Demand).decode
_decode_resume: Final = msgspec.json.Decoder(ResumeAsk).decode


class Ingestor:
    """Carries what replicas want, and the default symbols' prices always, from the exchange to the bus.

    All of it alone; with other ingestors on the bus that part which falls to it (ingestor/roster.py).
    Make it before the bus is started, whose owner starts and closes it. Neither an exchange nor a
    bus that is away keeps it from starting.
    """

    def __init__(self, settings: IngestorSettings, bus: Bus, endpoints: Endpoints) -> None:
        self.leases = Leases(settings.default_tickers)
        self.memory = Memory()
        self.recorder = open_recorder(settings)
        self.publisher = Publisher(bus, self.memory, self.recorder.keep if self.recorder else None)
        self.upstream = Upstream(endpoints, settings.connection_lifetime_s, bus)
        self.feed = Feed(open_carriers(settings, self.upstream, self._take, self._note_state))
        # The later of two processes of one name is the one that counts.
        self.roster = Roster(settings.instance, time.time_ns(), settings.copies)
        self.roll_call = RollCall(bus, self.roster, self._schedule_change)
        self.rest = RestClient(endpoints, ledger=bus)
        self.books = Books(self.rest, self.publisher.add)
        self.poller = Poller(self.rest, bus, self.publisher.add)
        self.repair = Repair(self.rest, bus, self.memory, self.maintains)
        self.malformed_demands_total = 0
        self._settings = settings
        self.bus = bus
        self._state_changed = asyncio.Event()
        self._made_at = time.monotonic()
        self._was_connected = False
        self._wanted: frozenset[StreamName] = frozenset()
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
        if self.recorder:
            self.recorder.start()
        self.publisher.start()
        self.poller.start()
        self.roll_call.start()
        works = (self._expire(), self._take_turns(), self._announce(), self._report())
        self._tasks = [asyncio.create_task(work) for work in works]

    async def close(self) -> None:
        """Leave the roster, then end all connections and tasks; the bus is its owner's.

        Others are told at once. What they will carry is delivered until they do, LEAVE_S at most.
        """
        if self._running:
            await self._leave()
        self._running = False
        if self._change is not None:
            self._change.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.roll_call.close()
        await self.feed.close()
        await self.books.close()
        await self.poller.close()
        await self.repair.close()
        await self.publisher.close()
        if self.recorder:
            await self.recorder.close()
        await self.rest.close()

    @property
    def status(self) -> FeedStatus:
        """How the feed stands, as replicas are told."""
        return FeedStatus(
            ingestor=self._settings.instance,
            source=self._settings.source,
            connected=self.feed.connected,
            streams=len(self.feed.streams),
            last_message_ms=self.feed.last_message_ms,
            stalled=sorted(map(str, self.feed.stalled))[:STALLED_NAMED],
            upstream=self.upstream.figures,
            remembered=len(self.memory),
            forgotten_total=self.memory.forgotten_total,
            cut_total=self.memory.cut_total,
            books=len(self.books),
            books_refused=len(self.books.refused),
            recorded_total=self.recorder.recorded_total if self.recorder else 0,
            record_dropped_total=self.recorder.dropped_total if self.recorder else 0,
            figures=self._figures(),
        )

    @property
    def is_ready(self) -> bool:
        """Whether it takes part: it has joined the roster, is not leaving, and reaches the bus."""
        return self.roster.phase is Phase.LIVE and self.bus.connected

    def part_in_roster(self) -> dict[str, Any]:
        """What of the roster falls to this ingestor, for people and tests to read."""
        now = time.monotonic()
        settled = self.feed.settled_groups
        others = self.roster.members.others
        return {
            "phase": self.roster.phase,
            "bus_connected": self.bus.connected,
            "groups": {
                str(key): {
                    "streams": len(streams),
                    "subscribed": key in settled,
                    "maintained": key in self.roster.maintained,
                    "carriers": self.roster.carriers(key, now),
                }
                for key, streams in self.roster.carried.items()
            },
            "others": {name: {"phase": one.phase, "groups": len(one.groups)} for name, one in others.items()},
        }

    def _figures(self) -> FeedFigures:
        now = time.monotonic()
        settled = self.feed.settled_groups
        carried = itertools.islice(self.roster.carried.items(), GROUPS_NAMED)
        publish = self.publisher.recent.percentiles(now)
        return FeedFigures(
            uptime_s=now - self._made_at,
            phase=self.roster.phase,
            published_total=self.publisher.published_total,
            lag_us=self.publisher.lag_us,
            connections=dict(self.feed.open_connections),
            groups={
                str(key): GroupFigures(len(streams), key in settled, list(self.roster.carriers(key, now)))
                for key, streams in carried
            },
            publish=HopFigures(*publish) if publish else None,
        )

    def maintains(self, market: Market, symbol: str) -> bool:
        """Whether this ingestor alone keeps books and repairs and polls over REST for `symbol` (lower case)."""
        return self.roster.maintains(market, symbol)

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
                self.bus.announce(resume_answers(ask.replica), encode(answer))
            )
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    def _schedule_change(self) -> None:
        # The bus may outlive the ingestor and be heard before it starts.
        if self._running and self._change is None:
            self._change = asyncio.get_running_loop().call_later(_DEBOUNCE_S, self._apply_change)

    def _apply_change(self) -> None:
        self._change = None
        self._turn()

    def _turn(self) -> None:
        """See what is wanted, how connections and other ingestors stand, and carry what falls to us."""
        now = time.monotonic()
        is_wanted_anew = self._wanted != self.leases.wanted
        if is_wanted_anew:
            self._wanted = self.leases.wanted
            upstream = {upstream_of(stream) for stream in self._wanted}  # books by the streams they are made of
            self.roster.want(groups_of(upstream, self._settings.symbols_per_worker))
        before = self.roster.phase, self.roster.subscribed
        self.roster.note(self.feed.connected_groups, self.feed.settled_groups, now)
        if self.roster.turn(now) or is_wanted_anew:
            self._carry()
        if (self.roster.phase, self.roster.subscribed) != before:
            self.roll_call.announce_now()

    def _carry(self) -> None:
        """Carry and maintain what the roster says."""
        carried = self.roster.carried
        streams = frozenset[StreamName]().union(*carried.values())
        wanted = [stream for stream in self._wanted if upstream_of(stream) in streams]
        maintained = [stream for stream in wanted if self.maintains(stream.market, stream.symbol)]
        refused = self.books.refused
        self.books.carry(maintained)
        if self.books.refused != refused:
            self._state_changed.set()
        # A book that brings its own snapshot is subscribed to when there is room: the snapshot comes first.
        self.feed.carry({key: part.difference(self.books.refused) for key, part in carried.items()})
        self.poller.carry(stream for stream in maintained if stream.market in BINANCE_MARKETS)
        self.memory.carry(frozenset(wanted))
        logger.info(
            "share changed",
            streams=len(self.feed.streams),
            groups=len(self.roster.carried),
            maintained=len(self.roster.maintained),
            connections=len(self.feed.connections),
            replicas=len(self.leases),
            ingestors=1 + len(self.roster.members.others),
        )
        self._note_state()

    def _take(self, stream: StreamName, payload: bytes, received_us: int) -> None:
        """Publish one message, and have the book changed that is made of it, which publishes its own."""
        self.poller.note(stream)
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
            if not self.bus.connected:
                self.leases.extend(now)
            elif self.leases.expire(now):
                self._schedule_change()

    async def _take_turns(self) -> None:
        while True:
            try:
                self._turn()
            except Exception:  # a fault of ours must not end the feed for good
                logger.exception("roster not followed")
            await asyncio.sleep(_TURN_S)

    async def _leave(self) -> None:
        self.roster.leave()
        self.roll_call.announce_now()
        try:
            async with asyncio.timeout(LEAVE_S):
                # Without a bus nobody gets what we deliver, nor can anybody say that he took over.
                while self.bus.connected and not self.roster.has_left:  # noqa: ASYNC110 # others decide, not a task
                    await asyncio.sleep(_TURN_S / 4)
        except TimeoutError:
            logger.warning("left before others carry everything", groups=len(self.roster.carried))

    async def _announce(self) -> None:
        while True:
            self._state_changed.clear()
            try:
                await self.bus.announce(FEED_TOPIC, encode(self.status))
                await self._announce_refusals()
            except Exception:  # the next one may arrive
                logger.exception("feed status not announced")
            # Time for the next one, whether or not anything changes before.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPEAT_S):
                    await self._state_changed.wait()

    async def _announce_refusals(self) -> None:
        if refused := self.books.refused[:MAX_REFUSALS]:
            await self.bus.announce(REFUSALS_TOPIC, encode(Refusals([str(stream) for stream in refused])))

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
                silent=self.poller.silent,
                polls=self.poller.polls_total,
                polled=self.poller.published_total,
                polls_failed=self.poller.failed_total,
                repairs=self.repair.asked_total,
                repaired=self.repair.repaired_total,
                repaired_from_memory=self.repair.remembered_total,
                repairs_failed=self.repair.failed_total,
                book_gaps=self.books.gaps_total,
                books_refused=len(self.books.refused),
                remembered=len(self.memory),
                forgotten=self.memory.forgotten_total,
            )
