"""The probe's clients, one kind a door: each returns by itself, resumes by `since`, and checks all that it gets."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from loadtest.probe.checker import Client, Data, Event
from loadtest.probe.lean import Address, LeanWebSocket
from loadtest.probe.polling import PollingSession
from loadtest.probe.reading import RefusedError, cursor_of, read_answer, read_binance, read_event, read_raw

SPOT_STREAMS: Final = ("spot:btcusdt@trade", "spot:btcusdt@bookTicker", "spot:btcusdt@kline_1s")
STREAMS: Final = (*SPOT_STREAMS, "futures:btcusdt@aggTrade")
RETURN_S: Final = 0.2
"""How long one that was cut off waits, in s."""

_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.decode


Hear: TypeAlias = Callable[[Data, int], None]
"""Is told of each message with data, and when it came (us since the epoch)."""


class ProbeClient(ABC):
    """One client; `refusal` is what a door refused, which ends it."""

    streams: ClassVar[Sequence[str]] = STREAMS
    """What it subscribes to, each of which speaks at least once a second."""

    def __init__(self, name: str, hear: Hear, *, speaks_of_gaps: bool = True) -> None:
        self.checker = Client(name, speaks_of_gaps)
        self.refusal: str = ""
        self._hear = hear
        self._since: dict[str, int] = {}

    @abstractmethod
    async def run(self) -> None:
        """Be connected, again and again, until cancelled."""

    def take(self, events: Iterable[Event]) -> None:
        """Take what came now; what was refused ends the client."""
        came_us = time.time_ns() // 1000
        now = time.monotonic()
        try:
            for event in events:
                self.checker.take(event, now)
                if isinstance(event, Data):
                    self._since[event.stream] = cursor_of(event.stream, event.payload)
                    self._hear(event, came_us)
        except RefusedError as error:
            self.refusal = str(error)

    def subscription(self) -> dict[str, Any]:
        """What is missing since the last message of each stream, for the first time nothing: no old value either."""
        return {"since": self._since, "snapshot": False}


class WebSocketClient(ProbeClient, LeanWebSocket):
    """A client of a door over WebSocket."""

    def __init__(self, name: str, address: Address, path: str, hear: Hear, *, speaks_of_gaps: bool = True) -> None:
        ProbeClient.__init__(self, name, hear, speaks_of_gaps=speaks_of_gaps)
        LeanWebSocket.__init__(self, address, path)
        self._is_over = False

    async def run(self) -> None:
        """Be connected until cancelled or refused (ProbeClient)."""
        try:
            while not self.refusal:
                await self.connect()
                await asyncio.sleep(RETURN_S)
        finally:
            self._is_over = True
            self.abort()

    def text_received(self, payload: bytes) -> None:
        """Take a message (LeanWebSocket)."""
        self.take(self.read(payload))
        if self.refusal:
            self.abort()

    def ended(self, *, was_open: bool) -> None:
        """Note a lost connection (LeanWebSocket)."""
        if was_open and not self._is_over:
            self.checker.cut()

    @abstractmethod
    def read(self, payload: bytes) -> Iterable[Event]:
        """What a message says."""


class SocketIoClient(WebSocketClient):
    """Socket.IO over WebSocket."""

    def __init__(self, name: str, address: Address, hear: Hear, *, balance: str = "") -> None:
        super().__init__(name, address, f"/socket.io/?EIO=4&transport=websocket{balance}", hear)

    def opened(self) -> None:
        """Wait for the server, which speaks first (LeanWebSocket)."""

    def read(self, payload: bytes) -> Iterable[Event]:
        """What a packet says; the session's own are answered (WebSocketClient)."""
        if payload == b"2":
            self.send(b"3")
        elif payload.startswith(b"0{"):
            self.send(b"40")
        elif payload.startswith(b"40{"):
            self.send(subscribe_packet(self.subscription()))
        return read_packet(payload)


class JsonClient(WebSocketClient):
    """The JSON door's raw streams."""

    def __init__(self, name: str, address: Address, hear: Hear, *, balance: str = "") -> None:
        super().__init__(name, address, f"/?{balance.removeprefix('&')}", hear)

    def opened(self) -> None:
        """Subscribe (LeanWebSocket)."""
        self.send(_encode({"type": "subscribe", "rawStreams": STREAMS, **self.subscription()}))

    def read(self, payload: bytes) -> Iterable[Event]:
        """What a message says (WebSocketClient)."""
        return read_raw(payload)


class BinanceClient(WebSocketClient):
    """Binance's own protocol, spot, which has no words for a gap and resumes nothing."""

    streams = SPOT_STREAMS

    def __init__(self, name: str, address: Address, hear: Hear, *, balance: str = "") -> None:
        names = "/".join(stream.partition(":")[2] for stream in SPOT_STREAMS)
        super().__init__(name, address, f"/stream?streams={names}{balance}", hear, speaks_of_gaps=False)

    def opened(self) -> None:
        """Wait: the URL has subscribed (LeanWebSocket)."""

    def read(self, payload: bytes) -> Iterable[Event]:
        """What a message says (WebSocketClient)."""
        return read_binance("spot", payload)


class PollingClient(ProbeClient):
    """Socket.IO over long polling."""

    def __init__(self, name: str, address: Address, hear: Hear, *, balance: str = "") -> None:
        super().__init__(name, hear)
        self._address = address
        self._balance = balance

    async def run(self) -> None:
        """Be connected until cancelled or refused (ProbeClient)."""
        while not self.refusal:
            session = PollingSession(self._address, self._balance)
            try:
                await session.begin()
                await session.send(subscribe_packet(self.subscription()))
                while not self.refusal:
                    for packet in await session.poll():
                        self.take(read_packet(packet))
            except (OSError, EOFError):
                self.checker.cut()
            finally:
                session.close()
            await asyncio.sleep(RETURN_S)


def subscribe_packet(terms: dict[str, Any], streams: Sequence[str] = STREAMS) -> bytes:
    """`subscribe` with an acknowledgement numbered 0 (Socket.IO 5)."""
    return b"420" + _encode(["subscribe", {"streams": streams, **terms}])


def read_packet(packet: bytes) -> Iterable[Event]:
    """What an event, or the acknowledgement numbered 0, says; other packets say nothing."""
    if packet.startswith(b"42["):
        name, body = _decode(packet[2:])
        return read_event(name, body)
    if packet.startswith(b"430["):
        return read_answer(_decode(packet[3:])[0])
    return ()
