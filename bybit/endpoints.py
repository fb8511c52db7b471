"""Where Bybit's public spot market is. Sources: Bybit v5 "Connect" and "Integration Guidance"."""

from typing import Final, NamedTuple


class Endpoints(NamedTuple):
    """The URL of the public spot connection, and the base URL of REST without a trailing slash."""

    ws: str
    rest: str


BYBIT: Final = Endpoints(ws="wss://stream.bybit.com/v5/public/spot", rest="https://api.bybit.com")


def endpoints(stand_in: str | None) -> Endpoints:
    """Bybit's own endpoints, or those below the base URL of a stand-in (`http://127.0.0.1:9100/bybit`)."""
    if stand_in is None:
        return BYBIT
    base = stand_in.rstrip("/")
    return Endpoints(ws=f"{base.replace('http', 'ws', 1)}/v5/public/spot", rest=base)
