"""Well-behaved clients of every door, for tests: each keeps the ids of the trades that it hears of."""

import asyncio
import itertools
import json
import re
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Self

import httpx
import msgspec
from websockets.asyncio.client import connect

from server.doors.msgpack import encode_packet
from server.doors.packets import CONNECT, EVENT

STREAM: Final = "btcusdt@trade"
ENGINE: Final = "/socket.io/?EIO=4&transport="
_TRADE_ID: Final = re.compile(rb'"e":"trade",.*?"t":(\d+)')
CONNECT_BINARY: Final = encode_packet(CONNECT, None)
_REQUEST: Final = '42["subscribe",{"streams":["btcusdt@trade"]}]'
_TIMEOUT_S: Final = 30.0

SOCKETS: Final[dict[str, tuple[str, Sequence[str | bytes]]]] = {
    "Socket.IO": (ENGINE + "websocket", ["40", _REQUEST]),
    "MessagePack": (
        ENGINE + "websocket",
        [CONNECT_BINARY, encode_packet(EVENT, ["subscribe", {"streams": [STREAM]}])],
    ),
    "JSON": ("/", ['{"type":"subscribe","streamType":"trade","symbols":["btcusdt"]}']),
    "Binance raw": (f"/ws/{STREAM}", []),
    "Binance combined": (f"/stream?streams={STREAM}", []),
}


class Neighbours:
    """One client a door, and one that polls; each is a task that ends only when it was disturbed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heard: dict[str, list[int]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        for door, (path, requests) in SOCKETS.items():
            ids = self.heard[door] = []
            self._start(door, self._listen(path, requests, ids))
        ids = self.heard["polling"] = []
        self._start("polling", self._poll(ids))
        await self.hear_more()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def hear_more(self) -> None:
        """Return when all have heard of another trade; fails with what disturbed one of them."""
        before = {door: len(ids) for door, ids in self.heard.items()}
        async with asyncio.timeout(_TIMEOUT_S):
            while any(len(ids) == before[door] for door, ids in self.heard.items()):
                await asyncio.sleep(0.05)
                for door, task in self._tasks.items():
                    assert not task.done(), f"{door} was disturbed: {task.exception()!r}"

    def check(self) -> None:
        """Every one heard of every trade since its first one, once and in order."""
        for door, ids in self.heard.items():
            assert ids == list(range(ids[0], ids[0] + len(ids))), door

    def _start(self, door: str, listening: Coroutine[Any, Any, None]) -> None:
        self._tasks[door] = asyncio.get_running_loop().create_task(listening)

    async def _listen(self, path: str, requests: Sequence[str | bytes], ids: list[int]) -> None:
        async with connect(f"ws://127.0.0.1:{self._port}{path}", max_queue=None, ping_timeout=None) as socket:
            for request in requests:
                await socket.send(request)
            while True:
                message = await asyncio.wait_for(socket.recv(decode=False), _TIMEOUT_S)
                if message == b"2":
                    await socket.send("3")
                ids += _trades(message)

    async def _poll(self, ids: list[int]) -> None:
        url = f"http://127.0.0.1:{self._port}{ENGINE}polling"
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as http:
            url += f"&sid={json.loads((await http.get(url)).content[1:])['sid']}"
            for request in ("40", _REQUEST):
                assert (await http.post(url, content=request)).content == b"ok"
            while True:
                answer = await http.get(url)
                assert answer.status_code == 200, answer.content
                packets = answer.content.split(b"\x1e")
                if b"2" in packets:
                    await http.post(url, content="3")
                ids += itertools.chain.from_iterable(map(_trades, packets))


def _trades(message: bytes) -> list[int]:
    """The id of the trade in a message, if it is of one."""
    if found := _TRADE_ID.search(message):
        return [int(found[1])]
    if message.startswith(b"\x83"):  # a packet as MessagePack: a map of three
        name, *bodies = msgspec.msgpack.decode(message)["data"] or [None]
        return [body["data"]["t"] for body in bodies if name == "trade"]
    return []
