import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.feed import Feed
from exchange.model import Simulation
from exchange.venue import Venue
from market.payloads import decode_payload
from market.streams import ALL, ARRAY, BINANCE_MARKETS, Kind, Market, StreamName

START = 1_795_167_595_000
SPOT_KINDS = ("trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth5", "depth20@100ms", "ticker")
SPOT_NAMES = [f"btcusdt@{kind}" for kind in (*SPOT_KINDS, "miniTicker", "kline_1s", "kline_1m", "kline_1d@+08:00")]
SPOT_NAMES += [f"btcusdt@{kind}" for kind in ("avgPrice", "ticker_1h", "ticker_4h", "ticker_1d")]
FUTURES_KINDS = ("trade", "aggTrade", "bookTicker", "depth@100ms", "depth@500ms", "depth10", "ticker", "miniTicker")
FUTURES_NAMES = [f"btcusdt@{kind}" for kind in (*FUTURES_KINDS, "kline_1m", "markPrice", "markPrice@1s", "forceOrder")]
FUTURES_NAMES += ["btcusdt_perpetual@continuousKline_1m"]
FUTURES_ALL = ["!miniTicker@arr", "!ticker@arr", "!bookTicker", "!markPrice@arr@1s", "!forceOrder@arr"]


class Tape:
    """A simulation and everything it published."""

    def __init__(self, *, seed: int = 1, symbols: int = 2, rate: float = 20.0, streams: bool = True) -> None:
        self.messages: list[tuple[StreamName, bytes]] = []
        self.venue = Venue()
        feed = Feed(self.venue, self._publish)
        self.simulation = Simulation(
            self.venue, feed, symbols=symbols, seed=seed, trades_per_second=rate, start_ms=START
        )
        wanted = [(Market.SPOT, name) for name in [*SPOT_NAMES, "!miniTicker@arr", "!ticker_1h@arr"]]
        wanted += [(Market.FUTURES, name) for name in FUTURES_NAMES + FUTURES_ALL]
        for market, name in wanted if streams else ():
            feed.want(StreamName.parse(name, market))

    def _publish(self, market: Market, name: str, payload: bytes) -> None:
        self.messages.append((StreamName.parse(name, market), payload))

    def run(self, seconds: float) -> "Tape":
        self.simulation.advance(START + int(seconds * 1000))
        return self

    def of(self, name: str) -> list[Any]:
        stream = StreamName.parse(name)
        return [json.loads(payload) for found, payload in self.messages if found == stream]


@pytest.fixture(scope="module")
def tape() -> Tape:
    return Tape().run(30)


def test_every_wanted_stream_speaks_and_decodes(tape: Tape) -> None:
    spoken = {stream for stream, _ in tape.messages}
    for name in SPOT_NAMES:
        assert StreamName.parse(f"spot:{name}") in spoken, name
    for name in FUTURES_NAMES:
        if not name.endswith("forceOrder"):
            assert StreamName.parse(f"futures:{name}") in spoken, name
    for stream, payload in tape.messages:
        if stream.symbol not in (ALL, ARRAY):
            decode_payload(stream, payload)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("spot:btcusdt@trade", "e,E,s,t,p,q,T,m,M"),
        ("spot:btcusdt@aggTrade", "e,E,s,a,p,q,f,l,T,m,M"),
        ("spot:btcusdt@bookTicker", "u,s,b,B,a,A"),
        ("spot:btcusdt@depth", "e,E,s,U,u,b,a"),
        ("spot:btcusdt@depth5", "lastUpdateId,bids,asks"),
        ("spot:btcusdt@ticker", "e,E,s,p,P,w,x,c,Q,b,B,a,A,o,h,l,v,q,O,C,F,L,n"),
        ("spot:btcusdt@miniTicker", "e,E,s,c,o,h,l,v,q"),
        ("spot:btcusdt@kline_1m", "e,E,s,k"),
        ("spot:btcusdt@avgPrice", "e,E,s,i,w,T"),
        ("spot:btcusdt@ticker_1h", "e,E,s,p,P,o,h,l,c,w,v,q,O,C,F,L,n"),
        ("futures:btcusdt_perpetual@continuousKline_1m", "e,E,ps,ct,k"),
        ("futures:btcusdt@trade", "e,E,T,s,t,p,q,X,m,st"),
        ("futures:btcusdt@aggTrade", "e,E,a,s,p,q,nq,f,l,T,m,st"),
        ("futures:btcusdt@bookTicker", "e,u,s,ps,b,B,a,A,T,E,st"),
        ("futures:btcusdt@depth@100ms", "e,E,T,s,ps,U,u,pu,b,a,st"),
        ("futures:btcusdt@depth10", "e,E,T,s,ps,U,u,pu,b,a,st"),
        ("futures:btcusdt@ticker", "e,E,s,ps,p,P,w,c,Q,o,h,l,v,q,O,C,F,L,n,st"),
        ("futures:btcusdt@miniTicker", "e,E,s,c,o,h,l,v,q,ps,st"),
        ("futures:btcusdt@markPrice@1s", "e,E,s,p,ap,P,i,r,T,st"),
    ],
)
def test_fields_come_in_the_order_of_the_wire(tape: Tape, name: str, keys: str) -> None:
    assert all(",".join(message) == keys for message in tape.of(name))


def test_futures_klines_have_blanks_inside_k_and_spot_klines_have_none(tape: Tape) -> None:
    for stream, payload in tape.messages:
        if stream.kind is Kind.KLINE:
            assert (b'", "' in payload) == (stream.market is Market.FUTURES)
            order = ",".join(json.loads(payload)["k"])
            assert order == "t,T,s,i,f,L,o,c,h,l,v,n,x,q,V,Q,B"


def test_a_perpetuals_candles_are_those_of_its_continuous_contract(tape: Tape) -> None:
    own = [message["k"] for message in tape.of("futures:btcusdt@kline_1m")]
    continuous = tape.of("btcusdt_perpetual@continuousKline_1m")
    assert {(message["ps"], message["ct"]) for message in continuous} == {("BTCUSDT", "PERPETUAL")}
    assert [message["k"] for message in continuous] == [{key: k[key] for key in k if key != "s"} for k in own]


def test_a_window_tickers_figures_are_those_of_the_candles_in_it(tape: Tape) -> None:
    instrument = tape.venue.instruments[Market.SPOT, "BTCUSDT"]
    for name, minutes in (("1h", 60), ("4h", 240), ("1d", 1440)):
        ticker = tape.of(f"btcusdt@ticker_{name}")[-1]
        assert ticker["e"] == f"{name}Ticker"
        assert ticker["O"] % 60_000 == 0
        assert minutes * 60_000 <= ticker["C"] - ticker["O"] < (minutes + 1) * 60_000
        rows = instrument.candles.rows("1m", ticker["O"], None, 2_000)
        assert (units(ticker["v"]), ticker["n"]) == (sum(row.volume for row in rows), sum(row.trades for row in rows))
        assert (units(ticker["h"]), units(ticker["l"])) == (max(row.high for row in rows), min(row.low for row in rows))
    day, ticker = tape.of("btcusdt@ticker")[-1], tape.of("btcusdt@ticker_1d")[-1]
    assert all(day[key] == ticker[key] for key in "pPwcohlvqOFLn")
    assert {element["e"] for message in tape.of("spot:!ticker_1h@arr") for element in message} == {"1hTicker"}


def test_the_average_price_is_that_of_the_last_five_minutes(tape: Tape) -> None:
    average, last = tape.of("btcusdt@avgPrice")[-1], tape.of("btcusdt@trade")[-1]
    instrument = tape.venue.instruments[Market.SPOT, "BTCUSDT"]
    rows = instrument.candles.rows("1m", average["E"] - 300_000, None, 5)
    assert units(average["w"]) == sum(row.quote for row in rows) // sum(row.volume for row in rows)
    assert (average["i"], average["T"]) == ("5m", last["T"])


def units(text: str) -> int:
    return int(text.replace(".", ""))


def test_each_one_second_candle_is_the_sum_of_its_trades(tape: Tape) -> None:
    by_second: dict[int, list[Any]] = {}
    for trade in tape.of("btcusdt@trade"):
        by_second.setdefault(trade["T"] // 1000 * 1000, []).append(trade)
    closed = [message["k"] for message in tape.of("btcusdt@kline_1s") if message["k"]["x"]]
    assert len(closed) == 30
    assert [k["t"] for k in closed] == list(range(START, START + 30_000, 1_000))
    for k in closed:
        trades = by_second.get(k["t"], [])
        assert k["n"] == len(trades)
        assert units(k["v"]) == sum(units(trade["q"]) for trade in trades)
        if trades:
            prices = [units(trade["p"]) for trade in trades]
            assert [units(k[key]) for key in "ohlc"] == [prices[0], max(prices), min(prices), prices[-1]]
            assert (k["f"], k["L"]) == (trades[0]["t"], trades[-1]["t"])
            assert units(k["q"]) * 10**8 == sum(units(trade["p"]) * units(trade["q"]) for trade in trades)


def test_a_minute_that_began_in_the_past_closes_with_all_its_trades(tape: Tape) -> None:
    (closed,) = [message["k"] for message in tape.of("btcusdt@kline_1m") if message["k"]["x"]]
    instrument = tape.venue.instruments[Market.SPOT, "BTCUSDT"]
    row = instrument.candles.rows("1m", closed["t"], None, 1)[0]
    assert units(closed["v"]) == row.volume
    trades = [trade for trade in tape.of("btcusdt@trade") if trade["T"] <= closed["T"]]
    before = sum(second.volume for second in instrument.candles.rows("1s", closed["t"], START - 1, 60))
    assert units(closed["v"]) == before + sum(units(trade["q"]) for trade in trades)


@pytest.mark.parametrize("market", ["spot", "futures"])
def test_trade_ids_are_consecutive_and_aggregates_cover_them(tape: Tape, market: str) -> None:
    ids = [trade["t"] for trade in tape.of(f"{market}:btcusdt@trade")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    aggregates = tape.of(f"{market}:btcusdt@aggTrade")
    assert [agg["a"] for agg in aggregates] == list(range(aggregates[0]["a"], aggregates[0]["a"] + len(aggregates)))
    covered = itertools.chain.from_iterable(range(agg["f"], agg["l"] + 1) for agg in aggregates)
    assert list(covered) == ids[: aggregates[-1]["l"] - ids[0] + 1]
    trades = {trade["t"]: trade for trade in tape.of(f"{market}:btcusdt@trade")}
    for agg in aggregates:
        parts = [trades[number] for number in range(agg["f"], agg["l"] + 1)]
        assert {part["p"] for part in parts} == {agg["p"]}
        assert units(agg["q"]) == sum(units(part["q"]) for part in parts)


def test_the_tickers_last_price_is_that_of_the_last_trade(tape: Tape) -> None:
    last = None
    compared = 0
    for stream, payload in tape.messages:
        if stream == StreamName.parse("btcusdt@trade"):
            last = json.loads(payload)
        elif stream == StreamName.parse("btcusdt@ticker") and last is not None:
            ticker = json.loads(payload)
            assert (ticker["c"], ticker["Q"], ticker["L"]) == (last["p"], last["q"], last["t"])
            assert ticker["n"] == ticker["L"] - ticker["F"] + 1
            compared += 1
    assert compared > 20


def test_the_bid_is_below_the_ask_in_every_message(tape: Tape) -> None:
    for stream, payload in tape.messages:
        message = json.loads(payload)
        if stream.kind is Kind.BOOK_TICKER:
            assert units(message["b"]) < units(message["a"])
        elif stream.kind in (Kind.DEPTH5, Kind.DEPTH10, Kind.DEPTH20):
            bids, asks = message.get("bids", message.get("b")), message.get("asks", message.get("a"))
            assert units(bids[0][0]) < units(asks[0][0])
            assert len(bids) == len(asks) == int(stream.kind.removeprefix("depth"))
            assert [units(price) for price, _ in bids] == sorted((units(price) for price, _ in bids), reverse=True)
            assert [units(price) for price, _ in asks] == sorted(units(price) for price, _ in asks)


@pytest.mark.parametrize(
    "name",
    ["spot:btcusdt@depth", "spot:btcusdt@depth@100ms", "futures:btcusdt@depth@100ms", "futures:btcusdt@depth@500ms"],
)
def test_depth_updates_follow_each_other_without_a_gap(tape: Tape, name: str) -> None:
    updates = tape.of(name)
    assert len(updates) > 20
    for update, following in itertools.pairwise(updates):
        assert following["U"] == update["u"] + 1
        assert following.get("pu", update["u"]) == update["u"]


def test_funding_is_due_at_the_next_eight_hours_and_prices_have_eight_decimals(tape: Tape) -> None:
    for mark in tape.of("futures:btcusdt@markPrice@1s"):
        assert mark["T"] % 28_800_000 == 0
        assert 0 < mark["T"] - mark["E"] <= 28_800_000
        assert all(len(mark[key].partition(".")[2]) == 8 for key in ("p", "P", "i", "r"))
        assert abs(float(mark["p"]) / float(mark["i"]) - 1) < 0.01


def test_prices_and_quantities_lie_on_the_grid(tape: Tape) -> None:
    for market in BINANCE_MARKETS:
        spec = tape.venue.instruments[market, "BTCUSDT"].spec
        for trade in tape.of(f"{market}:btcusdt@trade"):
            assert units(trade["p"]) % spec.tick == 0
            assert units(trade["q"]) % spec.step == 0
            assert units(trade["q"]) > 0


def test_the_all_market_ticker_lists_only_what_was_traded() -> None:
    tape = Tape(rate=0.2, symbols=8).run(10)
    arrays = tape.of("futures:!miniTicker@arr")
    assert any(len(array) < 8 for array in arrays)
    assert all(len({ticker["s"] for ticker in array}) == len(array) for array in arrays)


def test_liquidations_come_and_are_told_on_both_streams() -> None:
    tape = Tape(symbols=8, rate=1.0)
    feed_all = StreamName.parse("futures:!forceOrder@arr")
    for minute in range(1, 40):
        tape.simulation.advance(START + minute * 60_000)
        if any(stream == StreamName.parse("futures:btcusdt@forceOrder") for stream, _ in tape.messages):
            break
        tape.messages = [found for found in tape.messages if found[0] == feed_all]
    (own,) = tape.of("futures:btcusdt@forceOrder")
    assert own in tape.of("futures:!forceOrder@arr")
    assert ",".join(own["o"]) == "s,S,o,f,q,p,ap,X,l,z,T,ps,st"


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.5, 4.0, 60.0]),
    st.lists(st.integers(1, 900), min_size=1, max_size=30),
)
def test_the_same_seed_is_the_same_market_however_time_is_portioned(
    seed: int, rate: float, portions: list[int]
) -> None:
    at_once, bit_by_bit = Tape(seed=seed, rate=rate), Tape(seed=seed, rate=rate)
    at = START
    for portion in portions:
        at += portion
        bit_by_bit.simulation.advance(at)
    at_once.simulation.advance(at)
    assert at_once.messages == bit_by_bit.messages


def test_who_listens_changes_nothing() -> None:
    heard, unheard = Tape().run(5), Tape(streams=False).run(5)
    for key, instrument in heard.venue.instruments.items():
        other = unheard.venue.instruments[key]
        assert instrument.book.top == other.book.top
        assert instrument.last == other.last


def test_another_seed_is_another_market() -> None:
    assert Tape(seed=1).run(2).of("btcusdt@trade") != Tape(seed=2).run(2).of("btcusdt@trade")


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1.0, 30.0, 300.0]))
def test_books_are_never_crossed_nor_empty(seed: int, rate: float) -> None:
    tape = Tape(seed=seed, rate=rate, symbols=9, streams=False)
    for second in range(1, 6):
        tape.run(second)
        for instrument in tape.venue.instruments.values():
            top = instrument.book.top
            assert top is not None
            assert 0 < top.bid < top.ask
            assert min(top.bid_quantity, top.ask_quantity) > 0


def test_five_hundred_symbols_have_different_names_and_live() -> None:
    tape = Tape(symbols=500, rate=4.0, streams=False)
    assert len(tape.venue.instruments) == 1_000
    tape.run(1)
    traded = [instrument for instrument in tape.venue.instruments.values() if instrument.last is not None]
    assert len(traded) > 800


def test_ids_grow_on_when_the_exchange_is_started_again() -> None:
    first = Tape(rate=4.0).run(20)
    later = START + 30_000
    venue = Venue()
    feed = Feed(venue, lambda *_: None)
    second = Simulation(venue, feed, symbols=2, seed=1, trades_per_second=4.0, start_ms=later)
    second.advance(later + 2_000)
    for key, instrument in first.venue.instruments.items():
        again = venue.instruments[key]
        assert again.book.update_id > instrument.book.update_id
        assert again.last is not None
        assert instrument.last is not None
        assert again.last.trade_id > instrument.last.trade_id
        assert abs(again.last.price / instrument.last.price - 1) < 0.02
