"""Derived views: what documents 002, 003 and 004 send, computed from one payload. Pure functions.

A view is bytes of JSON, made once per message and shared by all its receivers.
"""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from market.payloads import BookTicker, Ticker

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that a JavaScript number holds exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""


class PriceUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """Document 002's `price_update`; numbers, `timestamp` in ISO 8601 without a zone (UTC)."""

    symbol: str
    price: float
    volume: float
    high: float
    low: float
    change: float
    change_percent: float
    timestamp: str


class CryptoUpdate(msgspec.Struct, frozen=True):
    """Document 003's `crypto:update`; `change` is the 24 h change as `0.02%`, `ts` in ms."""

    symbol: str
    price: float
    change: str
    ts: int


class ScaledPrice(msgspec.Struct, frozen=True, rename="camel"):
    """The `data` of document 004's `PRICE_UPDATE`: integers scaled by 10^decimals, `time` in s."""

    symbol: str
    bid_price: int
    ask_price: int
    decimals: int
    time: int


SCALED_DECIMALS: Final = 4
"""The decimals of document 004's example, which its clients may take for granted."""

_encode: Final = msgspec.json.Encoder().encode


def price_update(ticker: Ticker) -> bytes:
    """Document 002's `price_update` from the 24 h ticker."""
    moment = datetime.fromtimestamp(ticker.event_ms / 1000, UTC).replace(tzinfo=None)
    return _encode(
        PriceUpdate(
            symbol=ticker.symbol,
            price=float(ticker.last),
            volume=float(ticker.volume),
            high=float(ticker.high),
            low=float(ticker.low),
            change=float(ticker.change),
            change_percent=float(ticker.change_percent),
            timestamp=moment.isoformat(timespec="milliseconds"),
        )
    )


def crypto_update(asset: str, ticker: Ticker, ts_ms: int) -> bytes:
    """Document 003's `crypto:update` for `asset` (`BTC`), sent at `ts_ms`."""
    # Adding 0.0 turns a rounded -0.0 into 0.0: no client wants to read "-0.00%".
    percent = round(float(ticker.change_percent), 2) + 0.0
    return _encode(CryptoUpdate(asset, float(ticker.last), f"{percent:.2f}%", ts_ms))


def scaled_price(asset: str, book: BookTicker, decimals: int, time_s: int) -> bytes:
    """Document 004's price of `asset` from the best bid and ask, exact: no float on the way.

    Raises ValueError where a price has more than `decimals` digits after the point that matter,
    or exceeds what a JavaScript number can hold.
    """
    bid, ask = _scale(book.bid, decimals), _scale(book.ask, decimals)
    return _encode(ScaledPrice(asset, bid, ask, decimals, time_s))


def price_decimals(book: BookTicker, tick_size: str | None) -> int:
    """The decimals that make document 004's prices of one symbol exact: 4, or more where its tick is finer.

    The tick is what the symbol list says (None while it is unknown); a price that is finer still,
    as after a change of the tick, gets the decimals that it needs. Raises ValueError for what is
    no price.
    """
    return max(SCALED_DECIMALS, decimals_of(tick_size or "1"), decimals_of(book.bid), decimals_of(book.ask))


def decimals_of(step: str) -> int:
    """How many digits after the point a price, tick or step size (`0.01000000`) needs: 2."""
    return max(0, -int(_decimal(step).normalize().as_tuple().exponent))


def _scale(price: str, decimals: int) -> int:
    scaled = _decimal(price).scaleb(decimals)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{price} does not fit {decimals} decimals")
    if abs(scaled) > MAX_SAFE_INTEGER:
        raise ValueError(f"{price} with {decimals} decimals exceeds a safe integer")
    return int(scaled)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an ArithmeticError
        raise ValueError(f"{text[:40]} is no decimal number") from None
