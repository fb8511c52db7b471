"""Bybit's topics of the simulated market, lived through at once: what each says over minutes."""

import itertools
import json
from collections import defaultdict
from typing import Any

import pytest

from exchange.bybit_topics import REPEAT_MS, BybitMarket
from exchange.feed import Feed
from exchange.model import Simulation
from exchange.venue import Instrument, Venue
from market.streams import Market

START_MS = 1_700_000_000_000


class Tape:
    """A simulated market and what its topics said."""

    def __init__(self, *topics: str) -> None:
        self.venue = Venue()
        self.said: dict[str, list[dict[str, Any]]] = defaultdict(list)
        feed = Feed(self.venue, lambda *_: None)
        self._simulation = Simulation(self.venue, feed, symbols=2, seed=1, trades_per_second=20.0, start_ms=START_MS)
        self.market = BybitMarket(self.venue, feed, self._keep)
        for topic in topics:
            self.market.want(topic)

    @property
    def instrument(self) -> Instrument:
        """BTCUSDT on spot."""
        found = self.venue.get(Market.SPOT, "BTCUSDT")
        assert found is not None
        return found

    def run(self, seconds: float) -> None:
        """Let time go on."""
        self._simulation.advance(self.venue.now_ms + int(seconds * 1_000))

    def _keep(self, market: Market, name: str, message: bytes) -> None:
        assert market is Market.BYBIT
        self.said[name].append(json.loads(message))


def apply(book: dict[str, dict[str, str]], message: dict[str, Any]) -> None:
    """What Bybit tells its clients to do with a message of an order book."""
    for side in ("b", "a"):
        if message["type"] == "snapshot":
            book[side] = {}
        for price, size in message["data"][side]:
            if size == "0":
                book[side].pop(price, None)
            else:
                book[side][price] = size


@pytest.mark.parametrize("levels", [50, 200])
def test_snapshot_and_changes_make_the_best_levels_of_the_book(levels: int) -> None:
    name = f"orderbook.{levels}.BTCUSDT"
    tape = Tape(name)
    first = tape.market.snapshot(name)
    assert first is not None
    book: dict[str, dict[str, str]] = {}
    apply(book, json.loads(first))
    update_id = json.loads(first)["data"]["u"]
    tape.run(30)
    for message in tape.said[name]:
        update_id += 1
        assert (message["type"], message["data"]["u"]) == ("delta", update_id)
        apply(book, message)
        assert len(book["b"]) <= levels
    last = json.loads(tape.market.snapshot(name) or b"")
    assert book == {side: dict(last["data"][side]) for side in ("b", "a")}
    assert max(map(float, book["b"])) < min(map(float, book["a"]))


def test_each_candle_is_told_while_open_and_once_as_closed() -> None:
    tape = Tape("kline.1.BTCUSDT", "kline.5.BTCUSDT")
    tape.run(185)
    candles = [message["data"][0] for message in tape.said["kline.1.BTCUSDT"]]
    closed = [candle for candle in candles if candle["confirm"]]
    assert [candle["start"] % 60_000 for candle in closed] == [0, 0, 0]
    assert [after["start"] - before["start"] for before, after in itertools.pairwise(closed)] == [60_000] * 2
    assert all(candle["end"] == candle["start"] + 59_999 for candle in candles)
    kept = tape.instrument.candles.candle("1m", closed[-1]["start"])
    assert kept is not None
    assert float(closed[-1]["volume"]) == kept.volume / 10**8
    assert {message["data"][0]["interval"] for message in tape.said["kline.5.BTCUSDT"]} == {"5"}


def test_the_ticker_tells_the_last_24_hours_whenever_there_was_a_trade() -> None:
    tape = Tape("tickers.BTCUSDT", "publicTrade.BTCUSDT")
    tape.run(10)
    tickers, trades = tape.said["tickers.BTCUSDT"], tape.said["publicTrade.BTCUSDT"]
    assert [one["ts"] for one in tickers] == [one["ts"] for one in trades]
    assert [one["data"]["lastPrice"] for one in tickers] == [one["data"][-1]["p"] for one in trades]
    day = tickers[-1]["data"]
    change = float(day["lastPrice"]) / float(day["prevPrice24h"]) - 1
    assert float(day["price24hPcnt"]) == pytest.approx(change, abs=1e-4)


def test_trades_of_one_moment_come_in_one_message_and_none_is_missing() -> None:
    tape = Tape("publicTrade.BTCUSDT")
    tape.run(20)
    ids = [int(trade["i"]) for message in tape.said["publicTrade.BTCUSDT"] for trade in message["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert max(len(message["data"]) for message in tape.said["publicTrade.BTCUSDT"]) > 1


def test_best_bid_and_ask_are_repeated_with_the_same_id_while_nothing_changes() -> None:
    tape = Tape("orderbook.1.BTCUSDT")
    tape.run(5)
    feed = tape.market._feed_of("orderbook.1.BTCUSDT")
    assert feed is not None
    assert feed.mirror is not None
    count, now_ms = len(tape.said["orderbook.1.BTCUSDT"]), tape.venue.now_ms
    for later_ms in range(0, 2 * REPEAT_MS + 100, 100):
        feed.mirror.on_time(now_ms + later_ms)
    repeated = tape.said["orderbook.1.BTCUSDT"][count:]
    assert len(repeated) == 2
    assert {message["data"]["u"] for message in repeated} == {tape.said["orderbook.1.BTCUSDT"][count - 1]["data"]["u"]}


def test_nothing_is_said_of_what_nobody_wants_any_more() -> None:
    tape = Tape("publicTrade.BTCUSDT", "tickers.BTCUSDT")
    tape.run(2)
    tape.market.unwant("tickers.BTCUSDT")
    count = len(tape.said["tickers.BTCUSDT"])
    tape.run(2)
    assert len(tape.said["tickers.BTCUSDT"]) == count
    tape.market.unwant("publicTrade.BTCUSDT")
    feed = tape.market._feed_of("publicTrade.BTCUSDT")
    assert feed is not None
    assert feed.mirror is None


@pytest.mark.parametrize(
    "name", ["tickers.NOSUCH", "tickers.1.BTCUSDT", "orderbook.BTCUSDT", "orderbook.x.BTCUSDT", "", "."]
)
def test_what_is_no_topic_is_none(name: str) -> None:
    tape = Tape()
    assert not tape.market.has(name)
    tape.market.want(name)
    tape.market.unwant(name)
    assert tape.market.snapshot(name) is None
