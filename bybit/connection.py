"""One WebSocket connection to Bybit's public spot market that stays: subscribed, alive, connected again when lost.

Sources: Bybit v5 "Connect" (heartbeat, args limits), "Rate Limit Rules" (connections), "Orderbook".
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from bybit.names import MAX_TOPICS, TOP_LEVELS, topic_of
from bybit.payloads import Frame, encode_request, parse_frame
from bybit.subscriptions import Op, Request, Subscriptions
from bybit.topics import BookGapError, Told, Topic
from bybit.trades import TradePayloads
from market.backoff import Backoff
from market.streams import StreamName
from market.venue import MessageCallback, RestError, Tally
from market.windows import RollingWindow

logger = structlog.get_logger(__name__)

# Bybit admits 500 connections in 5 minutes per address; half of it is left to others on that address.
_ATTEMPTS: Final = 250
_ATTEMPTS_PERIOD_S: Final = 300.0
# Bybit names no limit of requests; this one asks for all topics of a full connection within 4 s.
_REQUESTS: Final = 10
_REQUESTS_PERIOD_S: Final = 1.0

OPENING_S: Final = 10.0
"""How long a new connection may take to open before its streams count as lost, in s."""
PING_S: Final = 20.0
"""How often Bybit wants to be pinged, in s."""
PONG_S: Final = 10.0
"""A connection that brings nothing, not even a pong, for PING_S and this long is lost, in s."""
TOP_SILENCE_S: Final = 12.0
"""How long a topic of the best bid and ask may be silent, which Bybit repeats every 3 s, in s."""
REPLY_TIMEOUT_S: Final = 10.0
_MAX_UNANSWERED: Final = 3
_HEALTHY_S: Final = 10.0
_CHECK_S: Final = 0.5
_OPEN_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 1.0
_MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
# About one full socket read: reading pauses past it, and TCP holds the exchange back.
_MAX_FRAMES_QUEUED: Final = 1_024
_MAX_MALFORMED_LOGGED: Final = 10
_TOP: Final = f"orderbook.{TOP_LEVELS}."
# As many requests at once as bybit/rest.py has connections.
_MENDERS: Final = 8


RecentTrades: TypeAlias = Callable[[str], Awaitable[TradePayloads]]
"""Asks for the recent trades of an upper-case symbol. Raises RestError."""


def connection_attempts() -> RollingWindow:
    """The window that all connections of one address share, so that they are never refused together."""
    return RollingWindow(_ATTEMPTS, _ATTEMPTS_PERIOD_S)


class Connection:
    """Carries streams whose topics are at most MAX_TOPICS (bybit/names.py).

    Payloads are handed to `on_message` in Binance's shapes (bybit/payloads.py); `on_state` is called when
    `connected` or `settled` changes. Books are kept across a lost connection, so that `depth` continues without
    a gap in its ids; the trades of that time are brought by `recent_trades`, as far as they reach.
    """

    def __init__(
        self,
        url: str,
        attempts: RollingWindow,
        recent_trades: RecentTrades,
        on_message: MessageCallback,
        on_state: Callable[[], None],
        *,
        tally: Tally,
    ) -> None:
        self.url = url
        self.tally = tally
        self.connected = False
        self.settled = False
        """Whether Bybit has answered for every topic that is wanted."""
        self.reconnects_total = 0
        """Attempts after the first."""
        self.gaps_total = 0
        """Order books that had to be subscribed to anew."""
        self.silences_total = 0
        """Topics that were subscribed to anew because they said nothing."""
        self.unmended_total = 0
        """Times when trades may be missing for good."""
        self.malformed_total = 0
        self.last_message_ms = 0
        """When the latest message came, in ms since the epoch; 0 = none yet."""
        self._attempts = attempts
        self._recent_trades = recent_trades
        self._behind: asyncio.Queue[Topic] = asyncio.Queue(MAX_TOPICS)
        """Topics whose live trades wait for the recent ones, each once for a subscription."""
        self._on_message = on_message
        self._on_state = on_state
        self._topics: dict[str, Topic] = {}
        self._subscriptions = Subscriptions()
        self._changed = asyncio.Event()
        self._awaited: tuple[str, asyncio.Future[Frame]] | None = None
        self._opened = math.inf
        self._heard = 0.0
        self._told: dict[str, float] = {}
        """When each topic of the best bid and ask was subscribed to or has last said something."""
        self._any_told = 0.0
        """When any of them has last said something."""
        self._task: asyncio.Task[None] | None = None
        self._opening_until = time.monotonic() + OPENING_S
        self._log = logger.bind(url=url)

    @property
    def confirmed(self) -> frozenset[str]:
        """The topics that the server has acknowledged on this connection."""
        return frozenset(self._subscriptions.confirmed)

    @property
    def refused(self) -> frozenset[str]:
        """The wanted topics that the server would not take."""
        return frozenset(self._subscriptions.refused)

    @property
    def lost(self) -> bool:
        """Whether its streams go without it: it was open, or has been opening for too long."""
        return not self.connected and time.monotonic() > self._opening_until

    @property
    def stalled(self) -> frozenset[StreamName]:
        """None: silent topics are subscribed to anew, and Bybit's own repetition tells a lost one."""
        return frozenset()

    def want(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on; idempotent. Raises ValueError for more than MAX_TOPICS topics."""
        by_topic: dict[str, list[StreamName]] = {}
        for stream in streams:
            by_topic.setdefault(topic_of(stream), []).append(stream)
        self._subscriptions.want(by_topic)
        for name in by_topic.keys() - self._topics.keys():
            self._subscriptions.renew(name)  # given up a moment ago: its snapshot was not kept
        self._topics = {name: self._topics.get(name) or Topic(name) for name in by_topic}
        for name, topic in self._topics.items():
            self._tell(topic.want(by_topic[name]))
        self._changed.set()
        self._note_settled()

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
        backoff = Backoff()
        while True:
            await _take_turn(self._attempts)
            self._opened = math.inf
            try:
                await self._session()
            except (OSError, WebSocketException) as error:
                self._log.warning("bybit not reachable", error=f"{type(error).__name__}: {error}")
            except Exception:  # noqa: BLE001 # a fault of ours must not end the feed for good
                self._log.exception("bybit connection failed unexpectedly")
            if time.monotonic() - self._opened > _HEALTHY_S:
                backoff.reset()
            self.reconnects_total += 1
            await asyncio.sleep(backoff.next_s())

    async def _session(self) -> None:
        """Hold one connection until it ends."""
        async with connect(
            self.url,
            # The frames are small and many: inflating costs more than the bytes it saves.
            compression=None,
            proxy=None,
            max_size=_MAX_FRAME_BYTES,
            max_queue=_MAX_FRAMES_QUEUED,
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=None,  # Bybit has a heartbeat of its own
        ) as socket:
            self._begin()
            try:
                async with asyncio.TaskGroup() as tasks:
                    works = [self._send_requests(socket), self._heartbeat(socket)]
                    works += [self._mend() for _ in range(_MENDERS)]
                    others = [tasks.create_task(work) for work in works]
                    try:
                        await self._read(socket)
                    finally:
                        for task in others:
                            task.cancel()
            finally:
                self._set_connected(up=False)

    def _begin(self) -> None:
        self._subscriptions.forget()
        self._told.clear()
        self._behind = asyncio.Queue(MAX_TOPICS)
        for topic in self._topics.values():
            topic.lose()
        self._opened = self._heard = self._any_told = time.monotonic()
        self._log.info("bybit connected")
        self._set_connected(up=True)

    async def _read(self, socket: ClientConnection) -> None:
        """Hand over messages until the connection ends."""
        while True:
            try:
                frame = await socket.recv(decode=False)
            except ConnectionClosed as closed:
                self._log.warning("bybit connection lost", error=str(closed))
                return
            self._heard = time.monotonic()
            self._take(frame)

    def _take(self, data: bytes) -> None:
        """Deal with one frame."""
        try:
            frame = parse_frame(data)
            topic = self._topics.get(frame.topic)
            if topic is None:
                self._take_reply(frame)
                return
            told = topic.take(frame)
        except BookGapError as gap:
            self.gaps_total += 1
            self._log.warning("bybit book has a gap", error=str(gap))
            self._renew(frame.topic)
        except ValueError as error:
            self.malformed_total += 1
            if self.malformed_total <= _MAX_MALFORMED_LOGGED:
                self._log.warning("bybit frame not understood", error=str(error), start=data[:200])
        else:
            self._tell(told)
            self.tally.messages += 1
            self.last_message_ms = time.time_ns() // 1_000_000
            if frame.topic in self._told:
                self._told[frame.topic] = self._any_told = self._heard

    def _tell(self, told: Told) -> None:
        received_us = time.time_ns() // 1_000
        for stream, payload in told:
            self._on_message(stream, payload, received_us)

    def _take_reply(self, frame: Frame) -> None:
        if self._awaited is None or frame.op not in (Op.SUBSCRIBE, Op.UNSUBSCRIBE):
            return  # a pong, or the last messages of a topic just given up
        req_id, reply = self._awaited
        if frame.req_id == req_id and not reply.done():
            reply.set_result(frame)

    def _renew(self, topic: str) -> None:
        self._subscriptions.renew(topic)
        self._changed.set()

    async def _send_requests(self, socket: ClientConnection) -> None:
        """Tell the server what is wanted, one request after the other."""
        window = RollingWindow(_REQUESTS, _REQUESTS_PERIOD_S)
        unanswered = 0
        try:
            while unanswered < _MAX_UNANSWERED:
                if self._subscriptions.is_settled():
                    self._changed.clear()
                    await self._changed.wait()
                await _take_turn(window)
                if request := self._subscriptions.next_request():
                    answered = await self._ask(socket, request)
                    unanswered = 0 if answered else unanswered + 1
            self._log.warning("bybit does not answer requests", requests=unanswered)
            await socket.close()
        except ConnectionClosed:
            # The reader meets it too, and says so.
            return

    async def _ask(self, socket: ClientConnection, request: Request) -> bool:
        """Send one request and digest the reply; false = none came in time."""
        reply: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._awaited = (request.req_id, reply)
        for name in request.args:
            if topic := self._topics.get(name):
                topic.lose()  # its snapshot may come before the reply, never before the request
        await socket.send(encode_request(request.req_id, request.op, request.args))
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                answer = await reply
        except TimeoutError:
            return False  # unconfirmed, so that the next request repeats it
        finally:
            self._awaited = None
        if answer.success:
            self._subscriptions.accept(request)
            self._watch(request)
            self._note_settled()
            return True
        self._subscriptions.refuse(request)
        self._note_settled()
        if len(request.args) == 1:
            self._log.warning("bybit refused a topic", topic=request.args[0], message=answer.ret_msg[:200])
        return True

    def _watch(self, request: Request) -> None:
        for topic in request.args:
            if topic not in self._topics:
                self._told.pop(topic, None)
            elif topic.startswith(_TOP) and topic not in self._told:
                self._told[topic] = self._any_told = time.monotonic()
            elif request.op is Op.SUBSCRIBE and self._topics[topic].awaits_trades and not self._behind.full():
                self._behind.put_nowait(self._topics[topic])

    async def _mend(self) -> None:
        """Bring the trades that were missed."""
        while True:
            topic = await self._behind.get()
            recent: TradePayloads = ()
            try:
                recent = await self._recent_trades(topic.name.rpartition(".")[2])
            except RestError as error:
                self._log.warning("recent trades not fetched", topic=topic.name, error=str(error))
            told, is_whole = topic.mend(recent)
            self.unmended_total += not is_whole
            if topic is self._topics.get(topic.name):
                self._tell(told)

    async def _heartbeat(self, socket: ClientConnection) -> None:
        """Ping, and end a connection that brings nothing any more."""
        pings, pinged = 0, self._opened
        try:
            while True:
                await asyncio.sleep(_CHECK_S)
                now = time.monotonic()
                if now - self._heard > PING_S + PONG_S or self._all_silent(now):
                    self._log.warning("bybit says nothing", seconds=round(now - self._heard, 1))
                    await socket.close()
                    return
                if now - pinged >= PING_S:
                    pings, pinged = pings + 1, now
                    await socket.send(encode_request(f"ping-{pings}", Op.PING))
        except ConnectionClosed:
            # The reader meets it too, and says so.
            return

    def _all_silent(self, now: float) -> bool:
        """Subscribe anew to silent topics of the best bid and ask; true where that brought none of several back."""
        if len(self._told) > 1 and now - self._any_told > 2 * TOP_SILENCE_S:
            return True
        for topic in [topic for topic, at in self._told.items() if now - at > TOP_SILENCE_S]:
            self.silences_total += 1
            self._told[topic] = now
            self._renew(topic)
        return False

    def _set_connected(self, *, up: bool) -> None:
        self.connected = up
        if up:
            self._opening_until = -math.inf
        self.settled = up and self._subscriptions.is_settled()
        self._on_state()

    def _note_settled(self) -> None:
        settled = self.connected and self._subscriptions.is_settled()
        if settled is not self.settled:
            self.settled = settled
            self._on_state()


async def _take_turn(window: RollingWindow) -> None:
    """Wait until `window` has room, and take it."""
    while not window.allow(time.monotonic()):  # noqa: ASYNC110 # waits for the clock, not for another task
        await asyncio.sleep(window.wait_s(time.monotonic()))
