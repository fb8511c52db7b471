"""Puts what the exchange sent on the bus: messages in batches, last values in its cache."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from bus.base import Bus
from bus.loglimit import LogLimit
from ingestor.backlog import Backlog
from ingestor.memory import Memory
from ingestor.rest_payloads import SOURCE_MARK
from market.cursors import cursor_of
from market.event_times import event_ms
from market.messages import Message
from market.payloads import BOOK_SNAPSHOT, Ticker, decode_payload
from market.streams import ARRAY, Kind, Market, StreamName, price_key
from market.views import price_update
from telemetry.latency import Hop, Latencies, Sampler
from telemetry.recent import RecentTimes

_SNAPSHOT: Final = b'{"e":"%b"' % BOOK_SNAPSHOT.encode()

logger = structlog.get_logger(__name__)

VALUES_PERIOD_S: Final = 0.25
"""How far apart two writes of one stream's last value are at least, in s."""


class Publisher:
    """Publishes everything that arrives in one turn of the loop as one batch.

    While a batch is on its way the next one collects (ingestor/backlog.py bounds it). Of each state
    stream the last value is put under `StreamName.last_key`, as the message's bus form, at most
    four times a second; of spot tickers also document 002's price under `price_key`. Messages of
    event streams are remembered (ingestor/memory.py). `on_published` is called with every batch that
    was given to the bus.
    """

    def __init__(
        self, bus: Bus, memory: Memory, on_published: Callable[[Sequence[Message]], None] | None = None
    ) -> None:
        self.backlog = Backlog()
        self._memory = memory
        self._on_published = on_published
        self.published_total = 0
        self.lag_us = 0
        """From receiving the first message of the latest batch to having published it."""
        self.latencies = Latencies(Hop.EXCHANGE, Hop.PUBLISH)
        """How long sampled messages took from the exchange to here, and from here to the bus."""
        self.recent = RecentTimes()
        """How long they took from here to the bus of late."""
        self.malformed_total = 0
        """Payloads without a cursor, or without what a price needs; the former are not published."""
        self._bus = bus
        self._sampler = Sampler()
        self._arrived = asyncio.Event()
        self._latest: dict[StreamName, Message] = {}
        self._max_lag_us = 0
        self._malformed_log = LogLimit()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to publish."""
        self._tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._write_values())]

    async def close(self) -> None:
        """Stop; what has not left yet is gone."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def take(self, stream: StreamName, payload: bytes, received_us: int) -> None:
        """Publish one payload that was received at `received_us`; returns at once."""
        try:
            cursor = cursor_of(stream, payload)
        except (msgspec.MsgspecError, ValueError) as error:
            self._note_malformed(stream, payload, error)
            return
        self.add(Message(stream, cursor, received_us, payload))

    def add(self, message: Message) -> None:
        """Publish a message that is made already; returns at once."""
        self.backlog.add(message)
        if message.stream.is_state:
            self._latest[message.stream] = message
        else:
            self._memory.keep(message)
        self._arrived.set()

    def take_max_lag_ms(self) -> float:
        """The longest time from receiving a message to having published it, in ms, since the last call."""
        lag_us, self._max_lag_us = self._max_lag_us, 0
        return lag_us / 1_000

    async def _publish(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch = self.backlog.take()
            try:
                await self._bus.publish(batch)
            except Exception:  # one batch that fails must not end all publishing
                logger.exception("batch not published", messages=len(batch))
                continue
            self.published_total += len(batch)
            if self._on_published is not None:
                self._on_published(batch)
            now_us = time.time_ns() // 1_000
            # The first one has waited longest.
            self.lag_us = now_us - batch[0].received_us
            self._max_lag_us = max(self._max_lag_us, self.lag_us)
            if self.published_total >= self._sampler.due:
                self._note_latency(batch[self._sampler.pick(self.published_total, len(batch))], now_us)

    def _note_latency(self, message: Message, published_us: int) -> None:
        kind, received_us = message.stream.kind, message.received_us
        self.latencies.note(Hop.PUBLISH, kind, received_us, published_us)
        self.recent.note(max(0, published_us - received_us), time.monotonic())
        # What was polled has no event, and the time of a book's snapshot is that of its last change.
        if message.payload.endswith(SOURCE_MARK) or message.payload.startswith(_SNAPSHOT):
            return
        if (at_ms := event_ms(message.payload)) is not None:
            self.latencies.note(Hop.EXCHANGE, kind, at_ms * 1_000, received_us)

    async def _write_values(self) -> None:
        while True:
            await asyncio.sleep(VALUES_PERIOD_S)
            self._sampler.hasten()
            latest, self._latest = self._latest, {}
            if not latest:
                continue
            try:
                await self._bus.put(self._values(latest))
            except Exception:  # the next write brings newer values
                logger.exception("last values not written", streams=len(latest))

    def _values(self, latest: dict[StreamName, Message]) -> dict[str, bytes]:
        values: dict[str, bytes] = {}
        for stream, message in latest.items():
            values[stream.last_key] = message.encode()
            if stream.kind is not Kind.TICKER or stream.market is not Market.SPOT or stream.symbol == ARRAY:
                continue
            try:
                ticker = decode_payload(stream, message.payload)
                if isinstance(ticker, Ticker):
                    values[price_key(stream.symbol)] = price_update(ticker)
            except (msgspec.MsgspecError, ValueError) as error:
                self._note_malformed(stream, message.payload, error)
        return values

    def _note_malformed(self, stream: StreamName, payload: bytes, error: Exception) -> None:
        self.malformed_total += 1
        if (held_back := self._malformed_log.admit()) is not None:
            logger.warning(
                "malformed payload", stream=str(stream), error=str(error), start=payload[:200], held_back=held_back
            )
