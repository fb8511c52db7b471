"""Clients that speak Engine.IO and Socket.IO by hand, over either transport, and see every packet."""

import asyncio
import base64
import json
from types import TracebackType
from typing import Self

import aiohttp

SEPARATOR = "\x1e"
TRANSPORTS = ("websocket", "polling")
WAIT_S = 5.0


def polling(url: str, sid: str = "") -> str:
    """The address of polls; of a session's, with its id."""
    return f"{url}?EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")


def websocket(url: str, sid: str = "") -> str:
    """The address of a WebSocket."""
    return polling(url, sid).replace("polling", "websocket")


async def get(http: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    """Status and body of a poll."""
    async with http.get(url) as response:
        return response.status, await response.text()


async def post(http: aiohttp.ClientSession, url: str, body: str) -> tuple[int, str]:
    """Status and body of what a polling client sends; 0 where the server cut the connection, as Node does."""
    try:
        async with http.post(url, data=body) as response:
            return response.status, await response.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


async def opened(http: aiohttp.ClientSession, url: str) -> str:
    """Open a polling session; its id."""
    status, body = await get(http, polling(url))
    assert (status, body[0]) == (200, "0")
    return str(json.loads(body[1:])["sid"])


async def is_over(http: aiohttp.ClientSession, url: str, sid: str) -> bool:
    """Whether a polling session ends, after at most a last answer."""
    for _ in range(2):
        async with asyncio.timeout(WAIT_S):
            status, body = await get(http, polling(url, sid))
        if status == 400:
            return True
        assert set(body.split(SEPARATOR)) <= {"1", "2", "6"}, body
    return False


async def until_closed(ws: aiohttp.ClientWebSocketResponse) -> list[str]:
    """Everything a WebSocket still says, pings left out; fails if it stays open."""
    texts = []
    while not ws.closed:
        message = await ws.receive(timeout=WAIT_S)
        if message.type is aiohttp.WSMsgType.TEXT and message.data != "2":
            texts.append(message.data)
    return texts


async def next_text(ws: aiohttp.ClientWebSocketResponse) -> str:
    """The next text that is no ping; those are answered."""
    while True:
        message = await ws.receive(timeout=WAIT_S)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        if message.data != "2":
            return str(message.data)
        await ws.send_str("3")


class Peer:
    """A Socket.IO client: sends packets, and takes those it gets one by one; answers pings."""

    def __init__(self, http: aiohttp.ClientSession, url: str, transport: str) -> None:
        self._http = http
        self._url = url
        self._transport = transport
        self._waiting: list[str] = []
        self._sid = ""
        self._ws: aiohttp.ClientWebSocketResponse | None = None

    async def __aenter__(self) -> Self:
        if self._transport == "polling":
            self._sid = await opened(self._http, self._url)
        else:
            self._ws = await self._http.ws_connect(websocket(self._url))
            assert (await self._ws.receive(timeout=WAIT_S)).data.startswith("0{")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ws is not None:
            await self._ws.close()

    async def send(self, packet: str, *attachments: bytes) -> None:
        """Send one Socket.IO packet."""
        if self._ws is not None:
            await self._ws.send_str("4" + packet)
            for attachment in attachments:
                await self._ws.send_bytes(attachment)
        else:
            encoded = [f"b{base64.b64encode(attachment).decode()}" for attachment in attachments]
            await post(self._http, polling(self._url, self._sid), SEPARATOR.join(["4" + packet, *encoded]))

    async def receive(self) -> str | bytes:
        """The next Socket.IO packet, or the next attachment."""
        if self._ws is not None:
            while True:
                message = await self._ws.receive(timeout=WAIT_S)
                if message.type is aiohttp.WSMsgType.BINARY:
                    return bytes(message.data)
                assert message.type is aiohttp.WSMsgType.TEXT, message
                if message.data != "2":
                    return str(message.data[1:])
                await self._ws.send_str("3")
        while not self._waiting:
            await self._poll()
        packet = self._waiting.pop(0)
        return base64.b64decode(packet[1:]) if packet[0] == "b" else packet[1:]

    async def _poll(self) -> None:
        status, body = await get(self._http, polling(self._url, self._sid))
        assert status == 200, body
        packets = body.split(SEPARATOR)
        if "2" in packets:
            await post(self._http, polling(self._url, self._sid), "3")
        self._waiting += [packet for packet in packets if packet not in {"2", "6"}]

    async def receive_or_end(self) -> str | bytes | None:
        """The next packet or attachment; None where the session is over instead."""
        try:
            return await self.receive()
        except AssertionError:
            return None

    async def upgrade(self) -> None:
        """Move from polling to a WebSocket."""
        self._ws = await self._http.ws_connect(websocket(self._url, self._sid))
        await self._ws.send_str("2probe")
        assert (await self._ws.receive(timeout=WAIT_S)).data == "3probe"
        await self._ws.send_str("5")

    async def connect(self, namespace: str = "", greeting: str = '["auth",{}]') -> None:
        """Join a namespace whose server answers with an event."""
        await self.send(f"0{namespace}")
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(f'0{namespace}{{"sid":"'), answer
        assert await self.receive() == f"2{namespace}{greeting}"

    async def is_closed(self) -> bool:
        """Whether the session ends without another word."""
        if self._ws is None:
            return await is_over(self._http, self._url, self._sid)
        return await until_closed(self._ws) in ([], ["1"])


async def waiting(http: aiohttp.ClientSession, url: str, sid: str) -> asyncio.Task[tuple[int, str]]:
    """A poll that waits at the server: a request of the same session that was sent after it has been answered."""
    task = asyncio.create_task(get(http, polling(url, sid)))
    await asyncio.sleep(0)  # it takes the connection that is open already
    assert await post(http, polling(url, sid), "6") == (200, "ok")
    return task
