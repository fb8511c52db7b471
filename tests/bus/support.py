"""What the bus's suites share: made-up messages, collected deliveries, conditions to await."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from bus.base import Bus
from market.messages import Message
from market.streams import StreamName

BTC = StreamName.parse("btcusdt@trade")
ETH = StreamName.parse("ethusdt@kline_1m")
MARK = StreamName.parse("futures:btcusdt@markPrice@1s")


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


async def until(condition: Callable[[], bool], what: str) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds, what)


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 15.0) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 # what is awaited has no event of its own
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"timed out after {timeout_s} s: {what}") from None


async def connected(bus: Bus) -> None:
    await until(lambda: bus.connected, "the bus connects")


async def disconnected(bus: Bus) -> None:
    await until(lambda: not bus.connected, "the bus notices that its server is gone")
