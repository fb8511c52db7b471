"""binance-sdk-spot: klines and exchangeInfo by REST; trade, kline, bookTicker, depth and diff depth as streams."""

import asyncio
from functools import partial

from collector import Collector, show  # type: ignore[import-not-found] # beside the script, which is run by its path
from snippet import client  # type: ignore[import-not-found] # the document's lines, laid on the path by the test


async def main() -> None:
    streams = client.websocket_streams
    rest = client.rest_api
    collector = Collector(["trade", "kline", "bookTicker", "depth5", "depth"])
    show("time", rest.time().data())
    show("exchangeInfo", rest.exchange_info(symbol="BTCUSDT").data())
    for row in rest.klines(symbol="BTCUSDT", interval="1m", limit=5).data():
        show("klines", row)

    await streams.create_connection()
    for what, stream in {
        "trade": await streams.trade(symbol="btcusdt"),
        "kline": await streams.kline(symbol="btcusdt", interval="1s"),
        "bookTicker": await streams.book_ticker(symbol="btcusdt"),
        "depth5": await streams.partial_book_depth(symbol="btcusdt", levels="5", update_speed="100ms"),
        "depth": await streams.diff_book_depth(symbol="btcusdt", update_speed="100ms"),
    }.items():
        stream.on("message", partial(collector.take, what))
    show("subscriptions", (await streams.list_subscribe())["result"])
    await collector.done()
    await stream.unsubscribe()
    show("left", (await streams.list_subscribe())["result"])
    await streams.close_connection()


asyncio.run(main())
