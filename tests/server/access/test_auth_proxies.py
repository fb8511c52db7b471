"""Whose address it is: X-Real-IP from trusted proxies alone, X-Forwarded-For from nobody, at every door."""

import aiohttp
import pytest
from structlog.testing import capture_logs

from server.addresses import Networks
from tests.server.access.minting import SECRET, bearer, mint
from tests.server.conftest import serving
from tests.support.processes import Process

DOORS = ["/stats", "/api/v3/ping", "/ws/ethusdt@trade", "/"]
CLAIMS = {"X-Real-IP": "6.6.6.6", "X-Forwarded-For": "7.7.7.7", "Forwarded": "for=8.8.8.8", "Client-IP": "9.9.9.9"}
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}


async def seen_at(exchange: Process, door: str, trusted: tuple[str, ...], claims: dict[str, str]) -> str:
    """The address that a door takes a client for: it says so of one that it refuses."""
    settings = {"auth": "required", "auth_jwt_secret": SECRET, "trusted_proxies": trusted}
    async with serving(exchange, bearer(mint()), **settings) as served:
        with capture_logs() as logs:
            if door == "/socket.io/":
                await _refused_by_socketio(served.url, claims)
            else:
                headers = claims | (UPGRADE if door in ("/", "/ws/ethusdt@trade") else {})
                async with aiohttp.ClientSession(served.url) as http, http.get(door, headers=headers) as answer:
                    assert answer.status == 401
    (refused,) = [entry for entry in logs if entry["event"] == "credentials refused"]
    return str(refused["address"])


async def _refused_by_socketio(url: str, claims: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession(url) as http,
        http.ws_connect("/socket.io/?EIO=4&transport=websocket", headers=claims) as socket,
    ):
        await socket.receive_str()
        await socket.send_str("40")
        assert (await socket.receive_str()).startswith("44")


@pytest.mark.parametrize("door", [*DOORS, "/socket.io/"])
async def test_what_a_client_says_of_its_address_is_not_believed(exchange: Process, door: str) -> None:
    assert await seen_at(exchange, door, ("10.0.0.1",), CLAIMS) == "127.0.0.1"


@pytest.mark.parametrize("door", [*DOORS, "/socket.io/"])
async def test_a_trusted_proxy_is_believed_in_one_header_alone(exchange: Process, door: str) -> None:
    assert await seen_at(exchange, door, ("127.0.0.0/8",), CLAIMS) == "6.6.6.6"


async def test_a_trusted_proxy_that_says_nothing_useful_stands_for_its_clients(exchange: Process) -> None:
    for told in ("", "6.6.6.6, 7.7.7.7", "localhost"):
        claims = {"X-Real-IP": told, "X-Forwarded-For": "7.7.7.7"}
        assert await seen_at(exchange, "/stats", ("127.0.0.1",), claims) == "127.0.0.1"


def test_an_ipv4_address_at_an_ipv6_socket_is_itself() -> None:
    assert "::ffff:10.1.2.3" in Networks(["10.0.0.0/8"])
    assert "::ffff:11.1.2.3" not in Networks(["10.0.0.0/8"])
    assert "" not in Networks(["0.0.0.0/0"])
