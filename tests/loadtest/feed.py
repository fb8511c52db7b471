"""A feed of what the probe subscribes to, on the bus of a replica in the test's own process."""

import asyncio
import time

import msgspec

from loadtest.probe.clients import STREAMS
from market.messages import Message
from market.streams import StreamName
from tests.server.conftest import Served

TRADES = "spot:btcusdt@trade"
LATE_MS = 700
"""So long before its publication each message was sent by the exchange, as it says."""


def payload(kind: str, number: int, event_ms: int) -> dict[str, object]:
    """One message, as far as anybody reads it."""
    kinds: dict[str, dict[str, object]] = {
        "trade": {"e": "trade", "E": event_ms, "t": number},
        "aggTrade": {"e": "aggTrade", "E": event_ms, "a": number, "f": number, "l": number},
        "bookTicker": {"u": number},
        "kline": {"e": "kline", "E": event_ms, "k": {"t": number * 1000, "x": True}},
    }
    return kinds[kind]


class Feed:
    """Publishes one message of every stream at a time, as an ingestor would."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self.number = 1
        self.leave_out = False
        """Whether the next trade is left out."""
        self.leave_out_every = 0
        """Each trade whose number this divides is left out."""
        self.silent = set[str]()
        """Streams of which nothing is published."""

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            now_ms = time.time_ns() // 1_000_000
            messages, self.leave_out = self._messages(now_ms), False
            await self._served.publisher.publish(messages)
            self.number += 1
            await asyncio.sleep(0.02)

    def _messages(self, now_ms: int) -> list[Message]:
        found = []
        for name in STREAMS:
            stream = StreamName.parse(name)
            kind = str(stream.kind)
            body = msgspec.json.encode(payload(kind, self.number, now_ms - LATE_MS))
            cursor = now_ms - LATE_MS if kind == "kline" else self.number
            is_left_out = self.leave_out or (self.leave_out_every and self.number % self.leave_out_every == 0)
            if name not in self.silent and not (is_left_out and name == TRADES):
                found.append(Message(stream, cursor, now_ms * 1000, body))
        return found
