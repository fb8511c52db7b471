"""The symbols of a market as exchangeInfo lists them, and the check of what a client asks for."""

from collections.abc import Iterable, Iterator
from typing import Final, Self

import msgspec
from msgspec import field

from market.errors import Code, MarketError
from market.streams import ALL, ARRAY, Market, StreamName


class SymbolInfo(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One symbol; `tick_size` and `step_size` are decimal strings (`0.01000000`). In JSON `tickSize` and so on."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    tick_size: str
    step_size: str

    @property
    def is_trading(self) -> bool:
        """Whether the exchange trades it now (not halted, not delisted)."""
        return self.status == "TRADING"


class _Filter(msgspec.Struct):
    kind: str = field(name="filterType")
    tick_size: str = field(name="tickSize", default="")
    step_size: str = field(name="stepSize", default="")


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    status: str = "TRADING"
    filters: list[_Filter] = []


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


_decode: Final = msgspec.json.Decoder(_ExchangeInfo).decode
_DEFAULT_STEP: Final = "0.00000001"


class Catalog:
    """The symbols of one market, by upper-case name. Immutable; a refresh makes a new one."""

    def __init__(self, market: Market, symbols: Iterable[SymbolInfo]) -> None:
        self.market = market
        self._by_name = {info.symbol: info for info in symbols}
        self.trading = tuple(sorted(name for name, info in self._by_name.items() if info.is_trading))
        # Of equally near names the last in the alphabet is meant: BTCUSD is BTCUSDT rather than BTCUSDC.
        self._near = {variant: name for name in self.trading for variant in _variants(name)}
        self._near |= {name: name for name in self.trading}

    @classmethod
    def from_exchange_info(cls, market: Market, body: bytes) -> Self:
        """The catalog in the response body of exchangeInfo. Raises msgspec.ValidationError."""
        return cls(market, (_symbol_info(symbol) for symbol in _decode(body).symbols))

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[SymbolInfo]:
        return iter(self._by_name.values())

    def __contains__(self, symbol: str) -> bool:
        return symbol.upper() in self._by_name

    def get(self, symbol: str) -> SymbolInfo | None:
        """What is known of `symbol` (any case), or None."""
        return self._by_name.get(symbol.upper())

    def check(self, stream: StreamName) -> None:
        """Raise MarketError (unknown_symbol with a suggestion, not_trading) unless `stream` can deliver."""
        if stream.symbol in (ALL, ARRAY):
            return
        info = self.get(stream.pair)
        name = stream.pair.upper()
        if info is None:
            suggestion = self.suggest(name)
            hint = f" Did you mean {suggestion}?" if suggestion else ""
            raise MarketError(Code.UNKNOWN_SYMBOL, f"Unknown {self.market} symbol: {name}.{hint}", suggestion)
        if not info.is_trading:
            raise MarketError(Code.NOT_TRADING, f"{name} is not trading ({info.status}).")

    def suggest(self, symbol: str) -> str | None:
        """The trading symbol that `symbol` most likely meant: a base asset's, or one of nearly that name; or None.

        Of an asset that is traded by the thousand (1000SHIBUSDT) both names lead to the one that there is.
        A name is near when one letter is missing, too many, wrong or misplaced. That costs a look-up a
        letter, and nothing more the more symbols there are: a request may hold a thousand wrong names.
        """
        name = symbol.upper()
        single = name.removeprefix("1000")
        for meant in (f"{name}USDT", f"1000{name}", f"1000{name}USDT", single, f"{single}USDT"):
            if self._near.get(meant) == meant:
                return meant
        return next((self._near[variant] for variant in _variants(name) if variant in self._near), None)


def _variants(name: str) -> list[str]:
    """`name`, and `name` without each of its letters: names one letter apart share one of these."""
    return [name, *(name[:at] + name[at + 1 :] for at in range(len(name)))]


def _symbol_info(symbol: _Symbol) -> SymbolInfo:
    tick = next((f.tick_size for f in symbol.filters if f.kind == "PRICE_FILTER"), _DEFAULT_STEP)
    step = next((f.step_size for f in symbol.filters if f.kind == "LOT_SIZE"), _DEFAULT_STEP)
    return SymbolInfo(symbol.symbol, symbol.status, symbol.base_asset, symbol.quote_asset, tick, step)
