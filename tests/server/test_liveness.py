import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.memory import MemoryBroker, MemoryBus
from market.announcements import FEED_TOPIC, FeedStatus, Source, encode
from server import liveness as liveness_module
from server.liveness import Liveness
from tests.server.conftest import until


class Told:
    """A replica's liveness, what it tells clients, and the bus on which ingestors speak."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.states: list[str] = []
        self.liveness = Liveness(bus, "r1", Source.SIMULATED, self._hear)

    def _hear(self, exchange: str, _source: Source) -> None:
        if self.states[-1:] != [exchange]:
            self.states.append(exchange)

    async def say(self, ingestor: str, *, connected: bool) -> None:
        await self.bus.announce(FEED_TOPIC, encode(FeedStatus(ingestor, Source.SIMULATED, connected, 1, 1)))


@pytest.fixture
async def told(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    monkeypatch.setattr(liveness_module, "CANARY_EVERY_S", 0.02)
    monkeypatch.setattr(liveness_module, "LOST_AFTER_S", 0.2)
    bus = MemoryBus(MemoryBroker())
    made = Told(bus)
    await bus.start()
    made.liveness.start()
    yield made
    await made.liveness.close()
    await bus.close()


async def test_before_any_ingestor_has_its_feed_the_exchange_is_disconnected(told: Told) -> None:
    await until(lambda: told.states, "told")
    assert told.states == ["disconnected"]


async def test_a_feed_that_is_back_at_once_was_never_gone(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    await told.say("one", connected=True)
    await until(lambda: told.states[-1:] == ["connected"], "connected")
    monkeypatch.setattr(liveness_module, "LOST_AFTER_S", 2.0)  # whatever the machine does meanwhile
    before = list(told.states)
    for _ in range(3):
        await told.say("one", connected=False)
        await asyncio.sleep(0.05)
        await told.say("one", connected=True)
    await asyncio.sleep(0.1)
    assert told.states == before


async def test_a_feed_that_stays_away_is_told_once_and_so_is_its_return(told: Told) -> None:
    await told.say("one", connected=True)
    await until(lambda: told.states[-1:] == ["connected"], "connected")
    await told.say("one", connected=False)
    await until(lambda: told.states[-1] == "disconnected", "gone")
    await told.say("one", connected=True)
    await until(lambda: told.states[-1] == "connected", "back")
    assert told.states[-3:] == ["connected", "disconnected", "connected"]


async def test_while_another_ingestor_has_its_feed_nothing_is_lost(told: Told) -> None:
    for ingestor in ("one", "two"):
        await told.say(ingestor, connected=True)
    await until(lambda: told.states[-1:] == ["connected"], "connected")
    await told.say("one", connected=False)
    await asyncio.sleep(0.4)
    assert told.states[-1] == "connected"
