"""Which REST requests serve a set of state streams at the least weight, and how their answers are read. Pure.

Sources: Binance "Market data endpoints" (spot), "Market Data" (USD-M futures); the weights are binance/weights.py's.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from binance import weights
from ingestor.rest_payloads import (
    LEVELS,
    RestDepth,
    RestMark,
    RestTicker,
    book,
    klines,
    mark_price,
    ticker,
)
from market.streams import ALL, ARRAY, Kind, Market, StreamName

POLLED_KINDS: Final = frozenset({Kind.TICKER, Kind.MINI_TICKER, Kind.KLINE, Kind.MARK_PRICE, *LEVELS})
MAX_SYMBOLS: Final = 20
"""Symbols of one spot `ticker/24hr`: as many as cost no more than one."""
ALL_TICKERS_FROM: Final = 40
ALL_MARKS_FROM: Final = 10
"""From so many symbols on, futures' answer about all of them costs no more."""

_Row = TypeVar("_Row")
_TICKERS: Final = frozenset({Kind.TICKER, Kind.MINI_TICKER})

_decode_tickers: Final = msgspec.json.Decoder(list[RestTicker] | RestTicker).decode
_decode_marks: Final = msgspec.json.Decoder(list[RestMark] | RestMark).decode
_decode_depth: Final = msgspec.json.Decoder(RestDepth).decode


class Poll(NamedTuple):
    """One request and the streams that its answer serves; `params` are pairs."""

    market: Market
    path: str
    params: tuple[tuple[str, str], ...]
    weight: int
    streams: tuple[StreamName, ...]


def is_polled(stream: StreamName) -> bool:
    """Whether the REST API has what `stream` says: the state of one symbol."""
    return stream.kind in POLLED_KINDS and stream.symbol not in (ALL, ARRAY)


def polls_for(streams: Iterable[StreamName]) -> Iterator[Poll]:
    """The requests that serve all of `streams`, each once."""
    tickers: dict[Market, dict[str, list[StreamName]]] = {}
    books: dict[tuple[Market, str], list[StreamName]] = {}
    marks: dict[str, list[StreamName]] = {}
    for stream in streams:
        if stream.kind in _TICKERS:
            tickers.setdefault(stream.market, {}).setdefault(stream.symbol, []).append(stream)
        elif stream.kind in LEVELS:
            books.setdefault((stream.market, stream.symbol), []).append(stream)
        elif stream.kind is Kind.MARK_PRICE:
            marks.setdefault(stream.symbol, []).append(stream)
        else:
            yield _kline_poll(stream)
    for market, by_symbol in tickers.items():
        yield from _spot_tickers(by_symbol) if market is Market.SPOT else _futures_tickers(by_symbol)
    for (market, symbol), served in books.items():
        limit = max(LEVELS[stream.kind] for stream in served)
        params = (("symbol", symbol.upper()), ("limit", str(limit)))
        yield Poll(market, "depth", params, weights.depth(market, limit), tuple(served))
    yield from _per_symbol("premiumIndex", marks, ALL_MARKS_FROM, weights.premium_index(1), weights.premium_index(0))


def read_answer(poll: Poll, body: bytes, event_ms: int) -> Iterator[tuple[StreamName, bytes]]:
    """What the answer to `poll` says on each of its streams; `event_ms` is the exchange's time when it was asked.

    Raises ValueError (msgspec.DecodeError) for what is no such answer.
    """
    if poll.path == "klines":
        (stream,) = poll.streams
        yield from ((stream, payload) for payload in klines(stream, body, event_ms))
    elif poll.path == "depth":
        depth = _decode_depth(body)
        yield from ((stream, payload) for stream in poll.streams if (payload := book(stream, depth)) is not None)
    elif poll.path == "premiumIndex":
        marks = {mark.symbol: mark for mark in _as_list(_decode_marks(body))}
        yield from ((s, mark_price(marks[s.symbol.upper()])) for s in poll.streams if s.symbol.upper() in marks)
    else:
        tickers = {rest.symbol: rest for rest in _as_list(_decode_tickers(body))}
        yield from (
            (s, ticker(s, tickers[s.symbol.upper()], event_ms)) for s in poll.streams if s.symbol.upper() in tickers
        )


def _kline_poll(stream: StreamName) -> Poll:
    interval, _, zone = stream.option.partition("@")
    params = [("symbol", stream.symbol.upper()), ("interval", interval), ("limit", "2")]
    if zone:
        params.append(("timeZone", "8"))
    return Poll(stream.market, "klines", tuple(params), weights.klines(stream.market, 2), (stream,))


def _spot_tickers(by_symbol: Mapping[str, list[StreamName]]) -> Iterator[Poll]:
    symbols = sorted(by_symbol)
    for at in range(0, len(symbols), MAX_SYMBOLS):
        part = symbols[at : at + MAX_SYMBOLS]
        names = msgspec.json.encode([symbol.upper() for symbol in part]).decode()
        served = tuple(stream for symbol in part for stream in by_symbol[symbol])
        weight = weights.ticker_24h(Market.SPOT, len(part))
        yield Poll(Market.SPOT, "ticker/24hr", (("symbols", names),), weight, served)


def _futures_tickers(by_symbol: Mapping[str, list[StreamName]]) -> Iterator[Poll]:
    one, every = weights.ticker_24h(Market.FUTURES, 1), weights.ticker_24h(Market.FUTURES, 0)
    yield from _per_symbol("ticker/24hr", by_symbol, ALL_TICKERS_FROM, one, every)


def _per_symbol(
    path: str, by_symbol: Mapping[str, list[StreamName]], all_from: int, one: int, every: int
) -> Iterator[Poll]:
    """Futures endpoints take one symbol or all."""
    if len(by_symbol) >= all_from:
        served = tuple(stream for streams in by_symbol.values() for stream in streams)
        yield Poll(Market.FUTURES, path, (), every, served)
        return
    for symbol, streams in by_symbol.items():
        yield Poll(Market.FUTURES, path, (("symbol", symbol.upper()),), one, tuple(streams))


def _as_list(found: list[_Row] | _Row) -> list[_Row]:
    return found if isinstance(found, list) else [found]
