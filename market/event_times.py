"""When the exchange says that something happened. Pure."""

from typing import Final

_EVENT_TIME: Final = b'"E":'
_DIGITS: Final = 13
"""Times in ms since the epoch have so many until the year 2286."""


def event_ms(payload: bytes) -> int | None:
    """The event time `E` of a payload, of an array its first element's, in ms since the epoch.

    None where there is none: spot's `bookTicker` and partial depth. Source: Binance "WebSocket Streams" (spot),
    "Websocket Market Streams" (USD-M futures).
    """
    at = payload.find(_EVENT_TIME)
    if at < 0:
        return None
    digits = payload[at + len(_EVENT_TIME) : at + len(_EVENT_TIME) + _DIGITS]
    return int(digits) if len(digits) == _DIGITS and digits.isdigit() else None
