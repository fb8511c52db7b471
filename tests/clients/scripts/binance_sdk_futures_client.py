"""binance-sdk-derivatives-trading-usds-futures: klines and exchangeInfo by REST; streams of both routes."""

import asyncio
from functools import partial

from collector import Collector, show  # type: ignore[import-not-found] # beside the script, which is run by its path
from snippet import client  # type: ignore[import-not-found] # the document's lines, laid on the path by the test


async def main() -> None:
    streams = client.websocket_streams
    rest = client.rest_api
    collector = Collector(["aggTrade", "markPrice", "kline", "bookTicker", "depth"])
    show("time", rest.check_server_time().data())
    show("exchangeInfo", rest.exchange_information().data())
    for row in rest.kline_candlestick_data(symbol="BTCUSDT", interval="1m", limit=5).data():
        show("klines", row)

    await streams.create_connection()
    for what, stream in {
        "aggTrade": await streams.aggregate_trade_streams(symbol="btcusdt"),
        "markPrice": await streams.mark_price_stream(symbol="btcusdt", update_speed="1s"),
        "kline": await streams.kline_candlestick_streams(symbol="btcusdt", interval="1m"),
        "bookTicker": await streams.individual_symbol_book_ticker_streams(symbol="btcusdt"),
        "depth": await streams.diff_book_depth_streams(symbol="btcusdt", update_speed="100ms"),
    }.items():
        stream.on("message", partial(collector.take, what))
    await collector.done()
    await streams.close_connection()


asyncio.run(main())
