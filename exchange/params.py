"""REST parameters, read with Binance's own complaints (Binance, "Error codes", -10xx and -11xx)."""

import json
import re
from collections.abc import Iterable
from typing import Final

from exchange.venue import Instrument, Venue
from market.intervals import FUTURES_INTERVALS, SPOT_INTERVALS
from market.streams import Market

_SYMBOL_RANGE: Final = r"^[\w\-._&&[^a-z]]{1,50}$"
_SYMBOL: Final = re.compile(r"[\w.&-]{1,50}\Z")
_INTEGER: Final = re.compile(r"\d{1,20}\Z")


class RestError(ValueError):
    """A request that is refused with HTTP 400: Binance's code and text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid_symbol() -> RestError:
    """-1121."""
    return RestError(-1121, "Invalid symbol.")


def not_valid(name: str) -> RestError:
    """-1130."""
    return RestError(-1130, f"Data sent for parameter '{name}' is not valid.")


class Params:
    """The query of one request. Raises RestError from every method that dislikes what it finds."""

    def __init__(self, market: Market, query: Iterable[tuple[str, str]], known: frozenset[str]) -> None:
        self.market = market
        self._values = dict(query)
        unknown = self._values.keys() - known
        # Futures does not mind.
        if unknown and market is Market.SPOT:
            expected = len(self._values) - len(unknown)
            message = f"Too many parameters; expected '{expected}' and received '{len(self._values)}'."
            raise RestError(-1101, message)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """A parameter as it was sent."""
        return self._values.get(name, default)

    def integer(self, name: str) -> int | None:
        """A non-negative integer, or None where it was not sent."""
        text = self._values.get(name)
        if text is None:
            return None
        if not text:
            raise RestError(-1105, f"Parameter '{name}' was empty.")
        if not _INTEGER.match(text):
            message = f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'."
            raise RestError(-1100, message)
        return int(text)

    def interval(self) -> str:
        """The kline interval."""
        text = self._values.get("interval")
        if not text:
            raise _missing("interval")
        if text not in (SPOT_INTERVALS if self.market is Market.SPOT else FUTURES_INTERVALS):
            raise RestError(-1120, "Invalid interval.")
        return text

    def instrument(self, venue: Venue) -> Instrument:
        """The instrument of the mandatory `symbol`."""
        if not self._values.get("symbol"):
            raise _missing("symbol")
        return self._find(venue, self._values["symbol"], "symbol")

    def instruments(self, venue: Venue) -> tuple[list[Instrument], bool]:
        """The instruments of `symbol`, `symbols` (spot) or all; true = the answer is one object, not a list."""
        plural = self.market is Market.SPOT and "symbols" in self._values
        if plural and "symbol" in self._values:
            raise RestError(-1128, "Combination of optional parameters invalid.")
        if plural:
            return [self._find(venue, name, "symbols") for name in self._symbols()], False
        if "symbol" in self._values:
            return [self.instrument(venue)], True
        return venue.of(self.market), False

    def _symbols(self) -> list[str]:
        try:
            names = json.loads(self._values["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            message = (
                "Illegal characters found in parameter 'symbols'; legal range is "
                r"'^\[(\"[\w\-._&&[^a-z]]{1,50}\"(,\"[\w\-._&&[^a-z]]{1,50}\"){0,}){0,1}\]$'."
            )
            raise RestError(-1100, message)
        return list(dict.fromkeys(names))

    def _find(self, venue: Venue, name: str, parameter: str) -> Instrument:
        if not _SYMBOL.match(name) or (self.market is Market.SPOT and name != name.upper()):
            message = f"Illegal characters found in parameter '{parameter}'; legal range is '{_SYMBOL_RANGE}'."
            raise RestError(-1100, message)
        instrument = venue.get(self.market, name)
        if instrument is None:
            raise invalid_symbol()
        return instrument


def _missing(name: str) -> RestError:
    return RestError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
