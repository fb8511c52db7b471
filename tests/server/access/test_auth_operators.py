"""Who reads /metrics: peers in OPERATORS, judged by where a request really came from."""

import aiohttp
import pytest

from tests.server.conftest import Served

CLAIMS = [
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Forwarded-For": ""},
]
believing = pytest.mark.parametrize("served", [{"trusted_proxies": ("127.0.0.1",)}], indirect=True)
elsewhere = pytest.mark.parametrize("served", [{"operators": ("10.1.0.0/16",)}], indirect=True)
proxied = pytest.mark.parametrize(
    "served", [{"operators": ("10.1.0.0/16",), "trusted_proxies": ("127.0.0.1",)}], indirect=True
)


async def status(served: Served, headers: dict[str, str], path: str = "/metrics") -> int:
    async with aiohttp.ClientSession() as http, http.get(served.url + path, headers=headers) as answer:
        if answer.status != 200:
            assert (await answer.json())["code"] == "forbidden"
        return answer.status


async def test_this_machine_reads_the_metrics(served: Served) -> None:
    assert await status(served, {}) == 200


@pytest.mark.parametrize("claim", CLAIMS)
async def test_what_came_through_a_proxy_is_nobodys(served: Served, claim: dict[str, str]) -> None:
    assert await status(served, claim) == 403


@elsewhere
@pytest.mark.parametrize("claim", [{}, {"X-Real-IP": "10.1.2.3"}, {"X-Forwarded-For": "10.1.2.3"}])
async def test_a_peer_elsewhere_is_no_operator_whatever_it_says(served: Served, claim: dict[str, str]) -> None:
    assert await status(served, claim) == 403


@proxied
async def test_a_trusted_proxy_is_believed_where_it_names_the_client(served: Served) -> None:
    assert await status(served, {"X-Real-IP": "10.1.2.3", "X-Forwarded-For": "6.6.6.6"}) == 200
    assert await status(served, {"X-Real-IP": "6.6.6.6", "X-Forwarded-For": "10.1.2.3"}) == 403
    assert await status(served, {"X-Real-IP": "10.1.2.3, 6.6.6.6"}) == 403


@believing
async def test_a_trusted_proxy_that_names_nobody_is_not_the_client(served: Served) -> None:
    assert await status(served, {"X-Forwarded-For": "127.0.0.1"}) == 403
    assert await status(served, {"X-Real-IP": "not an address"}) == 403
