"""A running exchange per test, on a free port of the loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest

from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from tests.exchange.client import Client

Start: TypeAlias = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an exchange with these settings (by field name) and connect a client's tools to it."""
    async with AsyncExitStack() as stack:

        async def begin(**settings: Any) -> Client:
            values = {"port": 0, "sim_symbols": 3, "sim_trades_per_second": 60.0, **settings}
            exchange = Exchange(ExchangeServerSettings.model_validate(values))
            port = await exchange.start()
            stack.push_async_callback(exchange.close)
            return await stack.enter_async_context(Client(exchange, port))

        yield begin


@pytest.fixture
async def client(start: Start) -> Client:
    """A small simulated exchange."""
    return await start()
