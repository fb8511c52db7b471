"""Fixtures of the tests that talk to an exchange."""

from collections.abc import AsyncIterator

import pytest

from tests.binance.wire import WireServer


@pytest.fixture
async def wire() -> AsyncIterator[WireServer]:
    """A running exchange wire."""
    server = WireServer()
    await server.start()
    yield server
    await server.stop()
