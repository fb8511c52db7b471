"""One client's WebSocket connection, and the rules that Binance sets for it."""

import asyncio
import time
from collections import deque
from fnmatch import fnmatchcase
from typing import Final

import structlog
from aiohttp import WSMessage, WSMsgType, web

from binance.control import ControlError, ControlSession
from binance.entrances import (
    MAX_MESSAGE_BYTES,
    MESSAGES_PER_SECOND,
    Entrance,
    check_time_unit,
    names_in_path,
    names_in_query,
)
from binance.frames import server_shutdown
from exchange.broadcast import Broadcast, frame, text_frame
from exchange.faults import Door, Faults
from exchange.settings import ExchangeServerSettings
from market.streams import Market
from market.windows import RollingWindow

MAX_BACKLOG: Final = 8 * 1024 * 1024
"""Bytes that a client may leave unread before its connection is cut."""

_ANSWER_S: Final = 1.0
_CLOSE_S: Final = 2.0
_PING: Final = 0x89
_PONG: Final = 0x8A
_POLICY: Final = 1008
_GOING_AWAY: Final = 1001
_MAX_ADDRESSES: Final = 1_024
_ATTEMPTS_PERIOD_S: Final = 300.0

_log = structlog.get_logger(__name__)


class Connection:
    """A WebSocket connection of one entrance; frames go straight to its transport, shared with other clients.

    Pings come every `ping_s` with the time in ms as their payload and must be answered within `pong_s`
    with a copy of it; unasked pongs are allowed and prove nothing. Pings, pongs and texts of the
    client count against its message rate.
    """

    def __init__(self, request: web.Request, response: web.WebSocketResponse, entrance: Entrance) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client left during the handshake")
        self.entrance = entrance
        self.session = ControlSession(entrance.market, combined=entrance.combined)
        self.opened_at = time.monotonic()
        self.is_closing = False
        self._response = response
        self._transport: asyncio.WriteTransport = request.transport
        self.stalled_until = 0.0
        """Until then (`time.monotonic()`) nothing is sent and nothing is heard, as if the line were cut."""
        self._recent: deque[float] = deque()
        self._queued: list[bytes] = []
        self._pings: dict[bytes, float] = {}
        self._next_ping = self.opened_at

    @property
    def market(self) -> Market:
        """The market whose streams it may have."""
        return self.entrance.market

    @property
    def combined(self) -> bool:
        """Whether payloads come wrapped in their stream's name."""
        return self.session.combined

    @property
    def is_stalled(self) -> bool:
        """Whether the connection plays dead."""
        return self.stalled_until > 0 and time.monotonic() < self.stalled_until

    @property
    def backlog(self) -> int:
        """Bytes that wait for the client to read."""
        return self._transport.get_write_buffer_size()

    def send(self, data: bytes) -> bool:
        """Queue one frame; true = the first since the last flush."""
        if self.is_stalled:
            return False
        self._queued.append(data)
        return len(self._queued) == 1

    def flush(self) -> None:
        """Write what is queued; a client that has let too much pile up is cut off."""
        queued, self._queued = self._queued, []
        if self.is_closing or self._transport.is_closing():
            return
        self._transport.write(queued[0] if len(queued) == 1 else b"".join(queued))
        if self.backlog > MAX_BACKLOG:
            _log.warning("client reads too slowly, cut off", path=self.entrance.path, backlog=self.backlog)
            self.abort()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self.is_closing = True
        self._transport.abort()

    def count_message(self, now: float) -> int:
        """Count one more message of the client's; returns how many came within the second that ends `now`."""
        self._recent.append(now)
        while self._recent[0] <= now - 1.0:
            self._recent.popleft()
        return len(self._recent)

    def pong(self, payload: bytes) -> None:
        """The client has answered a ping: that one and all before it are settled."""
        sent = self._pings.get(payload)
        if sent is not None:
            self._pings = {text: at for text, at in self._pings.items() if at > sent}

    def answer_ping(self, payload: bytes) -> None:
        """Answer the client's ping."""
        self._transport.write(frame(_PONG, payload))

    def check(self, now: float, settings: ExchangeServerSettings) -> tuple[int, bytes] | None:
        """Send a ping if one is due; returns code and reason where the connection must be closed."""
        spot = self.market is Market.SPOT
        if self.is_stalled:
            return None
        if now - self.opened_at >= settings.exchange_lifetime_s:
            return _GOING_AWAY, b"Connection lifetime reached"
        if self._pings and now - min(self._pings.values()) >= (
            settings.spot_pong_s if spot else settings.futures_pong_s
        ):
            return _POLICY, b"Pong timeout"
        if now >= self._next_ping:
            self._next_ping = now + (settings.spot_ping_s if spot else settings.futures_ping_s)
            payload = str(time.time_ns() // 1_000_000).encode()
            self._pings[payload] = now
            self._transport.write(frame(_PING, payload))
        return None

    async def close(self, code: int, reason: bytes) -> None:
        """Close with `code`, after what is queued; a client that does not answer is cut off."""
        if self.is_closing:
            return
        if self._queued:
            self.flush()
        self.is_closing = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._response.close(code=code, message=reason)
        except TimeoutError:
            self._transport.abort()


class Sockets:
    """All open connections: accepts them, carries out what clients ask, and keeps Binance's rules."""

    def __init__(self, settings: ExchangeServerSettings, broadcast: Broadcast, faults: Faults) -> None:
        self._settings = settings
        self._faults = faults
        self._broadcast = broadcast
        self._attempts: dict[str, RollingWindow] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.open: dict[Connection, None] = {}
        self.opened_total = 0
        self.refused_total = 0
        self.messages_total = 0
        self.rate_closed_total = 0
        self.busiest_second = dict.fromkeys(Market, 0)
        """The most messages that any connection of a market has sent within any second."""

    async def serve(self, request: web.Request, entrance: Entrance) -> web.StreamResponse:
        """Serve one connection until it ends. Raises BinanceError for a URL that asks for what there is not."""
        check_time_unit(request.rel_url.raw_query_string)
        if (refusal := self._faults.refusal(Door.WEBSOCKET, time.monotonic())) is not None:
            self.refused_total += 1
            asked = {"Retry-After": str(refusal.retry_after_s)} if refusal.retry_after_s else {}
            return web.Response(status=refusal.status, headers=asked)
        if entrance.market is Market.SPOT and not self._admits(request.remote or ""):
            self.refused_total += 1
            return web.Response(status=429, headers={"Retry-After": "300"})
        response = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=_CLOSE_S / 2
        )
        await response.prepare(request)
        connection = Connection(request, response, entrance)
        self.open[connection] = None
        self.opened_total += 1
        try:
            names = _names_in(request, entrance)
            self._join(connection, connection.session.open(names))
            await self._listen(connection, response)
        except ControlError as error:
            await connection.close(_POLICY, error.message.encode()[:120])
        finally:
            self.open.pop(connection, None)
            self._leave(connection, connection.session.streams)
        return response

    def check(self) -> None:
        """Send due pings and close what must be closed; to be called often."""
        now = time.monotonic()
        for connection in list(self.open):
            verdict = None if connection.is_closing else connection.check(now, self._settings)
            if verdict is not None:
                self.close_later(connection, *verdict)

    def close_later(self, connection: Connection, code: int, reason: bytes) -> None:
        """Close without waiting for it."""
        task = asyncio.create_task(connection.close(code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def drop(self, market: Market | None) -> int:
        """Cut all connections (of one market) without a word; returns how many."""
        dropped = self._of(market)
        for connection in dropped:
            connection.abort()
        return len(dropped)

    def mute(self, market: Market | None, pattern: str) -> int:
        """Forget the subscriptions of all open connections to streams that match; later ones are not touched.

        Nobody is told, as when a server loses a subscription. Returns how many were forgotten.
        """
        muted = [
            (connection, name)
            for connection in self._of(market)
            for name in connection.session.streams
            if fnmatchcase(name, pattern)
        ]
        for connection, name in muted:
            self._leave(connection, (name,))
        return len(muted)

    def stall(self, market: Market | None, until: float) -> int:
        """Let all open connections play dead until then, without ending them; returns how many."""
        stalled = self._of(market)
        for connection in stalled:
            connection.stalled_until = until
        return len(stalled)

    def say(self, market: Market | None, data: bytes) -> int:
        """Send one frame, whatever it is, on all open connections; returns how many."""
        told = self._of(market)
        for connection in told:
            self._broadcast.queue(connection, data)
        self._broadcast.flush()
        return len(told)

    def close_open(self, market: Market | None, code: int, reason: bytes) -> int:
        """Close all open connections; returns how many."""
        closed = self._of(market)
        for connection in closed:
            self.close_later(connection, code, reason)
        return len(closed)

    def announce_shutdown(self, market: Market | None, now_ms: int) -> list[Connection]:
        """Tell clients (of one market) that the server is about to close; returns who was told."""
        told = self._of(market)
        for connection in told:
            self._broadcast.queue(connection, text_frame(server_shutdown(now_ms, combined=connection.combined)))
        self._broadcast.flush()
        return told

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(
            *(connection.close(_GOING_AWAY, b"Server shutting down") for connection in list(self.open))
        )
        await asyncio.gather(*self._closing)

    async def _listen(self, connection: Connection, response: web.WebSocketResponse) -> None:
        async for message in response:
            if message.type is WSMsgType.ERROR or connection.is_closing:
                return
            if connection.is_stalled:
                continue
            self.messages_total += 1
            rate = connection.count_message(time.monotonic())
            self.busiest_second[connection.market] = max(rate, self.busiest_second[connection.market])
            if rate > MESSAGES_PER_SECOND[connection.market]:
                self.rate_closed_total += 1
                await connection.close(_POLICY, b"Too many requests")
                return
            self._handle(connection, message)

    def _handle(self, connection: Connection, message: WSMessage) -> None:
        if message.type is WSMsgType.PING:
            connection.answer_ping(bytes(message.data))
        elif message.type is WSMsgType.PONG:
            connection.pong(bytes(message.data))
        else:
            text = message.data if isinstance(message.data, str) else message.data.decode("utf-8", "replace")
            outcome = connection.session.handle(text)
            # The answer stands before the first message of what it grants.
            self._broadcast.queue(connection, text_frame(outcome.reply))
            self._broadcast.flush()
            self._leave(connection, outcome.unsubscribed)
            self._join(connection, outcome.subscribed)

    def _of(self, market: Market | None) -> list[Connection]:
        return [connection for connection in self.open if market in (None, connection.market)]

    def _join(self, connection: Connection, names: tuple[str, ...]) -> None:
        for name in names:
            if connection.entrance.stream_of(name) is not None:
                self._broadcast.add(connection, (connection.market, name))

    def _leave(self, connection: Connection, names: tuple[str, ...]) -> None:
        for name in names:
            self._broadcast.remove(connection, (connection.market, name))

    def _admits(self, address: str) -> bool:
        window = self._attempts.get(address)
        if window is None:
            if len(self._attempts) >= _MAX_ADDRESSES:
                del self._attempts[next(iter(self._attempts))]
            window = self._attempts[address] = RollingWindow(self._settings.connection_attempts, _ATTEMPTS_PERIOD_S)
        return window.allow(time.monotonic())


def _names_in(request: web.Request, entrance: Entrance) -> list[str]:
    """The streams that the URL names."""
    if entrance.combined:
        return names_in_query(request.rel_url.raw_query_string)
    return names_in_path(request.match_info.get("names", ""))
