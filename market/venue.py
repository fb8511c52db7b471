"""The venue contract: what an exchange has to offer to be carried, and what can go wrong when it is asked. Pure.

A venue is an exchange company with one or more markets: `binance/` and `bybit/` each implement this for
theirs. Its streams come through a `VenueCarrier`, in Binance's payload shapes (market/payloads.py); symbol lists
and candles come through a `VenueRest`. A venue's own words for streams, its URLs and its limits stay with it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from market.streams import Market, StreamName
from market.symbols import Catalog

MessageCallback: TypeAlias = Callable[[StreamName, bytes, int], None]
"""Called with stream, payload and receive time in us since the epoch; must not raise or wait."""


class Venue(StrEnum):
    """The exchanges that can be carried."""

    BINANCE = "binance"
    BYBIT = "bybit"


class Tally(msgspec.Struct):
    """What all connections of one route of a market have brought, closed ones included."""

    market: Market
    route: str
    """Which of the market's URLs: `public` and `market` of Binance's futures, else `stream`."""
    messages: int = 0


class VenueConnection(Protocol):
    """One connection to a venue that stays: lost, it is opened again for ever."""

    connected: bool
    settled: bool
    """Whether the exchange has answered for every stream that is wanted."""
    tally: Tally
    """Where its messages are counted."""

    @property
    def lost(self) -> bool:
        """Whether its streams go without it: it was open, or has been opening for too long."""

    @property
    def last_message_ms(self) -> int:
        """When the latest message came, in ms since the epoch; 0 = none yet."""

    @property
    def stalled(self) -> frozenset[StreamName]:
        """Streams that stay silent although the connection is well."""

    def want(self, streams: Iterable[StreamName]) -> None:
        """Carry exactly `streams` from now on; returns at once."""

    async def close(self) -> None:
        """End the connection. Nothing is handed over afterwards."""


class VenueCarrier(Protocol):
    """How a venue's streams are carried: it says which go over one connection, and opens those.

    Connections hand each message to a MessageCallback, each stream's in the exchange's order; a callback
    without arguments is called when `connected` or `settled` changes.
    """

    def parts(self, streams: Iterable[StreamName]) -> Mapping[Hashable, list[StreamName]]:
        """The streams of each connection; the same streams always give the same parts."""

    def open(self, streams: Iterable[StreamName]) -> VenueConnection:
        """A connection for the streams of one part, started, that wants nothing yet."""

    @property
    def tallies(self) -> Iterable[Tally]:
        """What came over its connections, by market and route."""

    async def close(self) -> None:
        """Close what connections share; they are closed by then."""


class VenueRest(Protocol):
    """Answers for a venue's markets, within its limits. Every request raises RestError."""

    @property
    def bases(self) -> Mapping[Market, str]:
        """The base URL that answers for each of its markets."""

    async def catalog(self, market: Market) -> Catalog:
        """The symbols of `market`. Raises msgspec.DecodeError for a body that lists none."""

    async def klines(
        self,
        market: Market,
        symbol: str,
        interval: str,
        limit: int = 500,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> bytes:
        """A JSON array of candles in ascending order, rows of Binance's 12 columns; the last is normally open.

        With `start_ms` the oldest from there, with `end_ms` alone the latest up to it; `limit` is at most 1000.
        """


class RestError(Exception):
    """A REST request brought no result."""


class RateLimited(RestError):  # noqa: N818 # says what happened, like Unreachable
    """No request may be sent for `retry_after_s` seconds.

    `http_status` is the exchange's own answer (Binance: 429, or 418 for banned; Bybit: 403) while it has
    said so, and None where our own budget is spent and nothing was sent. Sources: Binance "Limits",
    Bybit v5 "Rate Limit Rules".
    """

    def __init__(self, retry_after_s: float, message: str, http_status: int | None = None) -> None:
        super().__init__(f"{message} Retry after {retry_after_s:.1f} s.")
        self.retry_after_s = retry_after_s
        self.message = message
        self.http_status = http_status


class Unreachable(RestError):  # noqa: N818 # a state, not a mistake of anybody
    """No whole answer came: no connection, a broken one, a timeout, or a body past the limit."""
