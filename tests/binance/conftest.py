"""Fixtures of the tests that talk to an exchange."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from tests.binance.consumer import Consumer, Open
from tests.binance.wire import WireServer
from tests.exchange.client import Client


@pytest.fixture
async def wire() -> AsyncIterator[WireServer]:
    """A running exchange wire."""
    server = WireServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def open_exchange() -> AsyncIterator[Open]:
    """Start a stand-in with these settings (by field name) and connect the tests' tools to it."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Client:
            values = {"port": 0, "sim_symbols": 5, "sim_trades_per_second": 50.0, **settings}
            exchange = Exchange(ExchangeServerSettings.model_validate(values))
            port = await exchange.start()
            stack.push_async_callback(exchange.close)
            return await stack.enter_async_context(Client(exchange, port))

        yield begin


@pytest.fixture
async def exchange(open_exchange: Open) -> Client:
    """A small simulated exchange, and what tests do to it."""
    return await open_exchange()


@pytest.fixture
async def consumer() -> AsyncIterator[Consumer]:
    """Keeps what connections hand over; its connections are closed in the end."""
    made = Consumer()
    yield made
    await asyncio.gather(*(connection.close() for connection in made.connections))
