"""The stand-in for Bybit, in the test's own process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from exchange.candles import Trade
from exchange.server import Exchange
from exchange.settings import ExchangeServerSettings
from market.streams import Market


class StandIn:
    """A running exchange; `url` is the base URL of its Bybit."""

    def __init__(self, exchange: Exchange, port: int) -> None:
        self.exchange = exchange
        self.port = port
        self.url = f"http://127.0.0.1:{port}/bybit"

    @property
    def bybit(self) -> dict[str, int]:
        """Bybit's connections and counters."""
        return dict(self.exchange.status()["bybit"])

    def trades(self, symbol: str) -> list[Trade]:
        """What was traded lately."""
        instrument = self.exchange._venue.get(Market.SPOT, symbol)
        return list(instrument.trades) if instrument is not None else []

    async def control(self, action: str, **command: Any) -> dict[str, Any]:
        """Have it misbehave."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"http://127.0.0.1:{self.port}/control/{action}", json=command)
        answer.raise_for_status()
        return dict(answer.json())


Open = Callable[..., Awaitable[StandIn]]


@pytest.fixture
async def open_stand_in() -> AsyncIterator[Open]:
    """Start an exchange with these settings, on a port of its own or a given one."""
    running: list[Exchange] = []

    async def start(**settings: object) -> StandIn:
        values = {"port": 0, "sim_symbols": 3, "sim_trades_per_second": 40.0, **settings}
        exchange = Exchange(ExchangeServerSettings.model_validate(values))
        running.append(exchange)
        return StandIn(exchange, await exchange.start())

    yield start
    for exchange in running:
        await exchange.close()


@pytest.fixture
async def stand_in(open_stand_in: Open) -> StandIn:
    """A small simulated exchange."""
    return await open_stand_in()
