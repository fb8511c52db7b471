import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.client_reqrep import RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from structlog.testing import capture_logs
from yarl import URL

from binance import attempts as module
from binance.attempts import Attempts
from binance.counters import Counters, Episode, Trouble
from binance.refusals import Refusal, refusal_of, trouble_of
from bus.base import ALONE_PART
from bus.memory import MemoryBroker, MemoryBus
from bus.redis import RedisBus
from market.backoff import FIRST_S, MAX_S, Backoff
from tests.support.processes import free_port


@pytest.fixture
async def ends() -> AsyncIterator[list[MemoryBus]]:
    """Three processes' ends of one bus."""
    broker = MemoryBroker()
    made = [MemoryBus(broker) for _ in range(3)]
    for end in made:
        await end.start()
    yield made
    for end in made:
        await end.close()


async def _made(attempts: Attempts, most: int) -> int:
    """How many attempts may be made at once, `most` at most."""
    for made in range(most):
        try:
            async with asyncio.timeout(0.2):
                await attempts.take()
        except TimeoutError:
            return made
    return most


async def test_processes_of_one_address_share_its_attempts(
    ends: list[MemoryBus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 10)
    counters = Counters()
    with capture_logs() as lines:
        made = [await _made(Attempts("host", end, counters), 7) for end in ends]
    assert made == [7, 3, 0]
    assert counters.troubles[Trouble.ATTEMPTS_SPENT] == 2
    assert [line["event"] for line in lines] == ["connection attempts are used up"] * 2
    assert await _made(Attempts("other", ends[0], counters), 7) == 7


async def test_without_a_ledger_a_process_keeps_to_its_own_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 5)
    counters = Counters()
    assert await _made(Attempts("host", None, counters), 9) == 5
    assert counters.troubles[Trouble.ATTEMPTS_SPENT] == 1


async def test_while_the_bus_is_away_each_process_has_its_safe_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ATTEMPTS", 5 * ALONE_PART)
    bus = RedisBus(f"redis://127.0.0.1:{free_port()}/0")
    await bus.start()
    try:
        assert await _made(Attempts("host", bus, Counters()), 5 * ALONE_PART) == 5
    finally:
        await bus.close()


async def test_a_pause_is_sat_out_by_all_and_a_shorter_one_does_not_end_it(ends: list[MemoryBus]) -> None:
    first, second = (Attempts("host", end, Counters()) for end in ends[:2])
    loop = asyncio.get_running_loop()
    before = loop.time()
    await first.pause(0.6, 429)
    await first.pause(0.1, 403)
    assert await _made(second, 1) == 0
    await first.take()
    assert loop.time() - before > 0.5
    assert await _made(Attempts("other", ends[2], Counters()), 1) == 1


def _refused(status: int, **headers: str) -> aiohttp.WSServerHandshakeError:
    url = URL("http://127.0.0.1/")
    info = RequestInfo(url, "GET", CIMultiDictProxy(CIMultiDict()), url)
    return aiohttp.WSServerHandshakeError(info, (), status=status, headers=CIMultiDict(headers))


@pytest.mark.parametrize(
    ("status", "retry_after", "pause_s"),
    [
        (429, "7", 7.0),
        (418, "180", 180.0),
        (403, "", 60.0),
        (418, "", 120.0),
        (429, "soon", 60.0),
        (429, "Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        (429, "Thu, 01 Jan 1970 00:00:01 GMT", 60.0),
    ],
)
def test_a_refusal_orders_the_pause_it_names_or_one_that_fits(status: int, retry_after: str, pause_s: float) -> None:
    error = _refused(status, **{"Retry-After": retry_after})
    assert refusal_of(error, now=10.0) == Refusal(status, pause_s)
    assert trouble_of(error) is Trouble(f"http_{status}")


@pytest.mark.parametrize("error", [_refused(503), _refused(200), OSError(), TimeoutError()])
def test_other_failures_order_no_pause(error: Exception) -> None:
    assert refusal_of(error, now=10.0) is None


def test_waits_are_drawn_below_a_ceiling_that_doubles_and_stay_within_their_bounds() -> None:
    backoff = Backoff(random.Random(7))  # noqa: S311 # the same waits in every run
    waits = [backoff.next_s() for _ in range(200)]
    ceilings = [min(MAX_S, FIRST_S * 2.0**number) for number in range(1, 201)]
    assert all(FIRST_S <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
    assert max(waits) > 0.9 * MAX_S
    assert min(waits[20:]) < 0.1 * MAX_S
    backoff.reset()
    assert backoff.next_s() <= 2 * FIRST_S


def test_of_an_episode_of_troubles_each_kind_is_told_once() -> None:
    episode = Episode()
    told = [episode.note(trouble) for trouble in (Trouble.DNS, Trouble.DNS, Trouble.TLS, Trouble.DNS)]
    assert told == [True, False, True, False]
    assert episode.end() == 4
    assert episode.end() == 0
    assert episode.note(Trouble.DNS)
