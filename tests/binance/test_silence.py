"""Streams that fall silent on connections that are well otherwise, on a real stand-in."""

import pytest
from structlog.testing import capture_logs

from binance import handover, watchdog
from binance.counters import Leaving, Trouble
from binance.routes import Route
from binance.settings import stand_in
from binance.upstream import Upstream
from market.streams import Kind, StreamName
from tests.binance.consumer import Consumer
from tests.binance.wire import until
from tests.exchange.client import Client


@pytest.fixture
def upstream(exchange: Client, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    for kind in (Kind.TRADE, Kind.AGG_TRADE, Kind.BOOK_TICKER):
        monkeypatch.setitem(watchdog.TOLERANCE_S, kind, 0.6)
    monkeypatch.setattr(handover, "OVERLAP_S", 0.3)
    return Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"))


async def test_a_stream_that_the_server_has_lost_is_regained_by_a_new_connection(
    exchange: Client, upstream: Upstream, consumer: Consumer
) -> None:
    connection = consumer.connect(upstream, "btcusdt@bookTicker", "ethusdt@trade")
    await until(lambda: consumer.count("btcusdt@bookTicker") > 5, "both speak")
    await exchange.control("mute", streams="btcusdt@*")
    await until(lambda: upstream.counters.handovers[Leaving.SILENCE] == 1, "a new connection")
    before = consumer.count("btcusdt@bookTicker")
    await until(lambda: consumer.count("btcusdt@bookTicker") > before + 5, "it speaks again")
    assert upstream.counters.troubles == {Trouble.SILENT: 1}
    assert connection.stalled == frozenset()
    assert consumer.holes() == {}  # the other stream has not noticed


async def test_a_stream_that_stays_silent_is_reported_once_and_until_it_speaks(
    exchange: Client, upstream: Upstream, consumer: Consumer
) -> None:
    connection = consumer.connect(upstream, "btcusdt@bookTicker", "ethusdt@trade")
    await until(lambda: consumer.count("btcusdt@bookTicker") > 5, "both speak")
    await exchange.control("silence", streams="btcusdt@*")
    with capture_logs() as lines:
        await until(lambda: connection.stalled, "reported")
        assert connection.stalled == {StreamName.parse("btcusdt@bookTicker")}
        before = consumer.count("ethusdt@trade")
        await until(lambda: consumer.count("ethusdt@trade") > before + 40, "time goes by")
        await exchange.control("reset")
        await until(lambda: not connection.stalled, "it speaks again")
    assert [line["event"] for line in lines] == [
        "streams are silent for too long",
        "connection is renewed",
        "streams stay silent on a new connection",
        "silent streams speak again",
    ]
    assert upstream.counters.troubles == {Trouble.SILENT: 1, Trouble.STALLED: 1}
    assert upstream.counters.opened == 2
    assert consumer.holes() == {}


async def test_a_stream_on_the_wrong_route_is_reported_while_the_right_ones_flow(
    upstream: Upstream, consumer: Consumer
) -> None:
    # Acknowledged there, and silent: aggTrade is /market's.
    connection = consumer.connect(upstream, "btcusdt@aggTrade", "btcusdt@trade", route=Route.FUTURES_PUBLIC)
    await until(lambda: connection.stalled, "reported")
    assert {str(stream) for stream in connection.stalled} == {"futures:btcusdt@aggTrade"}
    assert connection.confirmed == {"btcusdt@aggTrade", "btcusdt@trade"}
    assert consumer.count("futures:btcusdt@trade") > 20
    assert consumer.holes() == {}


async def test_liquidations_may_be_silent_for_ever(upstream: Upstream, consumer: Consumer) -> None:
    connection = consumer.connect(upstream, "adausdt@forceOrder", "btcusdt@aggTrade", route=Route.FUTURES_MARKET)
    await until(lambda: consumer.count("futures:btcusdt@aggTrade") > 50, "far more than its neighbour's tolerance")
    assert connection.settled
    assert upstream.counters.opened == 1
    assert not upstream.counters.troubles
