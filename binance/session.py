"""One WebSocket to Binance, from its handshake to its end: frames in, streams asked for, signs of life.

Source: Binance "WebSocket Streams" (spot), "Connect" (USD-M futures).
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeAlias

import structlog
from aiohttp import ClientSession, ClientTimeout, ClientWebSocketResponse, ClientWSTimeout, WSMsgType
from aiohttp.http import WebSocketError

from binance.counters import Counters, Trouble
from binance.dialogue import Dialogue, Ping, Pong, Say
from binance.frames import SERVER_SHUTDOWN, ServerShutdown, is_void_trade, parse_control, slice_frame
from binance.subscriptions import encode_request
from market.streams import Kind, Market, StreamName
from market.venue import Tally

MessageCallback: TypeAlias = Callable[[StreamName, bytes, int], None]
"""Called with stream, payload and receive time in us since the epoch; must not raise or wait."""

OPEN_TIMEOUT_S: Final = 10.0
MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""A larger frame ends the connection; the largest that Binance sends, an all-market array, takes some 0.5 MB."""

_CLOSE_TIMEOUT_S: Final = 1.0
_TICK_S: Final = 0.25
_POLICY: Final = 1008
_TOO_BIG: Final = 1009

_Socket: TypeAlias = "ClientWebSocketResponse[bool]"


class Ending(NamedTuple):
    """How a session ended; `detail` is for the log."""

    trouble: Trouble
    detail: str


class Session:
    """One combined connection. `open` it, `close` it; in between it keeps itself subscribed and alive.

    Frames are read as long as any are buffered, without giving way to the loop, and handed to `deliver`
    one by one: what that schedules with `call_soon` sees all of them. When `is_open`, `is_leaving` or
    `is_settled` turns, `on_change` is called and `changed` is set.
    """

    def __init__(
        self, url: str, tally: Tally, deliver: MessageCallback, on_change: Callable[[], None], counters: Counters
    ) -> None:
        self.deliver = deliver
        self.changed = asyncio.Event()
        self.is_open = False
        self.is_leaving = False
        """The server has announced that it will close."""
        self.is_settled = False
        """The server has acknowledged or refused every stream that is wanted."""
        self.ending: Ending | None = None
        self.opened_at = 0.0
        """`time.monotonic()` of the handshake's end."""
        self.has_signed = False
        """Whether all that the server had sent before the latest `ask_sign` has been handed over."""
        self.heard: set[StreamName] = set()
        """Streams that spoke since the owner last emptied it."""
        self.last_message_us = 0
        """When the latest message came, in us since the epoch; 0 = none yet."""
        self._on_change = on_change
        self._url = url
        self._market = tally.market
        self._tally = tally
        self._counters = counters
        self._dialogue = Dialogue(tally.market, time.monotonic())
        self._wake = asyncio.Event()
        self._signs = 0
        self._frames = 0
        self._frames_known = 0
        self._told_of_garbage = False
        self._transport: tuple[ClientSession, _Socket, asyncio.Task[None]] | None = None
        self._hanging_up: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__).bind(url=url)

    @property
    def confirmed(self) -> frozenset[str]:
        """Binance's names of the streams that the server has acknowledged."""
        return self._dialogue.subscriptions.confirmed

    @property
    def refused(self) -> frozenset[str]:
        """Binance's names of the wanted streams that the server would not take."""
        return frozenset(self._dialogue.subscriptions.refused)

    def want(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on. Raises ValueError for more than MAX_STREAMS."""
        self._dialogue.subscriptions.want(streams)
        self._note_settled()
        self._wake.set()

    def ask_sign(self) -> None:
        """Have the server answer when it has sent all it had to send: `has_signed`."""
        self.has_signed = False
        self._signs += 1
        self._dialogue.ask_sign(b"%d" % self._signs)
        self._wake.set()

    async def open(self) -> None:
        """Connect. Raises aiohttp.ClientError, OSError or TimeoutError; all of them leave nothing behind."""
        http = ClientSession(timeout=ClientTimeout(total=None))
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                socket = await http.ws_connect(
                    self._url,
                    # Counted against the server's limit of messages, pongs are sent by `_speak`.
                    autoping=False,
                    decode_text=False,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=ClientWSTimeout(ws_close=_CLOSE_TIMEOUT_S),
                )
        except BaseException:
            await http.close()
            raise
        self.opened_at = time.monotonic()
        self._dialogue.hear(self.opened_at)
        self.is_open = True
        self._counters.opened += 1
        self._transport = http, socket, asyncio.create_task(self._run(socket))

    async def close(self) -> None:
        """End the connection, also one that has ended by itself. Nothing is handed over afterwards."""
        if self._hanging_up is None and self._transport is not None:
            self._hanging_up = asyncio.create_task(self._hang_up(*self._transport))
        if self._hanging_up is not None:
            await asyncio.wait([self._hanging_up])

    async def _hang_up(self, http: ClientSession, socket: _Socket, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])
        if self.is_open:
            # A task that is cancelled before its first step does not come to its end.
            self._note_closed()
        async with http:
            await socket.close()

    async def _run(self, socket: _Socket) -> None:
        halves = [asyncio.create_task(self._read(socket)), asyncio.create_task(self._speak(socket))]
        try:
            done, _ = await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            self.ending = self._ending_of(done)
        finally:
            self._note_closed()
            for half in halves:
                half.cancel()
            await asyncio.wait(halves)

    def _ending_of(self, done: set[asyncio.Task[Ending]]) -> Ending:
        half = done.pop()
        if (error := half.exception()) is None:
            return half.result()
        # A fault of ours must not end the feed for good.
        self._log.error("session failed unexpectedly", exc_info=error)
        return Ending(Trouble.FAULT, repr(error))

    async def _read(self, socket: _Socket) -> Ending:
        """Hand over messages until the connection ends."""
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.TEXT:
                self._take(message.data)
            elif message.type is WSMsgType.PING:
                self._dialogue.hear_ping(bytes(message.data))
                self._wake.set()
            elif message.type is WSMsgType.BINARY:
                self._note_garbage(message.data)
            elif message.type is WSMsgType.PONG:
                self.has_signed = self.has_signed or bytes(message.data) == b"%d" % self._signs
            else:
                return _ending_by(message.type, message.data, message.extra)
            self._frames += 1

    def _take(self, frame: bytes) -> None:
        """Deal with one text frame."""
        sliced = slice_frame(frame)
        if sliced is None:
            self._take_control(frame)
            return
        name, payload = sliced
        stream = self._dialogue.subscriptions.by_name.get(name)
        if stream is None:
            if name == SERVER_SHUTDOWN:
                self._note_leaving()
            else:
                self._counters.troubles[Trouble.UNWANTED] += 1
            return
        self.heard.add(stream)
        if stream.kind is Kind.TRADE and self._market is Market.FUTURES and is_void_trade(payload):
            self._counters.void_trades += 1
            return
        self.last_message_us = received_us = time.time_ns() // 1_000
        self._tally.messages += 1
        self.deliver(stream, payload, received_us)

    def _take_control(self, frame: bytes) -> None:
        control = parse_control(frame)
        if control is None:
            self._note_garbage(frame)
        elif isinstance(control, ServerShutdown):
            self._note_leaving()
        else:
            trouble = self._dialogue.hear_reply(control)
            if trouble is not None:
                self._counters.troubles[trouble] += 1
            if trouble is Trouble.REFUSED_STREAM:
                self._log.warning("exchange refused a stream", refused=sorted(self.refused)[:10], error=control.error)
            self._note_settled()
            self._wake.set()

    def _note_garbage(self, frame: bytes) -> None:
        self._counters.troubles[Trouble.GARBAGE] += 1
        if not self._told_of_garbage:
            self._told_of_garbage = True
            self._log.warning("exchange sent a frame that says nothing", start=frame[:200])

    def _note_closed(self) -> None:
        self.is_open = False
        self.changed.set()
        self._on_change()

    def _note_leaving(self) -> None:
        self.is_leaving = True
        self.changed.set()
        self._on_change()

    def _note_settled(self) -> None:
        if self.is_settled != self._dialogue.is_settled:
            self.is_settled = not self.is_settled
            self.changed.set()
            self._on_change()

    async def _speak(self, socket: _Socket) -> Ending:
        """Say what is due, one message after the other; returns when the server is past hope."""
        while True:
            now = time.monotonic()
            if self._frames != self._frames_known:
                self._frames_known = self._frames
                self._dialogue.hear(now)
            if (trouble := self._dialogue.check(now)) is not None:
                if trouble is not Trouble.REPLY_TIMEOUT:
                    return Ending(trouble, "the server does not answer")
                self._counters.troubles[trouble] += 1
            if (say := self._dialogue.next(now)) is not None:
                await _say(socket, say)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(self._dialogue.wait_s(now) or _TICK_S, _TICK_S)):
                    await self._wake.wait()
            self._wake.clear()


async def _say(socket: _Socket, say: Say) -> None:
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            if isinstance(say, Pong):
                await socket.pong(say.payload)
            elif isinstance(say, Ping):
                await socket.ping(say.payload)
            else:
                await socket.send_str(encode_request(say))
    except (ConnectionError, TimeoutError):
        # The connection is ending: the reading half meets it too and knows how, or the next check will.
        await asyncio.sleep(_CLOSE_TIMEOUT_S)


def _ending_by(kind: WSMsgType, data: object, extra: object) -> Ending:
    """What aiohttp's last message of a connection says."""
    if kind is WSMsgType.ERROR:
        too_big = isinstance(data, WebSocketError) and data.code == _TOO_BIG
        return Ending(Trouble.OVERSIZED if too_big else Trouble.PROTOCOL, str(data))
    if kind is WSMsgType.CLOSE:
        return Ending(Trouble.RATE_LIMITED if data == _POLICY else Trouble.CLOSED, f"{data} {extra or ''}".rstrip())
    return Ending(Trouble.LOST, "no closing handshake")
