import pytest

from binance.routes import MAX_PARAMS, MAX_PARAMS_BYTES, Route, batches, combined_url, is_served, route_of
from binance.settings import BINANCE, stand_in
from market.streams import StreamName


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("btcusdt@bookTicker", Route.SPOT),
        ("btcusdt@kline_1m", Route.SPOT),
        ("futures:btcusdt@bookTicker", Route.FUTURES_PUBLIC),
        ("futures:!bookTicker", Route.FUTURES_PUBLIC),
        ("futures:btcusdt@depth@100ms", Route.FUTURES_PUBLIC),
        ("futures:btcusdt@depth20@500ms", Route.FUTURES_PUBLIC),
        ("futures:btcusdt@trade", Route.FUTURES_PUBLIC),
        ("futures:btcusdt@aggTrade", Route.FUTURES_MARKET),
        ("futures:btcusdt@kline_1m", Route.FUTURES_MARKET),
        ("futures:btcusdt@ticker", Route.FUTURES_MARKET),
        ("btcusdt@markPrice@1s", Route.FUTURES_MARKET),
        ("!forceOrder@arr", Route.FUTURES_MARKET),
        ("btcusdt_perpetual@continuousKline_1m", Route.FUTURES_MARKET),
        ("btcusdt@avgPrice", Route.SPOT),
        ("btcusdt@ticker_1h", Route.SPOT),
    ],
)
def test_each_stream_has_the_route_on_which_binance_delivers_it(text: str, route: Route) -> None:
    assert route_of(StreamName.parse(text)) is route


def test_urls_are_those_of_binance() -> None:
    assert combined_url(BINANCE, Route.SPOT) == "wss://stream.binance.com:9443/stream"
    assert combined_url(BINANCE, Route.FUTURES_PUBLIC) == "wss://fstream.binance.com/public/stream"
    assert combined_url(BINANCE, Route.FUTURES_MARKET) == "wss://fstream.binance.com/market/stream"


def test_names_in_urls_are_percent_encoded_where_they_must_be() -> None:
    url = combined_url(
        stand_in("http://127.0.0.1:9/"), Route.SPOT, ["btcusdt@kline_1m@+08:00", "牛来usdt@trade", "!miniTicker@arr"]
    )
    assert url == (
        "ws://127.0.0.1:9/stream?streams=btcusdt@kline_1m@+08:00/%E7%89%9B%E6%9D%A5usdt@trade/!miniTicker@arr"
    )


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("spot:!miniTicker@arr", True),
        ("spot:!ticker@arr", False),
        ("spot:!ticker_1h@arr", True),
        ("btcusdt_perpetual@continuousKline_1m", True),
        ("spot:*@miniTicker", False),
        ("spot:*@kline_1m", False),
        ("spot:btcusdt@book", False),
        ("futures:!markPrice@arr@1s", True),
        ("futures:!bookTicker", True),
        ("futures:*@forceOrder", True),
        ("futures:*@depth20", False),
        ("btcusdt@kline_1m", True),
    ],
)
def test_only_the_all_market_streams_that_exist_are_served(text: str, served: bool) -> None:  # noqa: FBT001 # a table's column
    assert is_served(StreamName.parse(text)) is served


def test_batches_keep_order_and_lose_nothing() -> None:
    names = [f"s{i}usdt@trade" for i in range(1_000)]
    split = list(batches(names))
    assert [name for batch in split for name in batch] == names
    assert max(map(len, split)) <= MAX_PARAMS


def test_batches_stay_short_enough_for_long_names() -> None:
    split = list(batches(["牛" * 40 + "@kline_15m"] * 300))
    assert max(sum(len(name.encode()) + 3 for name in batch) for batch in split) <= MAX_PARAMS_BYTES
    assert not list(batches([]))
