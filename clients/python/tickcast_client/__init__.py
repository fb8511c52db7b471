"""Client of Tickcast: typed market data over one connection that resumes where it was.

async with connect("http://localhost:8080") as client:
    subscription = await client.subscribe("spot:btcusdt@trade")
    async for event in subscription:
        print(event)
"""

from .book import Level, OrderBook
from .candles import Candle
from .client import Client, connect
from .errors import ClosedError, RefusedError, TickcastError, UnreachableError
from .events import Disconnected, Draining, Event, Gap, Message, Recovered, Rejected, Status
from .subscription import Subscription

__all__ = [
    "Candle",
    "Client",
    "ClosedError",
    "Disconnected",
    "Draining",
    "Event",
    "Gap",
    "Level",
    "Message",
    "OrderBook",
    "Recovered",
    "RefusedError",
    "Rejected",
    "Status",
    "Subscription",
    "TickcastError",
    "UnreachableError",
    "connect",
]
