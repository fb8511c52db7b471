"""Many Socket.IO clients of ALL in one process: arguments are PORT CLIENTS STREAMS_EACH STREAM...

Each checks the order of every stream by itself. The process prints one JSON line (`Report`) once every
client has seen STREAMS_EACH streams, each at least twice, and stays connected until its stdin ends.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Final, cast

import msgspec
import uvloop

_UPGRADE: Final = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_STREAM: Final = b'"stream":"'
_CURSOR: Final = b'","cursor":'


class Report(msgspec.Struct):
    """What all clients saw together."""

    messages: int
    out_of_order: list[tuple[str, int, int]]
    """Stream, cursor, and the cursor before it, where it did not grow. Equal cursors are none, unless a message came
    twice: at the turn of a minute a closed candle and its successor are of one event time."""
    notices: int
    """Notices that a client was too slow and some values were replaced."""
    odd_streams: list[str]
    """Streams that did not come twice to everybody."""


class Client(asyncio.Protocol):
    """One client; `last` has the latest message of each stream, `counts` how many came."""

    def __init__(self, streams: list[str], expected: int, on_complete: Callable[[], None]) -> None:
        self._streams = streams
        self._expected = expected
        self._on_complete = on_complete
        self._rest = b""
        self._is_upgraded = False
        self._twice = 0
        self.last: dict[bytes, tuple[int, bytes]] = {}
        self.counts: dict[bytes, int] = {}
        self.out_of_order: list[tuple[str, int, int]] = []
        self.notices = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.write(_UPGRADE)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        if not self._is_upgraded:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._rest = data
                return
            self._is_upgraded = True
        size = len(data)
        while size - at > 1 and (data[at + 1] < 126 or size - at >= 10):
            length, start = data[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if start + length > size:
                break
            self._take(data[start : start + length])
            at = start + length
        self._rest = data[at:]

    def _take(self, text: bytes) -> None:
        if text.startswith((b'42["kline"', b'42["ticker"')):
            self._follow(text)
        elif text.startswith(b'42["gap"'):
            self.notices += 1
        elif text.startswith(b"0{"):
            self._send(b"40")
        elif text.startswith(b"40{"):
            self._send(b'420["subscribe",' + msgspec.json.encode({"streams": self._streams}) + b"]")
        elif text == b"2":
            self._send(b"3")

    def _follow(self, text: bytes) -> None:
        start = text.index(_STREAM) + len(_STREAM)
        end = text.index(b'"', start)
        after = end + len(_CURSOR)
        stream, cursor = text[start:end], int(text[after : text.index(b",", after)])
        before, same = self.last.get(stream, (0, b""))
        if cursor < before or text == same:
            self.out_of_order.append((stream.decode(), cursor, before))
        self.last[stream] = cursor, text
        count = self.counts[stream] = self.counts.get(stream, 0) + 1
        if count == 2:
            self._twice += 1
            if self._twice == self._expected:
                self._on_complete()

    def _send(self, text: bytes) -> None:
        size = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0x80 | 126, *len(text).to_bytes(2, "big")))
        self._transport.write(b"\x81" + size + bytes(4) + text)  # masked with zeros

    def close(self) -> None:
        self._transport.close()


async def main(port: int, count: int, expected: int, streams: list[str]) -> None:
    loop = asyncio.get_running_loop()
    remaining = count
    complete = asyncio.Event()

    def on_complete() -> None:
        nonlocal remaining
        remaining -= 1
        if not remaining:
            complete.set()

    clients = [
        (await loop.create_connection(lambda: Client(streams, expected, on_complete), "127.0.0.1", port))[1]
        for _ in range(count)
    ]
    try:
        async with asyncio.timeout(60):
            await complete.wait()
    except TimeoutError:
        pass  # the report says what is missing
    odd = {stream.decode() for client in clients for stream, seen in client.counts.items() if seen < 2}
    report = Report(
        messages=sum(sum(client.counts.values()) for client in clients),
        out_of_order=[one for client in clients for one in client.out_of_order],
        notices=sum(client.notices for client in clients),
        odd_streams=sorted(odd) if complete.is_set() else [*sorted(odd), f"{remaining} clients are not complete"],
    )
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    for client in clients:
        client.close()


if __name__ == "__main__":
    port, count, expected, *streams = sys.argv[1:]
    uvloop.run(main(int(port), int(count), int(expected), streams))
