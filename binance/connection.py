"""One connection to Binance that stays: subscribed to what is wanted, renewed in time, reopened when lost."""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable
from typing import Final

import aiohttp
import structlog

from binance.counters import Episode, Leaving, Trouble
from binance.handover import Handover
from binance.refusals import refusal_of, trouble_of
from binance.routes import MAX_STREAMS, Route
from binance.session import MessageCallback, Session
from binance.upstream import Upstream
from binance.watchdog import Watchdog
from market.backoff import Backoff
from market.streams import StreamName

OPENING_S: Final = 10.0
"""How long a new connection may take to open before its streams count as lost, in s."""
HEALTHY_S: Final = 5.0
"""A session that has lived for so long ends an episode of troubles, in s."""

_TICK_S: Final = 0.25
_OVERLAP_TICK_S: Final = 0.05
_NAMED: Final = 10


class Connection:
    """One combined connection of one route; carries at most MAX_STREAMS (binance/routes.py).

    It consists of one session after the other. Where a session must go while it lives (it is old, the
    server announced its shutdown, or one of its streams fell silent), its successor is open, subscribed
    and delivering before it is closed, and what both delivered is passed on once and in order as far as
    binance/handover.py can tell: second copies are possible then, losses are not. `on_state` is called
    when `connected` or `settled` changes.
    """

    def __init__(
        self, route: Route, upstream: Upstream, on_message: MessageCallback, on_state: Callable[[], None]
    ) -> None:
        self.route = route
        self.connected = False
        """Whether a session is open."""
        self.settled = False
        """Whether a session is open and the server has acknowledged (or refused) every stream on it."""
        self._upstream = upstream
        self.tally = upstream.tallies[route]
        self._counters = upstream.counters
        self._on_message = on_message
        self._on_state = on_state
        self._wanted: frozenset[StreamName] = frozenset()
        self._sessions: list[Session] = []
        """The one in charge, and its successor while there is one."""
        self._closing: list[Session] = []
        self._watchdog = Watchdog()
        self._watched: frozenset[str] = frozenset()
        self._backoff = Backoff()
        self._episode = Episode()
        self._shutdown_at = -math.inf
        self._last_message_us = 0
        self._task: asyncio.Task[None] | None = None
        self._opening_until = time.monotonic() + OPENING_S
        self._log = structlog.get_logger(__name__).bind(url=upstream.url(route))

    @property
    def lost(self) -> bool:
        """Whether it should be open and is not: it was, or has tried for OPENING_S."""
        return not self.connected and time.monotonic() > self._opening_until

    @property
    def confirmed(self) -> frozenset[str]:
        """Binance's names of the streams that the server has acknowledged on the session in charge."""
        return next((session.confirmed for session in self._sessions if session.is_open), frozenset())

    @property
    def refused(self) -> frozenset[str]:
        """Binance's names of the wanted streams that the server would not take."""
        return next((session.refused for session in self._sessions if session.is_open), frozenset())

    @property
    def stalled(self) -> frozenset[StreamName]:
        """Streams that are silent beyond their kind's tolerance, on a new connection too."""
        return self._watchdog.stalled

    @property
    def last_message_ms(self) -> int:
        """When the latest message came, in ms since the epoch; 0 = none yet."""
        return max((session.last_message_us for session in self._sessions), default=self._last_message_us) // 1_000

    def want(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on; idempotent. Raises ValueError for more than MAX_STREAMS."""
        wanted = frozenset(streams)
        if len(wanted) > MAX_STREAMS:
            raise ValueError(f"one connection carries at most {MAX_STREAMS} streams, not {len(wanted)}")
        self._wanted = wanted
        for session in self._sessions:
            session.want(wanted)

    def start(self) -> None:
        """Connect, and connect again whenever the connection is lost, until `close`."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the connection. Nothing is handed over afterwards."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._live()
                except Exception:  # noqa: BLE001 # a fault of ours must not end the feed for good
                    self._counters.troubles[Trouble.FAULT] += 1
                    self._log.exception("connection failed unexpectedly")
                await self._drop(*self._sessions)
                await asyncio.sleep(self._backoff.next_s())
        finally:
            await self._drop(*self._sessions)
            # What was being closed when this task was cancelled.
            await asyncio.gather(*(session.close() for session in self._closing))

    async def _live(self) -> None:
        """Hold one session after the other, until one is lost before it has a successor."""
        session = await self._open(self._on_message)
        while (reason := await self._until_due(session)) is not None:
            session = await self._hand_over(session, reason)

    async def _open(self, deliver: MessageCallback) -> Session:
        """A new session, however long that takes."""
        while True:
            attempts = self._upstream.attempts(self.route)
            await attempts.take()
            url = self._upstream.url(self.route)
            session = Session(url, self.tally, deliver, self._note_state, self._counters)
            session.want(self._wanted)
            try:
                await session.open()
            except (aiohttp.ClientError, OSError) as error:
                self._note(trouble_of(error), f"{type(error).__name__}: {error}")
                if (refusal := refusal_of(error, time.time())) is not None:
                    await attempts.pause(refusal.retry_after_s, refusal.status)
                await asyncio.sleep(self._backoff.next_s())
                continue
            # What is wanted may have changed during the handshake.
            session.want(self._wanted)
            self._sessions.append(session)
            self._note_state()
            return session

    async def _until_due(self, session: Session) -> Leaving | None:
        """Wait until `session` should have a successor, and say why; None = it is lost."""
        self._watchdog.restart(time.monotonic())
        due_at = session.opened_at + self._upstream.draw_lifetime_s()
        while session.is_open:
            await _changed(session, _TICK_S)
            now = time.monotonic()
            if now - session.opened_at > HEALTHY_S:
                self._note_health()
            if session.is_leaving:
                return Leaving.SHUTDOWN
            if now >= due_at:
                return Leaving.AGE
            if self._is_silent(session, now):
                return Leaving.SILENCE
        self._note_lost(session)
        return None

    async def _hand_over(self, old: Session, reason: Leaving) -> Session:
        """Replace `old`, which may end meanwhile; returns its successor."""
        self._log.info("connection is renewed", reason=reason)
        if reason is Leaving.SHUTDOWN:
            # A server that only ever announces its shutdown must not be called in a tight loop.
            if time.monotonic() - self._shutdown_at < HEALTHY_S:
                await asyncio.sleep(self._backoff.next_s())
            self._shutdown_at = time.monotonic()
        while True:
            handover = Handover()
            new = await self._open(handover.hold)
            old.deliver = self._noting(handover)
            await self._overlap(old, new, handover)
            if new.is_open or not old.is_open:
                break
            self._note_lost(new)
            old.deliver = self._on_message
            await self._drop(new)
            await asyncio.sleep(self._backoff.next_s())
        if not old.is_open and reason is not Leaving.SHUTDOWN:
            self._note_lost(old)
        new.deliver = self._on_message
        for message in handover.cut():
            self._on_message(*message)
        if handover.let_go_total:
            self._counters.troubles[Trouble.HELD_TOO_MANY] += handover.let_go_total
        self._counters.handovers[reason] += 1
        if reason is Leaving.AGE:
            # What was learned of silences may have been learned from outages; and the stalled get another chance.
            self._watchdog, self._watched = Watchdog(), frozenset()
        await self._drop(old)
        return new

    def _noting(self, handover: Handover) -> MessageCallback:
        def deliver(stream: StreamName, payload: bytes, received_us: int) -> None:
            handover.note_old(stream, payload)
            self._on_message(stream, payload, received_us)

        return deliver

    async def _overlap(self, old: Session, new: Session, handover: Handover) -> None:
        """Wait until `new` can take over, or one of the two has ended."""
        asked = False
        while old.is_open and new.is_open:
            if new.is_settled and not asked:
                asked = True
                old.ask_sign()
            caught_up = asked and old.has_signed
            if handover.is_complete(time.monotonic(), settled=new.is_settled, caught_up=caught_up):
                return
            await _changed(new, _OVERLAP_TICK_S)

    async def _drop(self, *sessions: Session) -> None:
        for session in sessions:
            self._last_message_us = max(self._last_message_us, session.last_message_us)
            self._sessions.remove(session)
            self._closing.append(session)
        self._note_state()
        for session in sessions:
            await session.close()
            self._closing.remove(session)

    def _is_silent(self, session: Session, now: float) -> bool:
        """Whether a stream has been silent for so long that a new session must be tried; reports what stays silent."""
        if not session.is_settled:
            return False
        if (confirmed := session.confirmed) != self._watched:
            self._watched = confirmed
            self._watchdog.watch((stream for stream in self._wanted if stream.binance_name in confirmed), now)
        heard, session.heard = session.heard, set()
        if back := self._watchdog.hear(heard, now):
            self._log.info("silent streams speak again", streams=_names(back), count=len(back))
        silence = self._watchdog.check(now)
        if silence.stalled:
            self._counters.troubles[Trouble.STALLED] += len(silence.stalled)
            names = _names(silence.stalled)
            self._log.error("streams stay silent on a new connection", streams=names, count=len(silence.stalled))
        if silence.renew:
            self._counters.troubles[Trouble.SILENT] += len(silence.renew)
            names = _names(silence.renew)
            self._log.warning("streams are silent for too long", streams=names, count=len(silence.renew))
        return bool(silence.renew)

    def _note(self, trouble: Trouble, detail: str) -> None:
        self._counters.troubles[trouble] += 1
        if self._episode.note(trouble):
            self._log.warning("exchange connection in trouble", trouble=trouble, detail=detail)

    def _note_lost(self, session: Session) -> None:
        if session.ending is not None:
            self._note(session.ending.trouble, session.ending.detail)

    def _note_health(self) -> None:
        self._backoff.reset()
        if troubles := self._episode.end():
            self._log.info("exchange connection is well again", troubles=troubles)

    def _note_state(self) -> None:
        connected = any(session.is_open for session in self._sessions)
        settled = any(session.is_open and session.is_settled for session in self._sessions)
        if (connected, settled) != (self.connected, self.settled):
            self.connected, self.settled = connected, settled
            self._opening_until = -math.inf
            self._on_state()


async def _changed(session: Session, longest_s: float) -> None:
    """Wait until the session's state changes, or for `longest_s`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await session.changed.wait()
    session.changed.clear()


def _names(streams: Iterable[StreamName]) -> list[str]:
    return sorted(map(str, streams))[:_NAMED]
