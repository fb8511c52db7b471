"""Whatever candles an exchange has and whatever is asked, the answer is Binance's: compared with a plain reference."""

from collections.abc import AsyncIterator
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from binance.rest import RestClient
from bus.memory import MemoryBroker, MemoryBus
from market.errors import Code, MarketError
from market.intervals import open_time
from market.klines import BLOCK_ROWS, LATEST_MS
from market.streams import BINANCE_MARKETS, Market
from server.history import blocks as history_blocks
from server.history.klines import MAX_ROWS, History, KlineQuery
from tests.server.sparse_exchange import SparseExchange, answer, select, sparse_exchange

MINUTE_MS = 60_000
LISTED_MS = open_time("1m", 1_600_000_000_000)
SPAN_MS = 5_000 * MINUTE_MS

_numbers = count()


@pytest.fixture
async def exchange() -> AsyncIterator[SparseExchange]:
    async with sparse_exchange() as running:
        yield running


class Asked(NamedTuple):
    """One question, and how many of the candles there are by then."""

    part: float
    limit: int
    start_ms: int | None
    end_ms: int | None


def _opens(runs: list[tuple[int, int]]) -> list[int]:
    opens_ms: list[int] = []
    at_ms = LISTED_MS
    for halt, length in runs:
        at_ms += halt * MINUTE_MS
        opens_ms += range(at_ms, at_ms + length * MINUTE_MS, MINUTE_MS)
        at_ms += length * MINUTE_MS
    return opens_ms


# Stretches of trading of so many minutes, with halts of so many before each.
candles = st.lists(st.tuples(st.integers(1, 1_200), st.integers(1, 1_100)), min_size=0, max_size=6).map(_opens)
times = st.one_of(
    st.none(),
    st.integers(LISTED_MS - SPAN_MS, LISTED_MS + 2 * SPAN_MS),
    st.integers(0, BLOCK_ROWS * 20).map(lambda number: LISTED_MS + number * MINUTE_MS),
    st.sampled_from([0, 1, LATEST_MS]),
)
limits = st.one_of(st.integers(1, 2_500), st.sampled_from([1, 498, 499, 500, 501, 1_000]))
questions = st.builds(Asked, st.sampled_from([0.3, 0.7, 1.0]), limits, times, times)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(opens_ms=candles, asked=st.lists(questions, min_size=1, max_size=5), market=st.sampled_from(BINANCE_MARKETS))
async def test_any_question_is_answered_as_binance_answers_it(
    exchange: SparseExchange, opens_ms: list[int], asked: list[Asked], market: Market
) -> None:
    """Two replicas share a bus; time goes on between the questions, and closed blocks are cached by then."""
    broker = MemoryBroker()
    buses = [MemoryBus(broker), MemoryBus(broker)]
    symbol = f"s{next(_numbers)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history_blocks, "OPEN_S", 0.0)
        async with RestClient(exchange.endpoints) as rest:
            for bus in buses:
                await bus.start()
            replicas = [History(rest, bus) for bus in buses]
            for number, question in enumerate(sorted(asked, key=lambda one: one.part)):
                exchange.opens_ms = opens_ms[: int(len(opens_ms) * question.part)]
                query = KlineQuery(market, symbol, "1m", *question[1:])
                assert await replicas[number % 2].klines(query) == answer(exchange.opens_ms, *question[1:])
            for bus in buses:
                await bus.close()
    assert max(exchange.limits, default=0) <= 499, "more would cost more weight on futures"


async def test_candles_that_open_one_by_one_are_never_given_as_they_were_before(
    exchange: SparseExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From before the end of one block to after the beginning of the next, on two replicas in turn."""
    monkeypatch.setattr(history_blocks, "OPEN_S", 0.0)
    block_ms = BLOCK_ROWS * MINUTE_MS
    first_ms = LISTED_MS // block_ms * block_ms
    opens_ms = range(first_ms, first_ms + block_ms + 6 * MINUTE_MS, MINUTE_MS)
    broker = MemoryBroker()
    buses = [MemoryBus(broker), MemoryBus(broker)]
    async with RestClient(exchange.endpoints) as rest:
        for bus in buses:
            await bus.start()
        replicas = [History(rest, bus) for bus in buses]
        for opened in range(BLOCK_ROWS - 3, len(opens_ms) + 1):
            exchange.opens_ms = opens_ms[:opened]
            for question in ((600, None, None), (600, first_ms, None), (600, None, opens_ms[-1]), (3, None, first_ms)):
                query = KlineQuery(Market.SPOT, "BTCUSDT", "1m", *question)
                for replica in replicas:
                    assert await replica.klines(query) == answer(exchange.opens_ms, *question)
        for bus in buses:
            await bus.close()


async def test_ten_thousand_rows_are_paged_and_more_is_refused(exchange: SparseExchange) -> None:
    exchange.opens_ms = range(LISTED_MS, LISTED_MS + 20_000 * MINUTE_MS, MINUTE_MS)
    bus = MemoryBus()
    await bus.start()
    async with RestClient(exchange.endpoints) as rest:
        history = History(rest, bus)
        for start_ms, end_ms in ((None, None), (LISTED_MS + 77, None), (None, LISTED_MS + 15_000 * MINUTE_MS)):
            query = KlineQuery(Market.SPOT, "BTCUSDT", "1m", MAX_ROWS, start_ms, end_ms)
            assert len(select(exchange.opens_ms, MAX_ROWS, start_ms, end_ms)) == MAX_ROWS
            assert await history.klines(query) == answer(exchange.opens_ms, MAX_ROWS, start_ms, end_ms)
        with pytest.raises(MarketError, match="between 1 and 10000") as refusal:
            await history.klines(KlineQuery(Market.SPOT, "BTCUSDT", "1m", MAX_ROWS + 1))
    assert refusal.value.code is Code.BAD_REQUEST
    await bus.close()


async def test_candles_too_far_apart_do_not_cost_the_minute(exchange: SparseExchange) -> None:
    exchange.opens_ms = range(LISTED_MS, LISTED_MS + 10_000 * BLOCK_ROWS * MINUTE_MS, BLOCK_ROWS * MINUTE_MS)
    bus = MemoryBus()
    await bus.start()
    async with RestClient(exchange.endpoints) as rest:
        for question in ((LISTED_MS, None), (None, LISTED_MS + 5_000 * BLOCK_ROWS * MINUTE_MS)):
            with pytest.raises(MarketError, match="too far apart") as refusal:
                await History(rest, bus).klines(KlineQuery(Market.SPOT, "BTCUSDT", "1m", 1_000, *question))
            assert refusal.value.code is Code.BAD_REQUEST
    assert len(exchange.limits) <= 140
    await bus.close()


@pytest.mark.parametrize(
    "query",
    [
        KlineQuery(Market.SPOT, "btcusdt", "7m"),
        KlineQuery(Market.FUTURES, "btcusdt", "1s"),
        KlineQuery(Market.SPOT, "btcusdt", "1m", 0),
        KlineQuery(Market.SPOT, "btcusdt", "1m", start_ms=-1),
        KlineQuery(Market.SPOT, "btcusdt", "1m", end_ms=LATEST_MS + 1),
    ],
)
def test_what_has_no_answer_is_refused(query: KlineQuery) -> None:
    with pytest.raises(MarketError) as refusal:
        query.check()
    assert refusal.value.code is Code.BAD_REQUEST
