"""Fixtures of the tests that run parts of an ingestor."""

from collections.abc import AsyncIterator

import pytest

from bus.memory import MemoryBroker, MemoryBus
from tests.binance.wire import WireServer


@pytest.fixture
async def wire() -> AsyncIterator[WireServer]:
    """A running exchange wire."""
    server = WireServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def broker() -> MemoryBroker:
    """What all ends of one test's bus share."""
    return MemoryBroker()


@pytest.fixture
async def bus(broker: MemoryBroker) -> AsyncIterator[MemoryBus]:
    """The ingestor's end of the bus, not started yet."""
    end = MemoryBus(broker)
    yield end
    await end.close()
