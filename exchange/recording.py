"""What a recording holds, as far as an exchange that replays it must know before it begins."""

from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
import structlog

from binance.recordings import RecordedMessage
from exchange.fixed import decimals_used
from exchange.recorded_books import read_as_exchange
from exchange.symbols import SPOT_DECIMALS, SymbolSpec
from market.errors import MarketError
from market.streams import ALL, ARRAY, PARTIAL_DEPTHS, Kind, Market, StreamName

_SAMPLES: Final = 200
_QUOTES: Final = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL")

_log = structlog.get_logger(__name__)


class Levels(msgspec.Struct):
    """The levels of a depth snapshot or update, under either of their names; `u` or `lastUpdateId` dates it."""

    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    b: list[tuple[str, str]] = []
    a: list[tuple[str, str]] = []
    last_update_id: int = msgspec.field(name="lastUpdateId", default=0)
    u: int = 0


decode_levels: Final = msgspec.json.Decoder(Levels).decode


class _Prices(msgspec.Struct):
    p: str = ""
    q: str = ""


class _Quote(msgspec.Struct):
    b: str = ""
    B: str = ""
    a: str = ""
    A: str = ""


class _Ohlc(msgspec.Struct):
    o: str
    h: str
    l: str  # noqa: E741 # the wire's letter
    c: str
    v: str


class _Kline(msgspec.Struct):
    k: _Ohlc


class Contents(msgspec.Struct):
    """What a recording holds: its symbols, the streams that have a name of ours, and how many messages.

    `books` are the symbols of which a REST depth answer was recorded, in upper case.
    """

    specs: list[SymbolSpec]
    streams: set[StreamName]
    messages: int
    books: set[tuple[Market, str]]


def survey(path: Path) -> Contents:
    """Read a recording once and see what it holds. Decimals, ticks and steps are those of its first messages."""
    streams: dict[tuple[Market, str], StreamName | None] = {}
    sightings: dict[tuple[Market, str], _Sighting] = {}
    books: set[tuple[Market, str]] = set()
    count = 0
    for message in read_as_exchange(path):
        count += 1
        if message.stream is None:
            symbol, stream = depth_symbol(message.path), None
            if symbol is not None:
                books.add((message.market, symbol))
        else:
            key = (message.market, message.stream)
            if key not in streams:
                streams[key] = _stream_of(message.market, message.stream)
            stream = streams[key]
            symbol = stream.pair.upper() if stream is not None and stream.symbol not in (ALL, ARRAY) else None
        if symbol is not None:
            sightings.setdefault((message.market, symbol), _Sighting()).look(message, stream)
    specs = [sighting.spec(market, symbol) for (market, symbol), sighting in sightings.items()]
    return Contents(specs, {stream for stream in streams.values() if stream is not None}, count, books)


def depth_symbol(path: str) -> str | None:
    """The upper-case symbol of a recorded depth request, None for any other path."""
    parts = urlsplit(path)
    if not parts.path.endswith("/depth"):
        return None
    return dict(parse_qsl(parts.query)).get("symbol", "").upper() or None


def _stream_of(market: Market, name: str) -> StreamName | None:
    try:
        return StreamName.parse(name, market)
    except MarketError:
        return None


class _Sighting:
    """The prices and quantities seen of one symbol, as far as its decimals go."""

    def __init__(self) -> None:
        self._seen: dict[str | None, int] = {}
        self._decimals = [0, 0]
        self._used = [0, 0]

    def look(self, message: RecordedMessage, stream: StreamName | None) -> None:
        """Learn from one message, at most _SAMPLES of a stream."""
        seen = self._seen.get(message.stream, 0)
        if seen >= _SAMPLES:
            return
        self._seen[message.stream] = seen + 1
        try:
            for price, quantity in _samples(message.payload, stream):
                self._learn(0, price)
                self._learn(1, quantity)
        except msgspec.DecodeError as error:
            _log.warning("recorded message not understood", stream=message.stream, error=str(error))

    def spec(self, market: Market, symbol: str) -> SymbolSpec:
        """What was learnt."""
        quote = next((quote for quote in _QUOTES if symbol.endswith(quote)), "USDT")
        spot = market is Market.SPOT
        price_decimals, quantity_decimals = (SPOT_DECIMALS, SPOT_DECIMALS) if spot else self._decimals
        return SymbolSpec(
            market=market,
            symbol=symbol,
            base=symbol.removesuffix(quote) or symbol,
            quote=quote,
            price_decimals=price_decimals,
            quantity_decimals=quantity_decimals,
            tick=10 ** (price_decimals - self._used[0]),
            step=10 ** (quantity_decimals - self._used[1]),
        )

    def _learn(self, which: int, text: str) -> None:
        self._decimals[which] = max(self._decimals[which], len(text.partition(".")[2]))
        self._used[which] = max(self._used[which], decimals_used(text))


def _samples(payload: bytes, stream: StreamName | None) -> list[tuple[str, str]]:
    """Prices and quantities of one payload; `stream` is None for a depth snapshot."""
    kind = stream.kind if stream is not None else Kind.DEPTH
    if kind is Kind.DEPTH or kind in PARTIAL_DEPTHS:
        levels = decode_levels(payload)
        return levels.b + levels.a + levels.bids + levels.asks
    if kind in (Kind.TRADE, Kind.AGG_TRADE):
        prices = msgspec.json.decode(payload, type=_Prices)
        return [(prices.p, prices.q)]
    if kind is Kind.BOOK_TICKER:
        quote = msgspec.json.decode(payload, type=_Quote)
        return [(quote.b, quote.B), (quote.a, quote.A)]
    if kind is Kind.KLINE:
        candle = msgspec.json.decode(payload, type=_Kline).k
        return [(price, candle.v) for price in (candle.o, candle.h, candle.l, candle.c)]
    return []
