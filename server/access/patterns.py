"""Patterns of stream names, with which a grant says what it covers. Pure.

`*`, or `<market>:<symbol>[@<kind>]`: the market by name or `*`; in the symbol and the kind, which is written as in
a stream's name (`kline_1m`, `depth@100ms`), each `*` stands for any characters. Without a kind it means every kind.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from market.streams import ALL, ARRAY, Market, StreamName

MAX_LENGTH: Final = 100
"""Characters of one pattern."""
_ANY: Final = "*"
_MARKETS: Final = frozenset([_ANY, *Market])


class Pattern(NamedTuple):
    """One pattern, taken apart."""

    market: str
    symbol: str
    kind: str

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """The pattern in `text`; symbols in any case. Raises ValueError for what is none."""
        if text == _ANY:
            return cls(_ANY, _ANY, _ANY)
        market, colon, name = text.partition(":")
        symbol, at, kind = name.partition("@")
        is_whole = colon and symbol and (kind or not at)
        if not is_whole or market not in _MARKETS or ":" in symbol or len(text) > MAX_LENGTH or not text.isprintable():
            raise ValueError(f"not a pattern of streams: {text[:MAX_LENGTH]!r}")
        return cls(market, symbol.lower(), kind or _ANY)

    def matches(self, market: str, symbol: str, kind: str) -> bool:
        """Whether a stream of these three parts fits. ALL as the symbol fits where every symbol does."""
        return self.market in (_ANY, market) and _fits(self.symbol, symbol) and _fits(self.kind, kind)


class Patterns:
    """The patterns of one grant; those of one symbol are found by it."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._by_symbol: dict[str, list[Pattern]] = {}
        self._others: list[Pattern] = []
        for pattern in map(Pattern.parse, texts):
            if _ANY in pattern.symbol:
                self._others.append(pattern)
            else:
                self._by_symbol.setdefault(pattern.symbol, []).append(pattern)

    def match(self, market: str, symbol: str, kind: str) -> bool:
        """Whether one of them fits a stream of these three parts; the symbol in lower case."""
        found = [*self._by_symbol.get(symbol, ()), *self._others]
        return any(pattern.matches(market, symbol, kind) for pattern in found)


@lru_cache(maxsize=1024)
def compiled(texts: tuple[str, ...]) -> Patterns:
    """The patterns of `texts`, shared by all who have the same. Raises ValueError for what is none."""
    return Patterns(texts)


def parts_of(stream: StreamName) -> tuple[str, str, str]:
    """Market, symbol and kind of a stream. Binance's all-market streams tell of every symbol, as ALL does."""
    if stream.symbol == ARRAY:
        stream = msgspec.structs.replace(stream, symbol=ALL)
    market, _, name = str(stream).partition(":")
    symbol, _, kind = name.partition("@")
    return market, symbol, kind


def _fits(pattern: str, text: str) -> bool:
    """Whether `text` is `pattern`, in which each `*` stands for any characters; linear in the text for each `*`."""
    first, *others = pattern.split(_ANY)
    if not others:
        return pattern == text
    *middle, last = others
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(text) - at >= len(last) and text.endswith(last)
