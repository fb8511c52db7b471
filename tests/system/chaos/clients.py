"""Clients of every door, each with a checker that takes whatever it receives the moment it comes."""

import asyncio
import contextlib
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import aiohttp
import socketio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from loadtest.probe.checker import Client, Data, Event
from loadtest.probe.reading import (
    cursor_of,
    read_answer,
    read_binance,
    read_event,
    read_prices,
    read_raw,
    read_typed,
)
from tests.support.processes import ROOT

RECONNECT_S: Final = 0.1
RECONNECT_MAX_S: Final = 0.5
"""How long clients wait before they connect again, at first and at most."""
_OPEN_S: Final = 3.0
_END_S: Final = 10.0
_MAX_LINE: Final = 1 << 20
_GREETING: Final = b"connected "


class Listener(ABC):
    """One client in a task of its own, which connects again whenever it is cut off.

    `source` is the loopback address that it comes from: its third octet decides on the replica.
    """

    def __init__(
        self, name: str, url: str, source: str, streams: Sequence[str], *, speaks_of_gaps: bool = True
    ) -> None:
        self.checker = Client(name, speaks_of_gaps)
        self.streams = streams
        self.failure: BaseException | None = None
        """What ended it before its time."""
        self._url = url
        self._source = source
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, subscribe and receive from now on."""
        self._task = asyncio.create_task(self._listen(), name=self.checker.name)
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End it."""
        if self._task is not None:
            self._task.remove_done_callback(self._ended)
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_END_S)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.failure = None if task.cancelled() else task.exception() or AssertionError("it ended by itself")

    def _take(self, events: Iterable[Event]) -> None:
        now = time.monotonic()
        for event in events:
            self.checker.take(event, now)

    @abstractmethod
    async def _listen(self) -> None:
        """Receive until cancelled."""


def read_line(line: bytes) -> Iterator[Event]:
    """A line that tests/system/clients/collect.mjs printed."""
    kind, _, rest = line.partition(b" ")
    if kind == b"ack":
        yield from read_answer(json.loads(rest))
    elif kind == b"packet":
        name, *arguments = json.loads(rest[1:])
        yield from read_event(name, arguments[0])


class NodeListener(Listener):
    """A stock socket.io-client (tests/system/clients/collect.mjs), which subscribes with `since` when it returns."""

    def __init__(self, name: str, url: str, source: str, streams: Sequence[str], transport: str) -> None:
        super().__init__(name, url, source, streams)
        self._transport = transport
        self.replica = ""
        """The name of the replica that it is connected to, as that one says."""

    async def _listen(self) -> None:
        script = str(ROOT / "tests/system/clients/collect.mjs")
        command = ("node", script, self._url, self._source, self._transport, *self.streams)
        child = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, cwd=ROOT, limit=_MAX_LINE
        )
        try:
            if child.stdout is None:
                raise AssertionError("the client has no output")
            async for line in child.stdout:
                if line.startswith(_GREETING):
                    self.replica = line.removeprefix(_GREETING).decode().strip()
                elif line.startswith(b"disconnect "):
                    self.checker.cut()
                self._take(read_line(line))
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()


class PythonListener(Listener):
    """A stock python-socketio client, which subscribes with `since` when it returns."""

    def __init__(self, name: str, url: str, source: str, streams: Sequence[str], transport: str) -> None:
        super().__init__(name, url, source, streams)
        self._transport = transport
        self._since: dict[str, int] = {}
        self._failed: asyncio.Future[None] | None = None

    async def _listen(self) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        # A response that came whole leaves its connection to the next poll, as browsers do it.
        connector = aiohttp.TCPConnector(local_addr=(self._source, 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            io = socketio.AsyncClient(
                http_session=http, reconnection_delay=RECONNECT_S, reconnection_delay_max=RECONNECT_MAX_S
            )
            io.on("connect", partial(self._subscribe, io))
            io.on("disconnect", lambda *_: self.checker.cut())
            io.on("*", self._hear)
            await io.connect(self._url, transports=[self._transport], retry=True)
            try:
                await self._failed
            finally:
                await io.shutdown()

    async def _subscribe(self, io: socketio.AsyncClient) -> None:
        body = {"streams": self.streams, "since": self._since}
        with contextlib.suppress(socketio.exceptions.BadNamespaceError):  # cut off again: the next time, then
            await io.emit("subscribe", body, callback=self._answered)

    def _answered(self, reply: dict[str, Any]) -> None:
        self._guarded(read_answer(reply))

    async def _hear(self, name: str, *arguments: Any) -> None:
        body = arguments[0] if arguments else {}
        if "cursor" in body:
            self._since[body["stream"]] = body["cursor"]
        self._guarded(read_event(name, body))

    def _guarded(self, events: Iterable[Event]) -> None:
        """Take events; what is wrong ends the client here, since python-socketio would only drop its handler's task."""
        try:
            self._take(events)
        except Exception as error:  # noqa: BLE001 # whatever it is, `_listen` raises it
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)


class WebSocketListener(Listener):
    """A client of a plain WebSocket door."""

    async def _listen(self) -> None:
        while True:
            try:
                async with connect(
                    self._url.replace("http", "ws", 1),
                    local_addr=(self._source, 0),
                    proxy=None,
                    max_queue=None,
                    open_timeout=_OPEN_S,
                    close_timeout=1,
                ) as socket:
                    await self._subscribe(socket)
                    async for text in socket:
                        self._hear(text)
                self.checker.cut()
            except ConnectionClosed:
                self.checker.cut()
            except (InvalidHandshake, InvalidMessage, OSError, TimeoutError):
                pass  # not opened: it was cut off before
            await asyncio.sleep(RECONNECT_S)

    @abstractmethod
    async def _subscribe(self, socket: ClientConnection) -> None:
        """Ask for the streams."""

    @abstractmethod
    def _hear(self, text: bytes | str) -> None:
        """Take one message."""


class RawListener(WebSocketListener):
    """A client of the JSON door's raw streams, which subscribes with `since` when it returns."""

    def __init__(self, name: str, url: str, source: str, streams: Sequence[str]) -> None:
        super().__init__(name, url, source, streams)
        self._since: dict[str, int] = {}

    async def _subscribe(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"type": "subscribe", "rawStreams": self.streams, "since": self._since}))

    def _hear(self, text: bytes | str) -> None:
        self._remember(read_raw(text))

    def _remember(self, events: Iterable[Event]) -> None:
        known = list(events)
        self._take(known)
        for event in known:
            if isinstance(event, Data):
                self._since[event.stream] = cursor_of(event.stream, event.payload)


class TypedListener(RawListener):
    """A client of documents 000 and 001: one subscription for each type of stream."""

    async def _subscribe(self, socket: ClientConnection) -> None:
        for stream in self.streams:
            market, _, name = stream.partition(":")
            symbol, _, kind = name.partition("@")
            await socket.send(
                json.dumps(
                    {
                        "type": "subscribe",
                        "streamType": kind,
                        "symbols": [symbol.upper()],
                        "market": market,
                        "since": {stream: self._since[stream]} if stream in self._since else {},
                    }
                )
            )

    def _hear(self, text: bytes | str) -> None:
        self._remember(read_typed(text))


class PriceListener(WebSocketListener):
    """A client of document 004, whose messages tell no ids: that they come is all that can be checked."""

    async def _subscribe(self, socket: ClientConnection) -> None:
        await socket.send(json.dumps({"type": "SUBSCRIBE", "symbols": self.streams, "throttle": 100}))

    def _hear(self, text: bytes | str) -> None:
        self._take(read_prices(text))


class BinanceListener(WebSocketListener):
    """A client of the Binance door, whose protocol neither announces gaps nor brings what was missed."""

    def __init__(self, name: str, url: str, source: str, streams: Sequence[str], market: str) -> None:
        names = "/".join(stream.partition(":")[2] for stream in streams)
        route = "" if market == "spot" else "/market"
        super().__init__(name, f"{url}{route}/stream?streams={names}", source, streams, speaks_of_gaps=False)
        self._market = market

    async def _subscribe(self, socket: ClientConnection) -> None:
        """The URL has done it."""

    def _hear(self, text: bytes | str) -> None:
        self._take(read_binance(self._market, text))


TRADES: Final = "spot:btcusdt@trade"
BOOK_TICKERS: Final = "spot:btcusdt@bookTicker"
SPOT_STREAMS: Final = (TRADES, "spot:btcusdt@depth@100ms", BOOK_TICKERS, "spot:btcusdt@kline_1s")
FUTURES_STREAMS: Final = ("futures:btcusdt@aggTrade",)
STREAMS: Final = SPOT_STREAMS + FUTURES_STREAMS
TYPED_STREAMS: Final = (TRADES, BOOK_TICKERS, *FUTURES_STREAMS)


def clients_of_every_door(url: str) -> list[Listener]:
    """Clients of the doors behind Nginx, on either replica."""
    return [
        NodeListener("socket.io node websocket 1", url, "127.0.1.1", STREAMS, "websocket"),
        NodeListener("socket.io node websocket 2", url, "127.0.2.1", STREAMS, "websocket"),
        NodeListener("socket.io node polling", url, "127.0.2.2", STREAMS, "polling"),
        PythonListener("socket.io python websocket", url, "127.0.1.2", STREAMS, "websocket"),
        PythonListener("socket.io python polling", url, "127.0.1.4", STREAMS, "polling"),
        RawListener("json raw streams", url, "127.0.1.3", STREAMS),
        TypedListener("json 000 and 001", url, "127.0.2.3", TYPED_STREAMS),
        PriceListener("json 004", url, "127.0.2.5", ("BTC",)),
        BinanceListener("binance spot", url, "127.0.2.4", SPOT_STREAMS, "spot"),
        BinanceListener("binance futures", url, "127.0.1.5", FUTURES_STREAMS, "futures"),
    ]
