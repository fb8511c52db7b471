"""The lean WebSocket against a real server, and against what is none."""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from loadtest.probe.lean import Address, LeanWebSocket
from tests.support.processes import free_port

LARGE = 70_000
MEDIUM = 300


class Listener(LeanWebSocket):
    """Keeps what happens to it."""

    def __init__(self, port: int, path: str = "/") -> None:
        super().__init__(Address("127.0.0.1", port), path)
        self.heard: list[bytes] = []
        self.ends: list[bool] = []

    def opened(self) -> None:
        self.send(b"x" * MEDIUM)

    def text_received(self, payload: bytes) -> None:
        self.heard.append(payload)

    def ended(self, *, was_open: bool) -> None:
        self.ends.append(was_open)


async def answer(connection: ServerConnection) -> None:
    """Echo one message, send a larger one, be sure that a ping is answered, and close."""
    await connection.send(await connection.recv())
    await connection.send("y" * LARGE)
    await (await connection.ping())


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no") if request.path == "/closed" else None


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serve(answer, "127.0.0.1", 0, process_request=refuse, compression=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def test_messages_of_every_size_go_both_ways_and_pings_are_answered(port: int) -> None:
    client = Listener(port)
    async with asyncio.timeout(10):
        assert await client.connect()
    assert client.heard == [b"x" * MEDIUM, b"y" * LARGE]
    assert client.ends == [True]


async def test_it_connects_again_after_an_end(port: int) -> None:
    client = Listener(port)
    async with asyncio.timeout(10):
        assert [await client.connect() for _ in range(2)] == [True, True]
    assert len(client.heard) == 4


async def test_a_refusal_and_a_port_where_nobody_listens_are_told_as_connections_that_did_not_stand(port: int) -> None:
    refused, absent = Listener(port, "/closed"), Listener(free_port())
    async with asyncio.timeout(10):
        assert not await refused.connect()
        assert not await absent.connect()
    assert (refused.ends, absent.ends) == ([False], [False])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:8080", Address("localhost", 8080)),
        ("http://feed.example/", Address("feed.example", 80)),
        ("https://feed.example", Address("feed.example", 443, is_secure=True)),
    ],
)
def test_an_address_is_read_from_a_url(url: str, address: Address) -> None:
    assert Address.of(url) == address


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no URL"):
        Address.of(url)
