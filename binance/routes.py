"""Which connection serves a stream: URLs, futures routes, and names in messages the server can take.

Sources: Binance "WebSocket Streams" (spot); "Important WebSocket Change Notice" and "Connect"
(USD-M futures, two routes since 2026-04-23). A futures stream on the wrong route is acknowledged
and stays silent, so that the choice below is all that stands between a client and nothing.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from binance.settings import Endpoints
from market.streams import ALL, ARRAY, PARTIAL_DEPTHS, WINDOW_TICKERS, Kind, Market, StreamName

MAX_STREAMS: Final = 1_024
"""Streams that one connection may carry, on either market."""

# The server stops answering when a whole client frame, header included, exceeds 4096 bytes
# (binance-connector-rust, issue 27); the envelope around the params takes under 96.
MAX_PARAMS_BYTES: Final = 4_000
MAX_PARAMS: Final = 200


class Route(StrEnum):
    """One kind of connection; the value is its prefix of the URL's path."""

    SPOT = ""
    FUTURES_PUBLIC = "/public"
    FUTURES_MARKET = "/market"
    FUTURES_PRIVATE = "/private"
    """User data, none of which is public: clients that open all three routes at once find it silent."""

    @property
    def market(self) -> Market:
        """The market whose streams the route carries."""
        return Market.SPOT if self is Route.SPOT else Market.FUTURES


# trade is undocumented on futures; it was seen on this route only.
_PUBLIC_KINDS: Final = PARTIAL_DEPTHS | {Kind.DEPTH, Kind.BOOK_TICKER, Kind.TRADE}

_ARRAY_KINDS: Final = {
    Market.SPOT: WINDOW_TICKERS | {Kind.MINI_TICKER},
    Market.FUTURES: frozenset({Kind.MINI_TICKER, Kind.TICKER, Kind.BOOK_TICKER, Kind.MARK_PRICE}),
}


def route_of(stream: StreamName) -> Route:
    """The route whose connections deliver `stream`."""
    if stream.market is Market.SPOT:
        return Route.SPOT
    return Route.FUTURES_PUBLIC if stream.kind in _PUBLIC_KINDS else Route.FUTURES_MARKET


def is_served(stream: StreamName) -> bool:
    """Whether Binance has such a stream: there are only a few for all symbols, and books are ours."""
    if stream.symbol == ARRAY:
        return stream.kind in _ARRAY_KINDS[stream.market]
    return stream.kind is Kind.FORCE_ORDER if stream.symbol == ALL else stream.kind is not Kind.BOOK


def combined_url(endpoints: Endpoints, route: Route, names: Iterable[str] = ()) -> str:
    """URL of a combined connection of `route`, subscribed to Binance's `names` from the start.

    Names are percent-encoded where they must be (symbols need not be ASCII). URLs near 8 kB are
    cut off by the server: subscribe long lists live (`batches`).
    """
    base = endpoints.spot_ws if route is Route.SPOT else endpoints.futures_ws
    streams = "/".join(quote(name, safe="@!+:") for name in names)
    return f"{base}{route}/stream" + (f"?streams={streams}" if streams else "")


def batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Split `names` into the params of as few SUBSCRIBE or UNSUBSCRIBE messages as the server can read."""
    batch: list[str] = []
    size = 0
    for name in names:
        # Two quotes and a comma around each.
        added = len(name.encode()) + 3
        if batch and (len(batch) == MAX_PARAMS or size + added > MAX_PARAMS_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += added
    if batch:
        yield batch
