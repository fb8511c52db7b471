"""An order book that is never wrong: unknown behind a gap, until the service has sent the whole of it again."""

import asyncio
import sys

from tickcast_client import OrderBook, connect


async def main(url: str) -> None:
    """Print the best bid and ask until Ctrl-C."""
    book = OrderBook("spot:btcusdt@book")
    async with connect(url) as client:
        async for event in await client.subscribe(book.stream):
            if book.apply(event) and book.is_known:
                (bid,), (ask,) = book.bids(1), book.asks(1)
                print(f"{bid.quantity} at {bid.price} | {ask.quantity} at {ask.price}", flush=True)


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8080"))
