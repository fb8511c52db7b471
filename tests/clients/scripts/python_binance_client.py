"""python-binance: klines and exchangeInfo of both markets by REST; sockets of both markets."""

import asyncio
from typing import Any

from collector import ENOUGH, PATIENCE_S, show  # type: ignore[import-not-found] # beside the script, which is run by its path
from snippet import Client, Sockets  # type: ignore[import-not-found] # the document's lines, laid on the path by the test


async def receive(socket: Any, what: str) -> None:
    async with socket as stream:
        for _ in range(ENOUGH):
            show(what, await stream.recv())


async def main() -> None:
    client = await Client.create()
    show("exchangeInfo", await client.get_exchange_info())
    show("futures exchangeInfo", await client.futures_exchange_info())
    for row in await client.get_klines(symbol="BTCUSDT", interval="1m", limit=5):
        show("klines", row)
    for row in await client.futures_klines(symbol="BTCUSDT", interval="1m", limit=5):
        show("futures klines", row)

    sockets = Sockets(client)
    opened = {
        "trade": sockets.trade_socket("BTCUSDT"),
        "kline": sockets.kline_socket("BTCUSDT", interval="1s"),
        "depth5": sockets.depth_socket("BTCUSDT", depth="5", interval=100),
        "many": sockets.multiplex_socket(["btcusdt@aggTrade", "ethusdt@bookTicker"]),
        "futures aggTrade": sockets.aggtrade_futures_socket("BTCUSDT"),
        "futures markPrice": sockets.symbol_mark_price_socket("BTCUSDT"),
        "futures kline": sockets.futures_multiplex_socket(["btcusdt@kline_1m"]),
        "futures depth5": sockets.futures_depth_socket("BTCUSDT", depth="5"),
    }
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(receive(socket, what) for what, socket in opened.items()))
    await client.close_connection()


asyncio.run(main())
