"""REST answers written as streams: held against the stand-in's own streams, the same market at the same moment."""

import json
from typing import Any

import msgspec
import pytest

from binance.endpoints import DepthQuery, KlinesQuery, TickersQuery, TradesQuery
from exchange.encoding import FUTURES, encoder_of
from exchange.feed import Feed
from exchange.model import Simulation
from exchange.rest import answer
from exchange.venue import Instrument, Venue
from ingestor.polls import Poll, is_polled, polls_for, read_answer
from ingestor.rest_payloads import SOURCE_MARK, RestAggTrade, RestTrade, agg_trade, says_more, trade
from market.cursors import cursor_of
from market.payloads import decode_payload
from market.streams import BINANCE_MARKETS, Kind, Market, StreamName

START = 1_795_167_595_000
UNKNOWN = {"ap", "f", "L", "U", "pu", "X", "nq"}
"""What REST does not tell."""


class Tape:
    """A market that stands still after half a minute, and what its streams said until then."""

    def __init__(self) -> None:
        self.messages: dict[StreamName, list[Any]] = {}
        self.venue = Venue()
        feed = Feed(self.venue, self._keep)
        simulation = Simulation(self.venue, feed, symbols=2, seed=1, trades_per_second=20.0, start_ms=START)
        for market in BINANCE_MARKETS:
            for kind in ("trade", "aggTrade"):
                feed.want(StreamName.parse(f"{market}:btcusdt@{kind}"))
        simulation.advance(START + 30_000)

    def _keep(self, market: Market, name: str, payload: bytes) -> None:
        self.messages.setdefault(StreamName.parse(name, market), []).append(json.loads(payload))

    def instrument(self, market: Market) -> Instrument:
        return self.venue.instruments[market, "BTCUSDT"]

    def answer(self, poll: Poll) -> bytes:
        params = dict(poll.params)
        query: Any
        if poll.path == "klines":
            zone_ms = 8 * 3_600_000 if "timeZone" in params else 0
            query = KlinesQuery(params["symbol"], params["interval"], 2, None, None, zone_ms)
        elif poll.path == "depth":
            query = DepthQuery(params["symbol"], int(params["limit"]))
        else:
            symbols = json.loads(params["symbols"]) if "symbols" in params else [params["symbol"]]
            query = TickersQuery(tuple(symbols), is_one="symbols" not in params)
        return answer(self.venue, poll.market, poll.path, query)

    def polled(self, stream: StreamName) -> list[bytes]:
        (poll,) = polls_for([stream])
        now_ms = self.venue.now_ms
        return [payload for _, payload in read_answer(poll, self.answer(poll), now_ms)]

    def streamed(self, stream: StreamName) -> bytes:
        encoder, instrument, now_ms = encoder_of(stream.market), self.instrument(stream.market), self.venue.now_ms
        if stream.kind is Kind.TICKER:
            return encoder.ticker(instrument, now_ms)
        if stream.kind is Kind.MINI_TICKER:
            return encoder.mini_ticker(instrument, now_ms)
        if stream.kind is Kind.BOOK_TICKER:
            top = instrument.book.top
            assert top is not None
            return encoder.book_ticker(instrument.spec, top, now_ms)
        if stream.kind is Kind.MARK_PRICE:
            return FUTURES.mark_price(instrument.spec, instrument.mark(now_ms), now_ms)
        if stream.kind is Kind.KLINE:
            interval, _, zone = stream.option.partition("@")
            shift_ms = 8 * 3_600_000 if zone else 0
            (candle,) = instrument.candles.rows(interval, None, None, 1, shift_ms)
            return encoder.kline(instrument.spec, candle, stream.option, closed=False, now_ms=now_ms)
        levels = int(stream.kind.value.removeprefix("depth"))
        return encoder.partial_depth(instrument, levels, instrument.book.update_id - 1, now_ms)


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape()


KINDS = ("ticker", "miniTicker", "bookTicker", "kline_1m", "kline_1d", "depth5", "depth10@100ms", "depth20")
NAMES = [f"{market}:btcusdt@{kind}" for market in BINANCE_MARKETS for kind in KINDS]


def without(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in UNKNOWN}


@pytest.mark.parametrize("name", [*NAMES, "spot:btcusdt@kline_4h@+08:00", "btcusdt@markPrice", "btcusdt@markPrice@1s"])
def test_a_polled_state_says_what_the_stream_would_have_said(tape: Tape, name: str) -> None:
    stream = StreamName.parse(name)
    assert is_polled(stream)
    payload = tape.polled(stream)[-1]
    assert payload.endswith(SOURCE_MARK)
    polled, streamed = json.loads(payload), json.loads(tape.streamed(stream))
    assert polled.pop("source") == "poll"
    if stream.kind is Kind.KLINE:
        assert without(polled.pop("k")) == without(streamed.pop("k"))
    assert without(polled) == without(streamed)
    assert [key for key in streamed if key in polled] == list(polled), "in the order of the stream"
    decode_payload(stream, payload)
    assert not says_more(payload, tape.streamed(stream))
    assert cursor_of(stream, payload) == cursor_of(stream, tape.streamed(stream))


def test_a_polled_kline_has_the_closed_candle_before_it(tape: Tape) -> None:
    stream = StreamName.parse("btcusdt@kline_1m")
    closed, still_open = map(json.loads, tape.polled(stream))
    assert (closed["k"]["x"], still_open["k"]["x"]) == (True, False)
    assert closed["E"] == closed["k"]["T"] + 1 == still_open["k"]["t"] <= still_open["E"]


@pytest.mark.parametrize("market", BINANCE_MARKETS)
def test_a_fetched_trade_is_the_one_that_was_streamed(tape: Tape, market: Market) -> None:
    stream = StreamName.parse(f"{market}:btcusdt@trade")
    body = answer(tape.venue, market, "trades", TradesQuery("BTCUSDT", 100))
    rows = msgspec.json.decode(body, type=list[RestTrade])
    streamed = {message["t"]: message for message in tape.messages[stream]}
    assert rows
    for row in rows:
        fetched = json.loads(trade(stream, row))
        assert fetched.pop("source") == "poll"
        assert fetched.pop("E") == fetched["T"]
        assert fetched == {key: value for key, value in streamed[row.id].items() if key not in ("E", "X")}


@pytest.mark.parametrize("market", BINANCE_MARKETS)
def test_a_fetched_aggregate_is_the_one_that_was_streamed(tape: Tape, market: Market) -> None:
    stream = StreamName.parse(f"{market}:btcusdt@aggTrade")
    body = answer(tape.venue, market, "aggTrades", TradesQuery("BTCUSDT", 100))
    rows = msgspec.json.decode(body, type=list[RestAggTrade])
    streamed = {message["a"]: message for message in tape.messages[stream]}
    assert rows
    for row in rows:
        fetched = json.loads(agg_trade(stream, row))
        assert fetched.pop("source") == "poll"
        assert fetched.pop("E") == fetched["T"]
        assert fetched == {key: value for key, value in streamed[row.a].items() if key not in ("E", "nq")}


def test_requests_are_as_few_and_light_as_they_can_be() -> None:
    spot = [StreamName.parse(f"s{n}usdt@{kind}") for n in range(50) for kind in ("ticker", "miniTicker")]
    polls = list(polls_for(spot))
    assert sorted(len(json.loads(dict(poll.params)["symbols"])) for poll in polls) == [10, 20, 20]
    assert sum(poll.weight for poll in polls) == 6
    assert {stream for poll in polls for stream in poll.streams} == set(spot)
    (poll,) = polls_for([StreamName.parse(f"btcusdt@{kind}") for kind in ("bookTicker", "depth5", "depth20@100ms")])
    assert (poll.path, dict(poll.params)["limit"], len(poll.streams)) == ("depth", "20", 3)
    marks = list(polls_for([StreamName.parse(f"s{n}usdt@markPrice") for n in range(30)]))
    assert [(poll.params, poll.weight) for poll in marks] == [((), 10)]
    assert len(list(polls_for([StreamName.parse(f"s{n}usdt@markPrice") for n in range(3)]))) == 3


def test_events_and_streams_of_many_symbols_are_not_polled() -> None:
    for name in ("btcusdt@trade", "btcusdt@depth", "btcusdt@forceOrder", "!miniTicker@arr", "btcusdt@book"):
        assert not is_polled(StreamName.parse(name))


@pytest.mark.parametrize(
    ("made", "known", "expected"),
    [
        (b'{"u":9,"s":"X","b":"1","source":"poll"}', b'{"u":5,"s":"X","b":"1"}', False),
        (b'{"u":9,"s":"X","b":"2","source":"poll"}', b'{"u":5,"s":"X","b":"1"}', True),
        (b'{"E":9,"k":{"t":60000,"n":5,"x":true,"f":-1}}', b'{"E":5,"k":{"t":60000,"n":5,"x":false,"f":7}}', True),
        (b'{"E":9,"k":{"t":60000,"n":5,"x":true,"f":-1}}', b'{"E":5,"k":{"t":60000,"n":5,"x":true,"f":7}}', False),
        (b'{"E":9,"p":"1"}', b'{"E":5,"p":"1","ap":"2"}', False),
    ],
)
def test_only_what_is_not_known_is_news(made: bytes, known: bytes, *, expected: bool) -> None:
    assert says_more(made, known) is expected
