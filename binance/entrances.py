"""Where clients of Binance's WebSocket protocol come in, and the rules that hold there: server side, pure.

Shared by the exchange stand-in and by our own Binance-compatible door. One port serves both markets:
a path without a market's prefix is spot's, or says by its route (`/public`, `/market`) that it is
futures'; `/spot` and `/futures` may stand before every path. Sources: Binance "WebSocket Streams"
(spot); "Connect" and "Important WebSocket Change Notice" (USD-M futures).
"""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from binance.errors import BinanceError
from binance.routes import Route, is_served, route_of
from market.errors import MarketError
from market.streams import Market, StreamName

MESSAGES_PER_SECOND: Final = {Market.SPOT: 5, Market.FUTURES: 10}
"""Messages (texts, pings and pongs) that one connection may send in any second."""
PING_S: Final = {Market.SPOT: 20.0, Market.FUTURES: 180.0}
"""Seconds between two pings of the server's."""
PONG_S: Final = {Market.SPOT: 60.0, Market.FUTURES: 600.0}
"""Seconds within which a ping must be answered with a copy of its payload."""
MAX_MESSAGE_BYTES: Final = 256 * 1024
"""The largest client message that is read; SUBSCRIBE with 1024 streams takes some 40 kB."""

_MILLISECOND: Final = "millisecond"


class Entrance(NamedTuple):
    """A path on which WebSockets open: raw ones at `/ws[/<name>/<name>]`, combined ones at `/stream?streams=`.

    `route` is None at futures' root of the time before the routes: it delivers all streams of the
    market. Binance's own delivers the `/public` class only since 2026-04-23.
    """

    path: str
    market: Market
    route: Route | None
    combined: bool

    def stream_of(self, name: str) -> StreamName | None:
        """The stream that comes here under `name`; None for a name that is acknowledged and stays silent."""
        try:
            stream = StreamName.parse(name, self.market)
        except MarketError:
            return None
        # Names are case-sensitive, symbols included.
        if stream.binance_name != name or not is_served(stream):
            return None
        return stream if self.route in (None, route_of(stream)) else None


def _entrances() -> tuple[Entrance, ...]:
    found = []
    for tail, combined in (("/ws", False), ("/stream", True)):
        for route in Route:
            prefixes = ("", "/spot") if route is Route.SPOT else ("", "/futures")
            found += [Entrance(f"{prefix}{route}{tail}", route.market, route, combined) for prefix in prefixes]
        found.append(Entrance(f"/futures{tail}", Market.FUTURES, None, combined))
    return tuple(found)


ENTRANCES: Final = _entrances()


def names_in_path(rest: str) -> list[str]:
    """The streams that follow `/ws/` in a path."""
    return [name for name in rest.split("/") if name]


def names_in_query(raw_query: str) -> list[str]:
    """The streams of a percent-encoded `streams=<s1>/<s2>`. A plus sign stands for itself, unlike in forms."""
    for part in raw_query.split("&"):
        key, _, value = part.partition("=")
        if key == "streams":
            return names_in_path(unquote(value))
    return []


def check_time_unit(raw_query: str) -> None:
    """Raise BinanceError (-1130) where a URL asks for microseconds: payloads are passed on as they are, in ms."""
    for key, value in parse_qsl(raw_query, keep_blank_values=True):
        if key == "timeUnit" and value.lower() != _MILLISECOND:
            raise BinanceError(-1130, "Data sent for parameter 'timeUnit' is not valid.", 400)
