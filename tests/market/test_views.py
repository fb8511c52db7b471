from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import views
from market.payloads import BookTicker, Ticker
from tests.market.samples import sample

TICKER = msgspec.json.decode(sample("spot:btcusdt@ticker"), type=Ticker)


def test_price_update_is_document_002s() -> None:
    assert msgspec.json.decode(views.price_update(TICKER)) == {
        "symbol": "BTCUSDT",
        "price": 67012.34,
        "volume": 12345.678,
        "high": 67500.0,
        "low": 66000.0,
        "change": 13.4,
        "changePercent": 0.02,
        "timestamp": "2026-09-21T14:13:21.000",
    }


@pytest.mark.parametrize(("percent", "shown"), [("0.020", "0.02%"), ("-1.234", "-1.23%"), ("-0.001", "0.00%")])
def test_crypto_update_is_document_003s(percent: str, shown: str) -> None:
    ticker = msgspec.structs.replace(TICKER, change_percent=percent)
    update = msgspec.json.decode(views.crypto_update("BTC", ticker, 1_790_000_000_500))
    assert update == {"symbol": "BTC", "price": 67012.34, "change": shown, "ts": 1_790_000_000_500}


def _book(bid: str, ask: str) -> BookTicker:
    return BookTicker(1, "BTCUSDT", bid, "1", ask, "1")


def test_scaled_price_is_document_004s() -> None:
    scaled = views.scaled_price("BTC", _book("64908.38720000", "65560.73280000"), 4, 1_763_000_000)
    assert msgspec.json.decode(scaled) == {
        "symbol": "BTC",
        "bidPrice": 649083872,
        "askPrice": 655607328,
        "decimals": 4,
        "time": 1_763_000_000,
    }


@given(st.integers(min_value=0, max_value=2**53 - 1), st.integers(min_value=0, max_value=10))
def test_scaling_is_exact_decimal_arithmetic(units: int, decimals: int) -> None:
    price = str(Decimal(units).scaleb(-decimals))
    scaled = msgspec.json.decode(views.scaled_price("X", _book(price, price), decimals, 0))
    assert scaled["bidPrice"] == units


@pytest.mark.parametrize(("price", "decimals"), [("0.00001", 4), ("90071992547409.92", 3)])
def test_a_price_that_does_not_fit_is_refused_rather_than_rounded(price: str, decimals: int) -> None:
    with pytest.raises(ValueError, match=price):
        views.scaled_price("X", _book(price, price), decimals, 0)


@pytest.mark.parametrize(("step", "decimals"), [("0.01000000", 2), ("1.00000000", 0), ("0.00000001", 8), ("10", 0)])
def test_decimals_of_a_tick_size(step: str, decimals: int) -> None:
    assert views.decimals_of(step) == decimals
