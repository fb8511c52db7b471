"""HTTP requests that nobody should send: answered, and not worth a line of the log."""

import asyncio
import logging

import aiohttp
import pytest
from yarl import URL

from server.transport.log import http_log
from tests.server.conftest import Served


async def _raw(served: Served, request: bytes) -> bytes:
    """The whole answer to bytes sent on a connection of their own."""
    url = URL(served.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(request)
    answer = await reader.read(-1)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    "request_line",
    [b"GET /\xff HTTP/1.1", b"G\0T / HTTP/1.1", b"GET / HTTP/1.1\r\nContent-Length: x", b"GET / HTTP/1.1\r\n\xff: 1"],
)
async def test_a_request_that_is_no_http_is_refused_without_a_word_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture, request_line: bytes
) -> None:
    caplog.set_level(logging.INFO)
    assert (await _raw(served, request_line + b"\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


def test_a_fault_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    http_log.error("Error handling request", exc_info=LookupError("ours"))
    assert [record.message for record in caplog.records] == ["Error handling request"]


@pytest.mark.parametrize("name", ["x" * 3000, "%00", "..%2fpackage.json", "vendor", "%2e%2e/%2e%2e/pyproject.toml"])
async def test_an_asset_that_cannot_be_there_is_not_found(served: Served, name: str) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(URL(f"{served.url}/assets/web/app.js")) as answer:
            assert answer.status == 200
        async with http.get(URL(f"{served.url}/assets/{name}", encoded=True)) as answer:
            assert answer.status == 404
