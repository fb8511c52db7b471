"""REST parameters, server side, read with Binance's own complaints ("Error codes", -10xx and -11xx). Pure."""

import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, TypeAlias

from binance.errors import BinanceError
from market.intervals import FUTURES_INTERVALS, HOUR_MS, MINUTE_MS, SPOT_INTERVALS
from market.streams import Market

IsListed: TypeAlias = Callable[[str], bool]
"""Whether the market lists this upper-case symbol."""

_SYMBOL_RANGE: Final = r"^[\w\-._&&[^a-z]]{1,50}$"
_SYMBOL: Final = re.compile(r"[\w.&-]{1,50}\Z")
_INTEGER: Final = re.compile(r"[0-9]{1,20}\Z")
_ZONE: Final = re.compile(r"(?P<sign>[+-]?)(?P<hours>[0-9]{1,2})(?::(?P<minutes>00|15|30|45))?\Z")
_ZONES_MS: Final = range(-12 * HOUR_MS, 14 * HOUR_MS + 1)
_MAX_SYMBOLS: Final = 1_000


def refused(code: int, message: str) -> BinanceError:
    """A refusal with HTTP 400."""
    return BinanceError(code, message, HTTPStatus.BAD_REQUEST)


def not_valid(name: str) -> BinanceError:
    """-1130."""
    return refused(-1130, f"Data sent for parameter '{name}' is not valid.")


class Params:
    """The query of one request. Raises BinanceError from every method that dislikes what it finds.

    `sent` holds the parameters that the endpoint knows, as they came.
    """

    def __init__(self, market: Market, query: Iterable[tuple[str, str]], known: frozenset[str]) -> None:
        self.market = market
        values = dict(query)
        self.sent = {name: value for name, value in values.items() if name in known}
        # Futures does not mind.
        if len(self.sent) < len(values) and market is Market.SPOT:
            message = f"Too many parameters; expected '{len(self.sent)}' and received '{len(values)}'."
            raise refused(-1101, message)

    def __contains__(self, name: str) -> bool:
        return name in self.sent

    def text(self, name: str, default: str = "") -> str:
        """A parameter as it was sent."""
        return self.sent.get(name, default)

    def choice(self, name: str, default: str | None, choices: frozenset[str]) -> str:
        """One of `choices`; without a default it is mandatory."""
        text = self.sent.get(name, default)
        if text is None:
            raise _missing(name)
        if text not in choices:
            raise not_valid(name)
        return text

    def integer(self, name: str) -> int | None:
        """A non-negative integer, or None where it was not sent."""
        text = self.sent.get(name)
        if text is None:
            return None
        if not text:
            raise refused(-1105, f"Parameter '{name}' was empty.")
        if not _INTEGER.match(text):
            raise _illegal(name, "^[0-9]{1,20}$")
        return int(text)

    def limit(self, default: int, most: int) -> int:
        """`limit`; spot takes too many for as many as there may be, futures refuses."""
        limit = self.integer("limit")
        if limit is None:
            return default
        if limit == 0 or (limit > most and self.market is Market.FUTURES):
            raise not_valid("limit")
        return min(limit, most)

    def interval(self) -> str:
        """The kline interval."""
        text = self.sent.get("interval")
        if not text:
            raise _missing("interval")
        if text not in (SPOT_INTERVALS if self.market is Market.SPOT else FUTURES_INTERVALS):
            raise refused(-1120, "Invalid interval.")
        return text

    def zone_ms(self) -> int:
        """`timeZone` (`8`, `-1:00`, `05:45`; -12:00 to +14:00) as the offset from UTC in ms."""
        zone = _ZONE.match(self.sent.get("timeZone", "0"))
        if zone is None:
            raise not_valid("timeZone")
        offset = int(zone["hours"]) * HOUR_MS + int(zone["minutes"] or 0) * MINUTE_MS
        offset = -offset if zone["sign"] == "-" else offset
        if offset not in _ZONES_MS:
            raise not_valid("timeZone")
        return offset

    def symbol(self, is_listed: IsListed, parameter: str = "symbol") -> str:
        """The mandatory `symbol`, or a symbol in another parameter."""
        name = self.sent.get(parameter)
        if not name:
            raise _missing(parameter)
        return self._checked(name, parameter, is_listed)

    def symbols(self, is_listed: IsListed) -> tuple[tuple[str, ...], bool]:
        """The names in `symbol` or `symbols` (spot), none = all; true = the answer is one object, not a list."""
        plural = self.market is Market.SPOT and "symbols" in self.sent
        if plural and "symbol" in self.sent:
            raise refused(-1128, "Combination of optional parameters invalid.")
        if plural:
            return tuple(self._checked(name, "symbols", is_listed) for name in self._symbols()), False
        if "symbol" in self.sent:
            return (self.symbol(is_listed),), True
        return (), False

    def count(self) -> int:
        """How many symbols the request is for, 0 = all; what it costs depends on that."""
        if self.market is Market.SPOT and "symbols" in self.sent:
            return self.sent["symbols"].count('"') // 2
        return 1 if "symbol" in self.sent else 0

    def _symbols(self) -> list[str]:
        try:
            names = json.loads(self.sent["symbols"])
        except (ValueError, RecursionError):
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise _illegal("symbols", r"^\[(\"[\w\-._&&[^a-z]]{1,50}\"(,\"[\w\-._&&[^a-z]]{1,50}\"){0,}){0,1}\]$")
        if len(names) > _MAX_SYMBOLS:
            raise not_valid("symbols")
        return list(dict.fromkeys(names))

    def _checked(self, name: str, parameter: str, is_listed: IsListed) -> str:
        if not _SYMBOL.match(name) or (self.market is Market.SPOT and name != name.upper()):
            raise _illegal(parameter, _SYMBOL_RANGE)
        if not is_listed(name):
            raise refused(-1121, "Invalid symbol.")
        return name


def _illegal(name: str, legal: str) -> BinanceError:
    return refused(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def _missing(name: str) -> BinanceError:
    return refused(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
