"""The symbols that the exchange lists: what their prices look like, and how exchangeInfo shows them."""

import random
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from exchange.fixed import decimals_used, to_text, to_units
from market.streams import Market

SPOT_DECIMALS: Final = 8
"""Spot prints every price and quantity with 8 decimals."""
MAX_SYMBOLS: Final = 500


class SymbolSpec(msgspec.Struct, frozen=True):
    """One symbol of one market. Prices and quantities are integers in units of 10^-decimals.

    `tick` and `step` (the smallest differences of prices and quantities) are in those units.
    Price times quantity is in units of 10^-(price_decimals + quantity_decimals).
    """

    market: Market
    symbol: str
    base: str
    quote: str
    price_decimals: int
    quantity_decimals: int
    tick: int
    step: int

    def price_text(self, units: int) -> str:
        """A price as Binance prints it."""
        return to_text(units, self.price_decimals)

    def quantity_text(self, units: int) -> str:
        """A quantity as Binance prints it."""
        return to_text(units, self.quantity_decimals)

    def quote_text(self, units: int) -> str:
        """Price times quantity as Binance prints it: 8 decimals on spot, all that there are on futures."""
        if self.market is Market.SPOT:
            return to_text(units // 10**SPOT_DECIMALS, SPOT_DECIMALS)
        return to_text(units, self.price_decimals + self.quantity_decimals)


class Listing(msgspec.Struct, frozen=True):
    """A simulated symbol and where its price lives; `price` is in units of its spec."""

    spec: SymbolSpec
    price: int


# Base asset, price, spot tick, spot step, futures tick, futures price decimals, futures step,
# units of the asset in one futures contract (1000SHIB).
_REAL: Final = (
    ("BTC", "84500", "0.01", "0.00001", "0.1", 2, "0.001", 1),
    ("ETH", "2690", "0.01", "0.0001", "0.01", 2, "0.001", 1),
    ("BNB", "910", "0.01", "0.001", "0.01", 3, "0.01", 1),
    ("SOL", "142", "0.01", "0.001", "0.01", 4, "0.01", 1),
    ("ADA", "0.61", "0.0001", "0.1", "0.0001", 5, "1", 1),
    ("XRP", "2.15", "0.0001", "0.1", "0.0001", 4, "0.1", 1),
    ("DOGE", "0.168", "0.00001", "1", "0.00001", 6, "1", 1),
    ("SHIB", "0.00001244", "0.00000001", "1", "0.000001", 7, "1", 1000),
    ("TRX", "0.248", "0.0001", "0.1", "0.00001", 5, "1", 1),
    ("AVAX", "21.4", "0.01", "0.01", "0.001", 4, "1", 1),
    ("DOT", "4.12", "0.001", "0.01", "0.001", 3, "0.1", 1),
    ("LINK", "14.3", "0.01", "0.01", "0.001", 3, "0.01", 1),
    ("LTC", "83.1", "0.01", "0.001", "0.01", 2, "0.001", 1),
    ("BCH", "348", "0.1", "0.001", "0.01", 2, "0.001", 1),
    ("UNI", "6.04", "0.001", "0.01", "0.001", 4, "1", 1),
    ("ATOM", "4.37", "0.001", "0.01", "0.001", 3, "0.01", 1),
    ("ETC", "16.9", "0.01", "0.01", "0.001", 3, "0.01", 1),
    ("XLM", "0.271", "0.0001", "1", "0.00001", 5, "1", 1),
    ("NEAR", "2.58", "0.001", "0.1", "0.001", 4, "1", 1),
    ("APT", "5.21", "0.01", "0.01", "0.001", 5, "0.1", 1),
    ("FIL", "2.83", "0.001", "0.01", "0.001", 3, "0.1", 1),
    ("ARB", "0.352", "0.0001", "0.1", "0.0001", 6, "0.1", 1),
    ("OP", "0.741", "0.001", "0.01", "0.0001", 7, "0.1", 1),
    ("INJ", "9.12", "0.01", "0.01", "0.001", 6, "0.1", 1),
    ("SUI", "2.44", "0.0001", "0.1", "0.0001", 6, "0.1", 1),
    ("PEPE", "0.00000712", "0.00000001", "1", "0.0000001", 7, "1", 1000),
    ("TON", "3.38", "0.001", "0.01", "0.0001", 7, "0.1", 1),
    ("HBAR", "0.172", "0.00001", "1", "0.00001", 5, "1", 1),
    ("ICP", "5.33", "0.001", "0.01", "0.001", 3, "1", 1),
    ("VET", "0.0231", "0.00001", "0.1", "0.00001", 6, "1", 1),
)
_QUOTE: Final = "USDT"
_CONSONANTS: Final = "BDFGKLMNPRSTVZ"
_VOWELS: Final = "AEIOU"


def listings(count: int) -> list[Listing]:
    """`count` symbols of each market, the well-known ones first; the same ones for every call.

    A futures contract may bundle its asset as on Binance: SHIBUSDT is 1000SHIBUSDT there.
    """
    found: list[Listing] = []
    for base, price, spot_tick, spot_step, tick, decimals, step, bundle in islice(_assets(), count):
        spot = _spec(Market.SPOT, base, (SPOT_DECIMALS, SPOT_DECIMALS), spot_tick, spot_step)
        found.append(Listing(spot, _on_grid(to_units(price, SPOT_DECIMALS), spot.tick)))
        name = f"{bundle}{base}" if bundle > 1 else base
        futures = _spec(Market.FUTURES, name, (decimals, decimals_used(step)), tick, step)
        bundled = to_units(price, SPOT_DECIMALS) * bundle * 10**decimals // 10**SPOT_DECIMALS
        found.append(Listing(futures, _on_grid(bundled, futures.tick)))
    return found


def exchange_info(market: Market, specs: list[SymbolSpec], now_ms: int) -> dict[str, Any]:
    """The body of exchangeInfo, in Binance's order of keys."""
    if market is Market.SPOT:
        return {
            "timezone": "UTC",
            "serverTime": now_ms,
            "rateLimits": [_limit("REQUEST_WEIGHT", 1, 6_000), _limit("RAW_REQUESTS", 5, 300_000)],
            "exchangeFilters": [],
            "symbols": [_spot_symbol(spec) for spec in specs],
        }
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [_limit("REQUEST_WEIGHT", 1, 2_400)],
        "exchangeFilters": [],
        "assets": [{"asset": _QUOTE, "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [_futures_symbol(spec) for spec in specs],
    }


def _assets() -> Iterator[tuple[str, str, str, str, str, int, str, int]]:
    yield from _REAL
    draw = random.Random("assets")  # noqa: S311 # names of a simulated market
    seen = {asset[0] for asset in _REAL}
    while True:
        name = "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(draw.choice((2, 3))))
        if name in seen:
            continue
        seen.add(name)
        if draw.random() < 0.5:  # noqa: PLR2004 # half of them are worth more than a dollar
            yield name, f"{draw.randint(100, 9900) / 100:.2f}", "0.001", "0.01", "0.001", 3, "0.1", 1
        else:
            yield name, f"{draw.randint(100, 9900) / 10_000:.4f}", "0.0001", "0.1", "0.00001", 5, "1", 1


def _spec(market: Market, base: str, decimals: tuple[int, int], tick: str, step: str) -> SymbolSpec:
    price_decimals, quantity_decimals = decimals
    return SymbolSpec(
        market=market,
        symbol=f"{base}{_QUOTE}",
        base=base,
        quote=_QUOTE,
        price_decimals=price_decimals,
        quantity_decimals=quantity_decimals,
        tick=to_units(tick, price_decimals),
        step=to_units(step, quantity_decimals),
    )


def _on_grid(price: int, tick: int) -> int:
    return max(1, price // tick) * tick


def _limit(kind: str, minutes: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": "MINUTE", "intervalNum": minutes, "limit": limit}


def _filters(spec: SymbolSpec) -> list[dict[str, Any]]:
    tick, step = spec.price_text(spec.tick), spec.quantity_text(spec.step)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": tick,
            "maxPrice": spec.price_text(spec.tick * 10**8),
            "tickSize": tick,
        },
        {
            "filterType": "LOT_SIZE",
            "minQty": step,
            "maxQty": spec.quantity_text(spec.step * 10**8),
            "stepSize": step,
        },
    ]


def _spot_symbol(spec: SymbolSpec) -> dict[str, Any]:
    return {
        "symbol": spec.symbol,
        "status": "TRADING",
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": _filters(spec),
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _futures_symbol(spec: SymbolSpec) -> dict[str, Any]:
    return {
        "symbol": spec.symbol,
        "pair": spec.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 1569398400000,
        "status": "TRADING",
        "baseAsset": spec.base,
        "quoteAsset": spec.quote,
        "marginAsset": spec.quote,
        "pricePrecision": spec.price_decimals,
        "quantityPrecision": spec.quantity_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "filters": _filters(spec),
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX"],
    }
