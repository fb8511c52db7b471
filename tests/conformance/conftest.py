"""Targets and HTTP clients of the conformance cases."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.conformance.targets import LONG, SHORT, Target, our_servers, reference_servers


@pytest.fixture(scope="session")
def reference() -> Iterator[dict[str, Target]]:
    """Node's servers; they show that a case asks for what the reference does."""
    with reference_servers() as servers:
        yield servers


# What Node's server does changes with its version in package.json alone.
_NODE = [pytest.param(f"node-{pings}", marks=pytest.mark.long) for pings in (LONG, SHORT)]


@pytest.fixture(params=["ours-long", "ours-short", *_NODE])
async def target(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    """A server under test, one after the other."""
    whose, _, pings = request.param.partition("-")
    if whose == "node":
        yield request.getfixturevalue("reference")[pings]
    else:
        async with our_servers(pings) as servers:
            yield servers


@pytest.fixture(params=[LONG, SHORT])
async def ours(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    """Our server, for what the reference has no answer to, or another one."""
    async with our_servers(request.param) as servers:
        yield servers


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client that keeps no cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session
