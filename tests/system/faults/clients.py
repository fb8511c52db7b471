"""Clients of every door, each with a checker that takes whatever it receives the moment it comes."""

import json
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Final, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from tests.support.processes import ROOT
from tests.system.faults.checker import Client, Data, Gap, Renewed
from tests.system.faults.reading import cursor_of, read_binance, read_json, read_socketio

RECONNECT_S: Final = 0.1
_END_S: Final = 10.0
_GREETING: Final = b"connected "


class Listener(ABC):
    """One client in a thread of its own. `lock` is held while its checker changes."""

    def __init__(self, name: str, streams: Sequence[str], *, speaks_of_gaps: bool = True) -> None:
        self.streams = streams
        self.checker = Client(name, speaks_of_gaps)
        self.lock = threading.Lock()
        self.failure: Exception | None = None
        """What ended it before its time."""
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            self._listen()
        except Exception as error:  # noqa: BLE001 # the main thread tells of it
            self.failure = error

    def _take(self, events: Iterable[Data | Gap | Renewed]) -> None:
        now = time.monotonic()
        with self.lock:
            for event in events:
                self.checker.take(event, now)

    @abstractmethod
    def _listen(self) -> None:
        """Receive until the end."""

    @abstractmethod
    def _end(self) -> None:
        """Make `_listen` return."""


class SocketIoListener(Listener):
    """A stock socket.io-client (tests/system/clients/collect.mjs), which subscribes with `since` when it returns.

    `source` is the loopback address that it comes from: its third octet decides on the replica.
    """

    def __init__(self, name: str, url: str, source: str, transport: str, streams: Sequence[str]) -> None:
        super().__init__(name, streams)
        script = str(ROOT / "tests/system/clients/collect.mjs")
        self._command = ["node", script, url, source, transport, *streams]
        self._child: subprocess.Popen[bytes] | None = None
        self.replica = ""
        """The name of the replica that it is connected to, as that one says."""

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(self._command, stdout=subprocess.PIPE, cwd=ROOT)
        return super().__enter__()

    def _listen(self) -> None:
        if self._child is None or self._child.stdout is None:
            raise AssertionError("the client was not started")
        with self._child.stdout as lines:
            for line in lines:
                if line.startswith(_GREETING):
                    self.replica = line.removeprefix(_GREETING).decode().strip()
                self._take(read_socketio(line))

    def _end(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(_END_S)


class WebSocketListener(Listener):
    """A client of a plain WebSocket door, which connects again whenever it is cut off."""

    def __init__(
        self, name: str, url: str, source: str, streams: Sequence[str], *, speaks_of_gaps: bool = True
    ) -> None:
        super().__init__(name, streams, speaks_of_gaps=speaks_of_gaps)
        self._url = url.replace("http", "ws", 1)
        self._source = (source, 0)
        self._socket: ClientConnection | None = None
        self._ending = threading.Event()

    def _listen(self) -> None:
        while not self._ending.is_set():
            try:
                with connect(
                    self._url, source_address=self._source, proxy=None, max_queue=None, close_timeout=1
                ) as socket:
                    self._socket = socket
                    self._subscribe(socket)
                    for text in socket:
                        self._hear(text)
            except (ConnectionClosed, InvalidHandshake, OSError):
                self._ending.wait(RECONNECT_S)
            with self.lock:
                self._lost()

    def _end(self) -> None:
        self._ending.set()
        if self._socket is not None:
            self._socket.close()

    def _lost(self) -> None:
        """The connection is gone."""

    @abstractmethod
    def _subscribe(self, socket: ClientConnection) -> None:
        """Ask for the streams."""

    @abstractmethod
    def _hear(self, text: bytes | str) -> None:
        """Take one message."""


class JsonListener(WebSocketListener):
    """A client of the JSON door, which subscribes with `since` when it returns."""

    def __init__(self, name: str, url: str, source: str, streams: Sequence[str]) -> None:
        super().__init__(name, url, source, streams)
        self._since: dict[str, int] = {}

    def _subscribe(self, socket: ClientConnection) -> None:
        socket.send(json.dumps({"type": "subscribe", "rawStreams": self.streams, "since": self._since}))

    def _hear(self, text: bytes | str) -> None:
        events = list(read_json(text))
        self._take(events)
        for event in events:
            if isinstance(event, Data):
                self._since[event.stream] = cursor_of(event.stream, event.payload)


class BinanceListener(WebSocketListener):
    """A client of the Binance door, whose protocol neither announces gaps nor brings what was missed."""

    def __init__(self, name: str, url: str, source: str, market: str, streams: Sequence[str]) -> None:
        names = "/".join(stream.partition(":")[2] for stream in streams)
        route = "" if market == "spot" else "/market"
        super().__init__(name, f"{url}{route}/stream?streams={names}", source, streams, speaks_of_gaps=False)
        self._market = market

    def _subscribe(self, socket: ClientConnection) -> None:
        """The URL has done it."""

    def _hear(self, text: bytes | str) -> None:
        self._take(read_binance(self._market, text))

    def _lost(self) -> None:
        self.checker.cut()
        for values in self.checker.values.values():
            values.renew()


TRADES: Final = "spot:btcusdt@trade"
SPOT_STREAMS: Final = (
    TRADES,
    "spot:btcusdt@depth@100ms",
    "spot:btcusdt@bookTicker",
    "spot:btcusdt@kline_1s",
)
FUTURES_STREAMS: Final = ("futures:btcusdt@aggTrade",)
STREAMS: Final = SPOT_STREAMS + FUTURES_STREAMS


def clients_of_every_door(url: str) -> list[Listener]:
    """Clients of the doors behind Nginx, on either replica."""
    return [
        SocketIoListener("socket.io websocket 1", url, "127.0.1.1", "websocket", STREAMS),
        SocketIoListener("socket.io websocket 2", url, "127.0.2.1", "websocket", STREAMS),
        SocketIoListener("socket.io polling", url, "127.0.2.2", "polling", STREAMS),
        JsonListener("json", url, "127.0.1.3", STREAMS),
        BinanceListener("binance spot", url, "127.0.2.4", "spot", SPOT_STREAMS),
        BinanceListener("binance futures", url, "127.0.1.5", "futures", FUTURES_STREAMS),
    ]
