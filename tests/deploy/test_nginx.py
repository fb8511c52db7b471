"""Nginx as configured, in front of two real aiohttp servers."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from deploy import nginx
from tests.support.processes import Process, free_port

PAGE = "<!doctype html>" + "tick " * 1000

Front = Callable[..., str]


class Upstream:
    """A stand-in for a replica that tells what reached it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        app = web.Application(client_max_size=4_000_000)
        app.router.add_get("/", self._page)
        app.router.add_get("/status/{code}", self._status)
        app.router.add_route("*", "/{path:.*}", self._echo)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" in request.headers:
            return await self._echo(request)
        return web.Response(text=PAGE, content_type="text/html")

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["code"]), text=self.name)

    async def _echo(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade") != "websocket":
            body = len(await request.read())
            told = {"name": self.name, "headers": dict(request.headers), "bytes": body, "padding": PAGE}
            return web.json_response(told)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.path_qs} {message.data}")
        return socket


@pytest.fixture
async def upstreams() -> AsyncIterator[dict[str, Upstream]]:
    servers = {name: Upstream(name) for name in ("app1", "app2")}
    for server in servers.values():
        await server.start()
    yield servers
    for server in servers.values():
        await server.stop()


@pytest.fixture
def front(upstreams: dict[str, Upstream], tmp_path: Path) -> Iterator[Front]:
    """Starts Nginx before the upstreams, with settings to try; answers its address."""
    with ExitStack() as running:

        def start(**settings: str) -> str:
            port = free_port()
            values = nginx.local_values(
                listen=f"127.0.0.1:{port}",
                replicas=[f"127.0.0.1:{upstream.port}" for upstream in upstreams.values()],
                state_dir=tmp_path,
                open_files=1024,
                as_root=os.geteuid() == 0,
            )
            path = tmp_path / "nginx.conf"
            path.write_text(nginx.render(nginx.TEMPLATE.read_text(), values | settings))
            command = [nginx.executable(), "-e", "stderr", "-c", str(path), "-g", "daemon off;"]
            running.enter_context(Process(command, port, tmp_path / "nginx.log"))
            return f"http://127.0.0.1:{port}"

        yield start


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def raw_client() -> AsyncIterator[aiohttp.ClientSession]:
    """Shows bodies as they came over the wire."""
    async with aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "gzip"}) as session:
        yield session


async def told(client: aiohttp.ClientSession, url: str, **headers: str) -> dict[str, str]:
    """The request headers as they reached the upstream."""
    async with client.get(url, headers=headers) as answer:
        received: dict[str, str] = (await answer.json())["headers"]
        return received


@pytest.mark.parametrize(
    "path",
    ["/", "/ws/btcusdt@trade", "/stream?streams=a/b", "/public/ws/x", "/market/stream?streams=x", "/socket.io/?EIO=4"],
)
async def test_a_websocket_passes_on_every_path_that_upgrades(
    front: Front, client: aiohttp.ClientSession, path: str
) -> None:
    async with client.ws_connect(front() + path) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == f"{path} hello"


async def test_no_other_upgrade_passes(front: Front, client: aiohttp.ClientSession) -> None:
    headers = await told(client, front() + "/x", Upgrade="h2c", Connection="Upgrade, HTTP2-Settings")
    assert "Upgrade" not in headers
    assert headers.get("Connection", "keep-alive") == "keep-alive"


async def test_what_a_client_claims_about_its_address_is_not_passed_on(
    front: Front, client: aiohttp.ClientSession
) -> None:
    address = front()
    claims = {"X-Forwarded-For": "6.6.6.6", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    headers = await told(client, address + "/health", **claims, **{"X-Forwarded-Proto": "https"})

    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert "Forwarded" not in headers


async def test_the_host_keeps_its_port_as_a_page_s_origin_has_it(front: Front, client: aiohttp.ClientSession) -> None:
    address = front()
    headers = await told(client, address + "/health")

    assert f"http://{headers['Host']}" == f"http://{headers['X-Forwarded-Host']}" == address


async def test_a_dead_replica_is_left_for_the_other_and_no_client_sees_an_error(
    front: Front, client: aiohttp.ClientSession, upstreams: dict[str, Upstream]
) -> None:
    address = front()

    async def ask(method: str) -> str:
        async with client.request(method, address + "/health") as answer:
            assert answer.status == HTTPStatus.OK
            return str((await answer.json())["name"])

    chosen = await ask("GET")
    assert {await ask("GET") for _ in range(5)} == {chosen}, "one address has one replica"
    other = next(name for name in upstreams if name != chosen)
    await upstreams[chosen].stop()

    assert {await ask(method) for method in ("GET", "POST") * 10} == {other}
    async with client.ws_connect(address + "/") as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "/ hello"


@pytest.mark.parametrize("code", [404, 500, 502, 503])
async def test_an_answer_of_a_replica_is_no_reason_to_leave_it(
    front: Front, client: aiohttp.ClientSession, code: int
) -> None:
    url = f"{front()}/status/{code}"
    seen = set()
    for _ in range(8):
        async with client.get(url) as answer:
            seen.add((answer.status, await answer.text()))

    assert len(seen) == 1, "the same replica, in its own words"
    assert seen.pop()[0] == code


@pytest.mark.parametrize("path", ["/", "/klines/btcusdt"])
async def test_the_page_and_rest_answers_are_compressed(
    front: Front, raw_client: aiohttp.ClientSession, path: str
) -> None:
    async with raw_client.get(front() + path) as answer:
        body = await answer.read()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert len(body) < len(PAGE) / 2
        assert PAGE in gzip.decompress(body).decode()


async def test_what_socket_io_sends_is_left_as_it_is(front: Front, raw_client: aiohttp.ClientSession) -> None:
    async with raw_client.get(front() + "/socket.io/?EIO=4&transport=polling") as answer:
        assert "Content-Encoding" not in answer.headers
        assert PAGE in (await answer.read()).decode()


@pytest.mark.parametrize(
    "path",
    [
        *("/metrics", "//metrics", "/%6detrics", "/./metrics", "/metrics?name=x", "/metrics/", "/x/../metrics"),
        *("/socket.io/..%2fmetrics", "/metrics%2f", "/metrics%0a", "/x//..//metrics", "/metrics/..%2fmetrics"),
        *("/cluster", "/cluster/x", "/%63luster", "/admin", "/admin/", "/admin/index.html", "/socket.io/../admin/"),
        *("/assets/web/admin/admin.html", "/assets//web/./admin/admin.js"),
    ],
)
async def test_what_is_for_operators_is_not_passed_on(front: Front, client: aiohttp.ClientSession, path: str) -> None:
    address = front()
    url = URL(address + path, encoded=True)
    async with client.get(url) as answer:
        assert answer.status == HTTPStatus.NOT_FOUND
        assert await answer.json() == {"success": False, "error": "Not found", "code": "not_found"}


async def test_a_head_request_is_answered_like_a_get_without_a_body(
    front: Front, client: aiohttp.ClientSession
) -> None:
    async with client.head(front() + "/health") as answer:
        assert answer.status == HTTPStatus.OK
        assert await answer.read() == b""


async def test_a_body_reaches_the_replica_up_to_four_megabytes(front: Front, client: aiohttp.ClientSession) -> None:
    address = front()
    async with client.post(address + "/socket.io/", data=BytesIO(bytes(3_500_000))) as answer:
        assert (await answer.json())["bytes"] == 3_500_000
    async with client.post(address + "/socket.io/", data=BytesIO(bytes(4_500_000))) as answer:
        assert answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        assert (await answer.json())["code"] == "message_too_large"


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET /{'x' * 40_000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nX: {'y' * 40_000}\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        "GET /%2ebad_request HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["long line", "long header", "no host", "trace", "version", "internal path", "two lengths"],
)
async def test_what_nginx_itself_cannot_read_is_refused_in_json(front: Front, request_text: str) -> None:
    url = URL(front())
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request_text.encode())
    answer = await reader.readuntil(b"}")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"bad_request"' in answer


async def test_a_page_of_another_origin_can_read_nginx_s_refusals(
    front: Front, client: aiohttp.ClientSession, upstreams: dict[str, Upstream]
) -> None:
    address = front()
    for upstream in upstreams.values():
        await upstream.stop()
    async with client.get(address + "/health", headers={"Origin": "https://friend.example"}) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == "https://friend.example"
        assert (await answer.json())["code"] == "unavailable"
    async with client.get(address + "/health") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_an_address_that_asks_too_often_is_told_when_to_come_back(
    front: Front, client: aiohttp.ClientSession
) -> None:
    url = front(NGINX_REQUESTS_PER_SECOND="1", NGINX_REQUEST_BURST="2") + "/health"
    answers = []
    for _ in range(6):
        async with client.get(url) as answer:
            answers.append((answer.status, answer.headers.get("Retry-After"), await answer.json()))

    assert [status for status, _, _ in answers[:3]] == [HTTPStatus.OK] * 3
    text = "Too many requests from this address"
    refusal = {"success": False, "error": text, "code": "rate_limited", "retryAfter": 1}
    assert answers[-1] == (HTTPStatus.TOO_MANY_REQUESTS, "1", refusal)


async def test_an_address_holds_so_many_connections_and_no_more(front: Front, client: aiohttp.ClientSession) -> None:
    address = front(NGINX_CONNECTIONS_PER_ADDRESS="2")
    async with (
        client.ws_connect(address + "/"),
        client.ws_connect(address + "/socket.io/"),
        client.get(address + "/health") as answer,
    ):
        assert answer.status == HTTPStatus.TOO_MANY_REQUESTS


async def test_when_no_replica_answers_the_client_is_told_so_in_json(
    front: Front, client: aiohttp.ClientSession, upstreams: dict[str, Upstream]
) -> None:
    address = front()
    for upstream in upstreams.values():
        await upstream.stop()
    async with client.get(address + "/health") as answer:
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert answer.headers["Retry-After"] == "1"
        refusal = {"success": False, "error": "No replica answers", "code": "unavailable", "retryAfter": 1}
        assert await answer.json() == refusal
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.ws_connect(address + "/")
    assert refused.value.status == HTTPStatus.SERVICE_UNAVAILABLE


async def test_nginx_does_not_tell_its_version(front: Front, client: aiohttp.ClientSession) -> None:
    async with client.get(front() + "/metrics") as answer:
        assert answer.headers["Server"] == "nginx"
