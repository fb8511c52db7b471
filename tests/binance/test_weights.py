import pytest

from binance import weights
from market.streams import Market

SPOT, FUTURES = Market.SPOT, Market.FUTURES


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10), (1500, 10)]
)
def test_futures_klines_cost_by_their_limit(limit: int, weight: int) -> None:
    assert weights.klines(FUTURES, limit) == weight
    assert weights.klines(SPOT, limit) == 2


@pytest.mark.parametrize(
    ("limit", "weight"), [(1, 5), (100, 5), (101, 25), (500, 25), (1000, 50), (5000, 250), (9000, 250)]
)
def test_spot_depth_costs_by_its_limit(limit: int, weight: int) -> None:
    assert weights.depth(SPOT, limit) == weight


@pytest.mark.parametrize(("limit", "weight"), [(5, 2), (50, 2), (100, 5), (500, 10), (1000, 20)])
def test_futures_depth_costs_by_its_limit(limit: int, weight: int) -> None:
    assert weights.depth(FUTURES, limit) == weight


@pytest.mark.parametrize(("symbols", "weight"), [(0, 80), (1, 2), (20, 2), (21, 40), (100, 40), (101, 80)])
def test_spot_day_tickers_cost_by_the_number_of_symbols(symbols: int, weight: int) -> None:
    assert weights.ticker_24h(SPOT, symbols) == weight


def test_the_other_endpoints_cost_what_binance_says() -> None:
    assert (weights.exchange_info(SPOT), weights.exchange_info(FUTURES)) == (20, 1)
    assert (weights.ticker_24h(FUTURES, 1), weights.ticker_24h(FUTURES, 0)) == (1, 40)
    assert (weights.ticker_price(SPOT, 1), weights.ticker_price(SPOT, 2), weights.ticker_price(SPOT, 0)) == (2, 4, 4)
    assert (weights.book_ticker(SPOT, 1), weights.book_ticker(SPOT, 0)) == (2, 4)
    assert (weights.book_ticker(FUTURES, 1), weights.book_ticker(FUTURES, 0)) == (2, 5)
    assert (weights.premium_index(1), weights.premium_index(0)) == (1, 10)
