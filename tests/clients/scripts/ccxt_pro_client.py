"""ccxt.pro: markets and klines of both markets by REST; trades, klines, tickers, books and mark price watched."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from collector import ENOUGH, PATIENCE_S, show  # type: ignore[import-not-found] # beside the script, which is run by its path
from snippet import client  # type: ignore[import-not-found] # the document's lines, laid on the path by the test

SPOT, FUTURES = "BTC/USDT", "BTC/USDT:USDT"


async def watch(what: str, again: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(ENOUGH):
        show(what, await again())


async def main() -> None:
    markets = await client.load_markets()
    for symbol in (SPOT, FUTURES):
        market = markets[symbol]
        show("market", {key: market[key] for key in ("symbol", "id", "type", "active", "precision")})
        for row in await client.fetch_ohlcv(symbol, "1m", limit=5):
            show(f"klines {symbol}", row)

    watched: dict[str, Callable[[], Awaitable[Any]]] = {
        "trades": lambda: client.watch_trades(SPOT),
        "ohlcv": lambda: client.watch_ohlcv(SPOT, "1s"),
        "ticker": lambda: client.watch_ticker(SPOT),
        "bids asks": lambda: client.watch_bids_asks([SPOT]),
        "book": lambda: client.watch_order_book(SPOT, 5),
        "futures trades": lambda: client.watch_trades(FUTURES),
        "futures ohlcv": lambda: client.watch_ohlcv(FUTURES, "1m"),
        "mark price": lambda: client.watch_mark_price(FUTURES),
        "futures book": lambda: client.watch_order_book(FUTURES, 5),
    }
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(watch(what, again) for what, again in watched.items()))
    await client.close()


asyncio.run(main())
