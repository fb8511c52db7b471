"""Payload bytes as Binance writes them: order of keys, decimals, even the blanks.

Sources: the streams' fields in Binance "WebSocket Streams" (spot) and "Websocket Market Streams"
(USD-M futures); the order of keys is that of recorded messages.
"""

from abc import ABC, abstractmethod
from typing import Final

from exchange.book import Diff, Levels, Top
from exchange.candles import AggTrade, Candle, Trade
from exchange.fixed import ratio_text, to_text
from exchange.symbols import SymbolSpec
from exchange.venue import AVERAGE_MINUTES, Instrument, Liquidation, Mark
from market.intervals import DAY_MS, HOUR_MS, close_time
from market.streams import Kind, Market

_WINDOWS: Final = {Kind.TICKER_1H: ("1h", HOUR_MS), Kind.TICKER_4H: ("4h", 4 * HOUR_MS), Kind.TICKER_1D: ("1d", DAY_MS)}


class Encoder(ABC):
    """Builds one market's payloads. `now_ms` is the event time, prices and quantities are units."""

    @abstractmethod
    def trade(self, spec: SymbolSpec, trade: Trade, now_ms: int) -> bytes:
        """`@trade`."""

    @abstractmethod
    def agg_trade(self, spec: SymbolSpec, trade: AggTrade, now_ms: int) -> bytes:
        """`@aggTrade`."""

    @abstractmethod
    def book_ticker(self, spec: SymbolSpec, top: Top, now_ms: int) -> bytes:
        """`@bookTicker`."""

    @abstractmethod
    def depth_update(self, spec: SymbolSpec, diff: Diff, now_ms: int) -> bytes:
        """`@depth`."""

    @abstractmethod
    def partial_depth(self, instrument: Instrument, levels: int, previous_id: int, now_ms: int) -> bytes:
        """`@depth<levels>`; `previous_id` is the update id of the message before."""

    @abstractmethod
    def ticker(self, instrument: Instrument, now_ms: int) -> bytes:
        """`@ticker`."""

    @abstractmethod
    def mini_ticker(self, instrument: Instrument, now_ms: int) -> bytes:
        """`@miniTicker`."""

    @abstractmethod
    def kline(self, spec: SymbolSpec, candle: Candle, interval: str, *, closed: bool, now_ms: int) -> bytes:
        """`@kline_<interval>`."""


class SpotEncoder(Encoder):
    """Spot payloads."""

    def trade(self, spec: SymbolSpec, trade: Trade, now_ms: int) -> bytes:
        """`e,E,s,t,p,q,T,m,M`."""
        return (
            f'{{"e":"trade","E":{now_ms},"s":"{spec.symbol}","t":{trade.trade_id},"p":"{spec.price_text(trade.price)}"'
            f',"q":"{spec.quantity_text(trade.quantity)}","T":{trade.time_ms},"m":{_bool(trade.buyer_is_maker)},"M":true}}'
        ).encode()

    def agg_trade(self, spec: SymbolSpec, trade: AggTrade, now_ms: int) -> bytes:
        """`e,E,s,a,p,q,f,l,T,m,M`."""
        return (
            f'{{"e":"aggTrade","E":{now_ms},"s":"{spec.symbol}","a":{trade.trade_id}'
            f',"p":"{spec.price_text(trade.price)}","q":"{spec.quantity_text(trade.quantity)}","f":{trade.first_id}'
            f',"l":{trade.last_id},"T":{trade.time_ms},"m":{_bool(trade.buyer_is_maker)},"M":true}}'
        ).encode()

    def book_ticker(self, spec: SymbolSpec, top: Top, now_ms: int) -> bytes:  # noqa: ARG002 # spot tells no time
        """`u,s,b,B,a,A`."""
        return f'{{"u":{top.update_id},"s":"{spec.symbol}",{_top(spec, top)}}}'.encode()

    def depth_update(self, spec: SymbolSpec, diff: Diff, now_ms: int) -> bytes:
        """`e,E,s,U,u,b,a`."""
        return (
            f'{{"e":"depthUpdate","E":{now_ms},"s":"{spec.symbol}","U":{diff.first_id},"u":{diff.last_id}'
            f',"b":{levels_text(spec, _falling(diff.bids))},"a":{levels_text(spec, sorted(diff.asks.items()))}}}'
        ).encode()

    def partial_depth(
        self,
        instrument: Instrument,
        levels: int,
        previous_id: int,  # noqa: ARG002 # futures only
        now_ms: int,  # noqa: ARG002 # spot tells no time
    ) -> bytes:
        """`lastUpdateId,bids,asks`."""
        spec, book = instrument.spec, instrument.book
        return (
            f'{{"lastUpdateId":{book.update_id},"bids":{levels_text(spec, book.bids.top(levels))}'
            f',"asks":{levels_text(spec, book.asks.top(levels))}}}'
        ).encode()

    def ticker(self, instrument: Instrument, now_ms: int) -> bytes:
        """`e,E,s,p,P,w,x,c,Q,b,B,a,A,o,h,l,v,q,O,C,F,L,n`."""
        spec, day = instrument.spec, instrument.candles.day()
        top = instrument.top or Top(0, 0, 0, 0, 0)
        change = day.close - day.open
        last = instrument.last
        return (
            f'{{"e":"24hrTicker","E":{now_ms},"s":"{spec.symbol}","p":"{spec.price_text(change)}"'
            f',"P":"{percent_text(day)}","w":"{average_text(spec, day)}"'
            f',"x":"{spec.price_text(instrument.candles.previous_close())}","c":"{spec.price_text(day.close)}"'
            f',"Q":"{spec.quantity_text(last.quantity if last else 0)}",{_top(spec, top)},{_day(spec, day)}'
            f',"O":{day.open_ms},"C":{now_ms},"F":{day.first_id},"L":{day.last_id},"n":{day.trades}}}'
        ).encode()

    def mini_ticker(self, instrument: Instrument, now_ms: int) -> bytes:
        """`e,E,s,c,o,h,l,v,q`."""
        spec, day = instrument.spec, instrument.candles.day()
        return (
            f'{{"e":"24hrMiniTicker","E":{now_ms},"s":"{spec.symbol}","c":"{spec.price_text(day.close)}"'
            f",{_day(spec, day)}}}"
        ).encode()

    def kline(self, spec: SymbolSpec, candle: Candle, interval: str, *, closed: bool, now_ms: int) -> bytes:
        """`e,E,s,k`, compact."""
        body = ",".join(_candle(spec, candle, interval, closed=closed))
        return f'{{"e":"kline","E":{now_ms},"s":"{spec.symbol}","k":{{{body}}}}}'.encode()

    def window_ticker(self, instrument: Instrument, kind: Kind, now_ms: int) -> bytes:
        """`@ticker_<window>`: `e,E,s,p,P,o,h,l,c,w,v,q,O,C,F,L,n`."""
        spec = instrument.spec
        name, length_ms = _WINDOWS[kind]
        window = instrument.candles.window(length_ms)
        return (
            f'{{"e":"{name}Ticker","E":{now_ms},"s":"{spec.symbol}","p":"{spec.price_text(window.close - window.open)}"'
            f',"P":"{percent_text(window)}","o":"{spec.price_text(window.open)}","h":"{spec.price_text(window.high)}"'
            f',"l":"{spec.price_text(window.low)}","c":"{spec.price_text(window.close)}"'
            f',"w":"{average_text(spec, window)}","v":"{spec.quantity_text(window.volume)}"'
            f',"q":"{spec.quote_text(window.quote)}","O":{window.open_ms},"C":{now_ms},"F":{window.first_id}'
            f',"L":{window.last_id},"n":{window.trades}}}'
        ).encode()

    def average_price(self, instrument: Instrument, now_ms: int) -> bytes:
        """`@avgPrice`: `e,E,s,i,w,T`."""
        last = instrument.last
        return (
            f'{{"e":"avgPrice","E":{now_ms},"s":"{instrument.spec.symbol}","i":"{AVERAGE_MINUTES}m"'
            f',"w":"{recent_average_text(instrument, now_ms)}","T":{last.time_ms if last else now_ms}}}'
        ).encode()


class FuturesEncoder(Encoder):
    """USD-M futures payloads in the format since 2026-06-30 (`st`, `ps`, `ap`, `nq`)."""

    def trade(self, spec: SymbolSpec, trade: Trade, now_ms: int) -> bytes:
        """`e,E,T,s,t,p,q,X,m,st`."""
        return (
            f'{{"e":"trade","E":{now_ms},"T":{trade.time_ms},"s":"{spec.symbol}","t":{trade.trade_id}'
            f',"p":"{spec.price_text(trade.price)}","q":"{spec.quantity_text(trade.quantity)}","X":"MARKET"'
            f',"m":{_bool(trade.buyer_is_maker)},"st":1}}'
        ).encode()

    def agg_trade(self, spec: SymbolSpec, trade: AggTrade, now_ms: int) -> bytes:
        """`e,E,a,s,p,q,nq,f,l,T,m,st`."""
        quantity = spec.quantity_text(trade.quantity)
        return (
            f'{{"e":"aggTrade","E":{now_ms},"a":{trade.trade_id},"s":"{spec.symbol}"'
            f',"p":"{spec.price_text(trade.price)}","q":"{quantity}","nq":"{quantity}","f":{trade.first_id}'
            f',"l":{trade.last_id},"T":{trade.time_ms},"m":{_bool(trade.buyer_is_maker)},"st":1}}'
        ).encode()

    def book_ticker(self, spec: SymbolSpec, top: Top, now_ms: int) -> bytes:
        """`e,u,s,ps,b,B,a,A,T,E,st`."""
        return (
            f'{{"e":"bookTicker","u":{top.update_id},"s":"{spec.symbol}","ps":"{spec.symbol}",{_top(spec, top)}'
            f',"T":{now_ms},"E":{now_ms},"st":1}}'
        ).encode()

    def depth_update(self, spec: SymbolSpec, diff: Diff, now_ms: int) -> bytes:
        """`e,E,T,s,ps,U,u,pu,b,a,st`."""
        return _futures_depth(spec, diff, _falling(diff.bids), sorted(diff.asks.items()), now_ms)

    def partial_depth(self, instrument: Instrument, levels: int, previous_id: int, now_ms: int) -> bytes:
        """The same shape as `depth_update`."""
        book = instrument.book
        diff = Diff(min(previous_id + 1, book.update_id), book.update_id, previous_id, {}, {})
        return _futures_depth(instrument.spec, diff, book.bids.top(levels), book.asks.top(levels), now_ms)

    def ticker(self, instrument: Instrument, now_ms: int) -> bytes:
        """`e,E,s,ps,p,P,w,c,Q,o,h,l,v,q,O,C,F,L,n,st`."""
        spec, day, last = instrument.spec, instrument.candles.day(), instrument.last
        return (
            f'{{"e":"24hrTicker","E":{now_ms},"s":"{spec.symbol}","ps":"{spec.symbol}"'
            f',"p":"{spec.price_text(day.close - day.open)}","P":"{percent_text(day)}","w":"{average_text(spec, day)}"'
            f',"c":"{spec.price_text(day.close)}","Q":"{spec.quantity_text(last.quantity if last else 0)}"'
            f',{_day(spec, day)},"O":{day.open_ms},"C":{now_ms},"F":{day.first_id},"L":{day.last_id}'
            f',"n":{day.trades},"st":1}}'
        ).encode()

    def mini_ticker(self, instrument: Instrument, now_ms: int) -> bytes:
        """`e,E,s,c,o,h,l,v,q,ps,st`."""
        spec, day = instrument.spec, instrument.candles.day()
        return (
            f'{{"e":"24hrMiniTicker","E":{now_ms},"s":"{spec.symbol}","c":"{spec.price_text(day.close)}"'
            f',{_day(spec, day)},"ps":"{spec.symbol}","st":1}}'
        ).encode()

    def kline(self, spec: SymbolSpec, candle: Candle, interval: str, *, closed: bool, now_ms: int) -> bytes:
        """`e,E,s,k`, with a blank after each comma inside `k`, as the wire has it."""
        body = ", ".join(_candle(spec, candle, interval, closed=closed))
        return f'{{"e":"kline","E":{now_ms},"s":"{spec.symbol}","k":{{{body}}}}}'.encode()

    def continuous_kline(self, spec: SymbolSpec, candle: Candle, interval: str, *, closed: bool, now_ms: int) -> bytes:
        """`@continuousKline_<interval>` of the perpetual: `e,E,ps,ct,k`, compact; its ids are those of trades."""
        parts = _candle(spec, candle, interval, closed=closed)
        body = ",".join(part for part in parts if not part.startswith('"s":'))
        head = f'"e":"continuous_kline","E":{now_ms},"ps":"{spec.symbol}","ct":"PERPETUAL"'
        return f'{{{head},"k":{{{body}}}}}'.encode()

    def mark_price(self, spec: SymbolSpec, mark: Mark, now_ms: int) -> bytes:
        """`@markPrice`: `e,E,s,p,ap,P,i,r,T,st`."""
        price = to_text(mark.price, 8)
        return (
            f'{{"e":"markPriceUpdate","E":{now_ms},"s":"{spec.symbol}","p":"{price}","ap":"{price}","P":"{price}"'
            f',"i":"{to_text(mark.index, 8)}","r":"{to_text(mark.rate, 8)}","T":{mark.next_funding_ms},"st":1}}'
        ).encode()

    def force_order(self, spec: SymbolSpec, order: Liquidation, now_ms: int) -> bytes:
        """`@forceOrder`: `e,E,o`:{`s,S,o,f,q,p,ap,X,l,z,T,ps,st`}."""
        quantity = spec.quantity_text(order.quantity)
        return (
            f'{{"e":"forceOrder","E":{now_ms},"o":{{"s":"{spec.symbol}","S":"{order.side}","o":"LIMIT","f":"IOC"'
            f',"q":"{quantity}","p":"{spec.price_text(order.price)}","ap":"{spec.price_text(order.average)}"'
            f',"X":"FILLED","l":"{spec.quantity_text(order.last_quantity)}","z":"{quantity}","T":{order.time_ms}'
            f',"ps":"{spec.symbol}","st":1}}}}'
        ).encode()


SPOT: Final = SpotEncoder()
FUTURES: Final = FuturesEncoder()


def encoder_of(market: Market) -> Encoder:
    """The encoder of a market's payloads."""
    return SPOT if market is Market.SPOT else FUTURES


def percent_text(day: Candle) -> str:
    """Change over the day in percent, three decimals."""
    return ratio_text((day.close - day.open) * 100, day.open, 3)


def average_text(spec: SymbolSpec, day: Candle) -> str:
    """Volume-weighted average price."""
    decimals = spec.price_decimals
    average = day.quote // day.volume if day.volume else 0
    return to_text(average, decimals)


def recent_average_text(instrument: Instrument, now_ms: int) -> str:
    """Volume-weighted average price of the last AVERAGE_MINUTES; the last price where nothing was traded."""
    recent = instrument.recent(now_ms)
    return average_text(instrument.spec, recent) if recent.volume else instrument.spec.price_text(recent.close)


def levels_text(spec: SymbolSpec, levels: Levels) -> str:
    """Levels as JSON: `[["84551.00","2.646"]]`."""
    price, quantity = spec.price_text, spec.quantity_text
    return "[" + ",".join([f'["{price(p)}","{quantity(q)}"]' for p, q in levels]) + "]"


def _futures_depth(spec: SymbolSpec, diff: Diff, bids: Levels, asks: Levels, now_ms: int) -> bytes:
    return (
        f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{spec.symbol}","ps":"{spec.symbol}"'
        f',"U":{diff.first_id},"u":{diff.last_id},"pu":{diff.previous_id},"b":{levels_text(spec, bids)}'
        f',"a":{levels_text(spec, asks)},"st":1}}'
    ).encode()


def _falling(levels: dict[int, int]) -> Levels:
    return sorted(levels.items(), reverse=True)


def _bool(value: bool) -> str:  # noqa: FBT001 # turns one into text
    return "true" if value else "false"


def _top(spec: SymbolSpec, top: Top) -> str:
    return (
        f'"b":"{spec.price_text(top.bid)}","B":"{spec.quantity_text(top.bid_quantity)}"'
        f',"a":"{spec.price_text(top.ask)}","A":"{spec.quantity_text(top.ask_quantity)}"'
    )


def _day(spec: SymbolSpec, day: Candle) -> str:
    return (
        f'"o":"{spec.price_text(day.open)}","h":"{spec.price_text(day.high)}","l":"{spec.price_text(day.low)}"'
        f',"v":"{spec.quantity_text(day.volume)}","q":"{spec.quote_text(day.quote)}"'
    )


def _candle(spec: SymbolSpec, candle: Candle, interval: str, *, closed: bool) -> list[str]:
    # A futures candle prints a volume of nothing as "0".
    short_zero = spec.market is Market.FUTURES

    def volume(units: int) -> str:
        return "0" if short_zero and not units else spec.quantity_text(units)

    def quote(units: int) -> str:
        return "0" if short_zero and not units else spec.quote_text(units)

    name, _, zone = interval.partition("@")
    shift = 8 * 3_600_000 if zone else 0
    return [
        f'"t":{candle.open_ms}',
        f'"T":{close_time(name, candle.open_ms + shift) - shift}',
        f'"s":"{spec.symbol}"',
        f'"i":"{name}"',
        f'"f":{candle.first_id}',
        f'"L":{candle.last_id}',
        f'"o":"{spec.price_text(candle.open)}"',
        f'"c":"{spec.price_text(candle.close)}"',
        f'"h":"{spec.price_text(candle.high)}"',
        f'"l":"{spec.price_text(candle.low)}"',
        f'"v":"{volume(candle.volume)}"',
        f'"n":{candle.trades}',
        f'"x":{_bool(closed)}',
        f'"q":"{quote(candle.quote)}"',
        f'"V":"{volume(candle.taker_volume)}"',
        f'"Q":"{quote(candle.taker_quote)}"',
        '"B":"0"',
    ]
