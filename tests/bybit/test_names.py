import pytest

from bybit.names import INTERVAL_NAMES, MAX_TOPICS, interval_of, is_served, topic_of
from market.errors import Code, MarketError
from market.intervals import BYBIT_INTERVALS
from market.streams import BYBIT_KINDS, Kind, Market, StreamName


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("bybit:btcusdt@trade", "publicTrade.BTCUSDT"),
        ("bybit:btcusdt@ticker", "tickers.BTCUSDT"),
        ("bybit:btcusdt@miniTicker", "tickers.BTCUSDT"),
        ("bybit:btcusdt@kline_1m", "kline.1.BTCUSDT"),
        ("bybit:btcusdt@kline_4h", "kline.240.BTCUSDT"),
        ("bybit:btcusdt@kline_1M", "kline.M.BTCUSDT"),
        ("bybit:btcusdt@bookTicker", "orderbook.1.BTCUSDT"),
        ("bybit:btcusdt@depth5", "orderbook.50.BTCUSDT"),
        ("bybit:btcusdt@depth20", "orderbook.50.BTCUSDT"),
        ("bybit:btcusdt@depth", "orderbook.200.BTCUSDT"),
        ("bybit:btcusdt@book", "orderbook.200.BTCUSDT"),
    ],
)
def test_each_stream_is_carried_by_one_of_bybits_topics(name: str, topic: str) -> None:
    stream = StreamName.parse(name)
    assert (stream.market, str(stream)) == (Market.BYBIT, name)
    assert is_served(stream)
    assert topic_of(stream) == topic


@pytest.mark.parametrize("kind", sorted(BYBIT_KINDS))
def test_every_kind_of_bybits_has_a_topic(kind: Kind) -> None:
    assert "BTCUSDT" in topic_of(StreamName.of(Market.BYBIT, "btcusdt", kind, "1h" if kind is Kind.KLINE else ""))


def test_every_interval_has_a_spelling_of_bybits_and_the_way_back() -> None:
    assert {INTERVAL_NAMES[interval_of(interval)] for interval in BYBIT_INTERVALS} == BYBIT_INTERVALS


@pytest.mark.parametrize(
    "name",
    [
        "bybit:btcusdt@aggTrade",
        "bybit:btcusdt@avgPrice",
        "bybit:btcusdt@markPrice",
        "bybit:btcusdt@depth@100ms",
        "bybit:btcusdt@depth5@100ms",
        "bybit:btcusdt@kline_1s",
        "bybit:btcusdt@kline_3d",
        "bybit:btcusdt@kline_1h@+08:00",
        "bybit:!miniTicker@arr",
        "bybit:!forceOrder@arr",
    ],
)
def test_what_bybit_has_not_is_no_stream(name: str) -> None:
    with pytest.raises(MarketError) as refused:
        StreamName.parse(name)
    assert refused.value.code is Code.INVALID_STREAM


def test_all_symbols_together_have_no_topic_nor_have_other_markets() -> None:
    assert not is_served(StreamName.parse("bybit:*@trade"))
    assert not is_served(StreamName.parse("spot:btcusdt@trade"))


def test_a_full_connection_keeps_within_the_length_that_bybit_allows() -> None:
    longest = topic_of(StreamName.of(Market.BYBIT, "x" * 40, Kind.BOOK))
    assert MAX_TOPICS * (len(longest) + len('"",')) <= 21_000
