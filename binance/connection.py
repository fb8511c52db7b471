"""One WebSocket connection to Binance that stays: subscribed to what is wanted, reconnected when lost.

Sources: Binance "WebSocket Streams" (spot) and "Connect", "Live Subscribing/Unsubscribing to
streams" (USD-M futures).
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from binance.frames import SERVER_SHUTDOWN, Reply, ServerShutdown, is_void_trade, parse_control, slice_frame
from binance.routes import Route
from binance.subscriptions import Request, Subscriptions, encode_request
from market.backoff import Backoff
from market.streams import Kind, Market, StreamName
from market.venue import MessageCallback
from market.windows import RollingWindow

logger = structlog.get_logger(__name__)

# Binance closes with 1008 past 5 (spot) or 10 (futures) client messages within any second, and
# counts pings and pongs: two a second are kept free for those. The longer period absorbs jitter
# on the way, which pushes messages together.
_REQUESTS: Final = {Market.SPOT: 3, Market.FUTURES: 8}
_REQUESTS_PERIOD_S: Final = 1.1

# Binance admits 300 attempts in 5 minutes per address; half of it is left to others on that address.
_ATTEMPTS: Final = 150
_ATTEMPTS_PERIOD_S: Final = 300.0

REPLY_TIMEOUT_S: Final = 10.0
_MAX_UNANSWERED: Final = 3
_HEALTHY_S: Final = 10.0
_OPEN_TIMEOUT_S: Final = 10.0
_CLOSE_TIMEOUT_S: Final = 1.0
# Finds a dead peer long before spot's (20 s) or futures' (3 min) own pings would.
_PING_INTERVAL_S: Final = 15.0
_PING_TIMEOUT_S: Final = 10.0
_MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
# About one full socket read: reading pauses past it, and TCP holds the exchange back.
_MAX_FRAMES_QUEUED: Final = 1_024


def connection_attempts() -> RollingWindow:
    """The window that all connections of one address share, so that they are never banned together."""
    return RollingWindow(_ATTEMPTS, _ATTEMPTS_PERIOD_S)


class Connection:
    """One combined connection of one route; carries at most MAX_STREAMS (binance/routes.py).

    Frames are read as long as any are buffered, without giving way to the loop, and handed to
    `on_message` one by one: what a callback schedules with `call_soon` sees all of them.
    `on_state` is called when `connected` changes.
    """

    def __init__(
        self,
        url: str,
        route: Route,
        attempts: RollingWindow,
        on_message: MessageCallback,
        on_state: Callable[[], None],
    ) -> None:
        self.url = url
        self.connected = False
        self.messages_total = 0
        self.reconnects_total = 0
        """Attempts after the first."""
        self.reply_timeouts_total = 0
        self.unknown_frames_total = 0
        """Frames of no wanted stream: garbage, and the last ones of streams just given up."""
        self.void_trades_total = 0
        self.last_message_ms = 0
        """When the latest message came, in ms since the epoch; 0 = none yet."""
        self._market = route.market
        self._attempts = attempts
        self._on_message = on_message
        self._on_state = on_state
        self._subscriptions = Subscriptions()
        self._changed = asyncio.Event()
        self._awaited: tuple[int, asyncio.Future[Reply]] | None = None
        self._opened = math.inf
        self._task: asyncio.Task[None] | None = None
        self._log = logger.bind(url=url)

    @property
    def confirmed(self) -> frozenset[str]:
        """Binance's names of the streams that the server has acknowledged on this connection."""
        return self._subscriptions.confirmed

    @property
    def refused(self) -> frozenset[str]:
        """Binance's names of the wanted streams that the server would not take."""
        return frozenset(self._subscriptions.refused)

    def want(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on; idempotent. Raises ValueError for more than MAX_STREAMS."""
        self._subscriptions.want(streams)
        self._changed.set()

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
            at_once = False
            try:
                at_once = await self._session()
            except (OSError, WebSocketException) as error:
                self._log.warning("exchange not reachable", error=f"{type(error).__name__}: {error}")
            except Exception:  # noqa: BLE001 # a fault of ours must not end the feed for good
                self._log.exception("connection failed unexpectedly")
            if time.monotonic() - self._opened > _HEALTHY_S:
                backoff.reset()
            self.reconnects_total += 1
            # A server that only ever announces its shutdown must not be called in a tight loop.
            at_once = at_once and backoff.is_fresh
            delay_s = backoff.next_s()
            if not at_once:
                await asyncio.sleep(delay_s)

    async def _session(self) -> bool:
        """Hold one connection until it ends; true = connect again at once."""
        async with connect(
            self.url,
            # The frames are small and many: inflating costs more than the bytes it saves.
            compression=None,
            proxy=None,
            max_size=_MAX_FRAME_BYTES,
            max_queue=_MAX_FRAMES_QUEUED,
            open_timeout=_OPEN_TIMEOUT_S,
            close_timeout=_CLOSE_TIMEOUT_S,
            ping_interval=_PING_INTERVAL_S,
            ping_timeout=_PING_TIMEOUT_S,
        ) as socket:
            self._subscriptions.forget()
            self._opened = time.monotonic()
            self._log.info("exchange connected")
            self._set_connected(up=True)
            try:
                async with asyncio.TaskGroup() as tasks:
                    requests = tasks.create_task(self._send_requests(socket))
                    try:
                        # The 24 h rotation will stand here: it, too, ends a session on purpose.
                        return await self._read(socket)
                    finally:
                        requests.cancel()
            finally:
                self._subscriptions.forget()
                self._set_connected(up=False)

    async def _read(self, socket: ClientConnection) -> bool:
        """Hand over messages until the connection ends; true = the server asked to be left."""
        while True:
            try:
                frame = await socket.recv(decode=False)
            except ConnectionClosed as closed:
                self._log.warning("exchange connection lost", error=str(closed))
                return False
            if self._take(frame):
                self._log.info("exchange announces its shutdown")
                return True

    def _take(self, frame: bytes) -> bool:
        """Deal with one frame; true = the server is about to shut down."""
        sliced = slice_frame(frame)
        if sliced is None:
            return self._take_control(frame)
        name, payload = sliced
        stream = self._subscriptions.by_name.get(name)
        if stream is None:
            self.unknown_frames_total += name != SERVER_SHUTDOWN
            return name == SERVER_SHUTDOWN
        if stream.kind is Kind.TRADE and self._market is Market.FUTURES and is_void_trade(payload):
            self.void_trades_total += 1
            return False
        received_us = time.time_ns() // 1_000
        self.messages_total += 1
        self.last_message_ms = received_us // 1_000
        self._on_message(stream, payload, received_us)
        return False

    def _take_control(self, frame: bytes) -> bool:
        control = parse_control(frame)
        if isinstance(control, ServerShutdown):
            return True
        if control is None:
            self.unknown_frames_total += 1
        elif self._awaited is not None and not self._awaited[1].done():
            request_id, reply = self._awaited
            # Binance answers with id null what it could not parse: that can only be the last one sent.
            if control.request_id == request_id or (control.request_id is None and control.error):
                reply.set_result(control)
        return False

    async def _send_requests(self, socket: ClientConnection) -> None:
        """Tell the server what is wanted, one request after the other, within its limit of messages."""
        window = RollingWindow(_REQUESTS[self._market], _REQUESTS_PERIOD_S)
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
            self._log.warning("exchange does not answer requests", requests=unanswered)
            await socket.close()
        except ConnectionClosed:
            # The reader meets it too, and says so.
            return

    async def _ask(self, socket: ClientConnection, request: Request) -> bool:
        """Send one request and digest the reply; false = none came in time."""
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._awaited = (request.id, reply)
        await socket.send(encode_request(request))
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_S):
                answer = await reply
        except TimeoutError:
            # Unconfirmed, so that the next request repeats it; subscribing twice does no harm.
            self.reply_timeouts_total += 1
            return False
        finally:
            self._awaited = None
        if answer.error is None:
            self._subscriptions.accept(request)
            return True
        self._subscriptions.refuse(request)
        if len(request.params) == 1:
            code, message = answer.error
            self._log.warning("exchange refused a stream", stream=request.params[0], code=code, message=message)
        return True

    def _set_connected(self, *, up: bool) -> None:
        self.connected = up
        self._on_state()


async def _take_turn(window: RollingWindow) -> None:
    """Wait until `window` has room, and take it."""
    while not window.allow(time.monotonic()):  # noqa: ASYNC110 # waits for the clock, not for another task
        await asyncio.sleep(window.wait_s(time.monotonic()))
