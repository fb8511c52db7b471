"""What the bus's suites share: made-up messages, collected deliveries, conditions to await."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import psutil
from redis.asyncio import Redis

from bus.base import AnnouncementHandler, Bus
from bus.nats import NatsBus
from bus.redis import RedisBus
from bus.tls import SYSTEM_TRUST, BusTls
from market.messages import Message
from market.streams import StreamName
from tests.support.processes import Process, wait_until

BTC = StreamName.parse("btcusdt@trade")
ETH = StreamName.parse("ethusdt@kline_1m")
MARK = StreamName.parse("futures:btcusdt@markPrice@1s")

BUSES = ("memory", "redis", "redis_cluster", "sharded", "nats", "core_nats")
"""What the contract runs on; `core_nats` is NATS without JetStream."""
BUSES_WITH_BUDGETS = BUSES[:-1]


def message(stream: StreamName = BTC, cursor: int = 1, payload: bytes = b'{"e":"trade"}') -> Message:
    return Message(stream, cursor, 1_700_000_000_000_000, payload)


class Inbox:
    """Keeps what a bus delivered; plug `take` in as the handler."""

    def __init__(self) -> None:
        self.batches: list[list[Message]] = []

    def take(self, messages: Sequence[Message]) -> None:
        self.batches.append(list(messages))

    @property
    def messages(self) -> list[Message]:
        return [received for batch in self.batches for received in batch]

    async def holds(self, count: int) -> list[Message]:
        await until(lambda: len(self.messages) >= count, f"{count} messages")
        return self.messages


async def until(condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds, what, timeout_s)


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 15.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 # what is awaited has no event of its own
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"timed out after {timeout_s} s: {what}") from None


async def connected(bus: Bus, timeout_s: float = 15.0) -> None:
    await until(lambda: bus.connected, "the bus connects", timeout_s)


async def disconnected(bus: Bus) -> None:
    await until(lambda: not bus.connected, "the bus notices that its server is gone")


_B = TypeVar("_B", bound=Bus)


@asynccontextmanager
async def end_on(
    server: Process | str, name: str = "", inbox: Inbox | None = None, tls: BusTls = SYSTEM_TRUST
) -> AsyncIterator[RedisBus]:
    """A started end on Redis, not necessarily connected yet."""
    url = server if isinstance(server, str) else f"redis://127.0.0.1:{server.port}/0"
    async with _started(RedisBus(url, name, tls), inbox) as end:
        yield end


@asynccontextmanager
async def nats_end(
    server: Process | str,
    name: str = "",
    inbox: Inbox | None = None,
    tls: BusTls = SYSTEM_TRUST,
    **topics: AnnouncementHandler,
) -> AsyncIterator[NatsBus]:
    """A started end on NATS, not necessarily connected yet."""
    end = NatsBus(server if isinstance(server, str) else f"nats://127.0.0.1:{server.port}", name, tls)
    for topic, listener in topics.items():
        end.listen(topic, listener)
    async with _started(end, inbox):
        yield end


@asynccontextmanager
async def _started(end: _B, inbox: Inbox | None) -> AsyncIterator[_B]:
    if inbox is not None:
        end.on_messages(inbox.take)
    await end.start()
    try:
        yield end
    finally:
        await end.close()


@asynccontextmanager
async def admin_of(server: Process) -> AsyncIterator[Redis]:
    """A client of its own, to look at the server from the side."""
    client = Redis(port=server.port)
    try:
        yield client
    finally:
        await client.aclose()


async def start_again(server: Process) -> None:
    await asyncio.to_thread(server.start)


@contextmanager
def paused(server: Process) -> Iterator[None]:
    """A server that keeps its connections and does nothing."""
    os.kill(server.pid, signal.SIGSTOP)
    # Its threads stop one after the other.
    wait_until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_STOPPED, "the server stands still")
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@asynccontextmanager
async def publishing(sender: Bus, stream: StreamName = BTC) -> AsyncIterator[None]:
    """Publish one message after the other, as an ingestor does."""

    async def publish() -> None:
        cursor = 0
        while True:
            cursor += 1
            await sender.publish([message(stream, cursor)])
            await asyncio.sleep(0.01)

    task = asyncio.create_task(publish())
    try:
        yield
        assert not task.done(), "publishing raised"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def flows_again(inbox: Inbox) -> None:
    """Messages arrive that were not there when this was called."""
    seen = len(inbox.messages)
    await until(lambda: len(inbox.messages) > seen + 3, "data flows again")
