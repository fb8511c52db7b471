"""`python -m loadtest.bench.polling ADDRESS PORT STREAM...`: Socket.IO clients over long polling.

It obeys the commands of receiver.c, with the same answers. Python is fast enough here: a poll costs
a server several times what it costs this client.
"""

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
from typing import Any, Final

import msgspec
import uvloop

from loadtest.probe.lean import Address
from loadtest.probe.polling import PollingSession

_DIGITS: Final = 16


class Poller(PollingSession):
    """One client, which notes how late the updates of the bench reach it."""

    def __init__(self, address: str, port: int, latencies_us: list[int]) -> None:
        super().__init__(Address(address, port))
        self._latencies_us = latencies_us
        self.polls = 0

    async def open(self, streams: list[str]) -> None:
        """Connect and subscribe; returns with the acknowledgement. Raises OSError for any other answer."""
        await self.begin()
        await self.send(b"420" + msgspec.json.encode(["subscribe", {"streams": streams}]))
        while not any(packet.startswith(b"430[") for packet in await self.poll()):
            pass

    async def poll_for_ever(self) -> None:
        """Take what comes and answer pings. Raises OSError or EOFError when the server ends it."""
        while True:
            packets = await self.poll()
            self.polls += 1
            now = time.monotonic_ns() // 1000
            for packet in packets:
                for part in packet.split(b"^")[1:]:
                    self._latencies_us.append(now - int(part[:_DIGITS]))


class Pollers:
    """All clients of this process, commanded through stdin."""

    def __init__(self, address: str, port: int, streams: list[str]) -> None:
        self._server = (address, port)
        self._streams = streams
        self._latencies_us: list[int] = []
        self._pollers: list[Poller] = []
        self._closed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def obey(self, command: bytes) -> dict[str, float]:
        """Do `open COUNT IN_FLIGHT` or `take`; the answer. Raises ValueError for another command."""
        match command.decode().split():
            case ["open", count, in_flight]:
                return await self._open(int(count), asyncio.Semaphore(int(in_flight)))
            case ["take"]:
                return self._take()
        raise ValueError(f"no such command: {command!r}")

    async def _open(self, count: int, in_flight: asyncio.Semaphore) -> dict[str, float]:
        async def open_one() -> bool:
            poller = Poller(*self._server, self._latencies_us)
            async with in_flight:
                try:
                    await poller.open(self._streams)
                except (OSError, EOFError) as error:
                    sys.stderr.write(f"not opened: {error!r}\n")
                    return False
            self._pollers.append(poller)
            self._run(self._poll(poller))
            return True

        since = time.monotonic()
        outcomes = await asyncio.gather(*(open_one() for _ in range(count)))
        opened = sum(outcomes)
        return {"opened": opened, "failed": count - opened, "seconds": time.monotonic() - since}

    def _take(self) -> dict[str, float]:
        latencies, count = sorted(self._latencies_us), len(self._latencies_us)
        self._latencies_us.clear()
        reads = sum(poller.polls for poller in self._pollers)
        closed, self._closed = self._closed, 0
        for poller in self._pollers:
            poller.polls = 0
        return {
            "messages": count,
            "reads": reads,
            "closed": closed,
            "p50_us": latencies[count // 2] if count else 0,
            "p99_us": latencies[count * 99 // 100] if count else 0,
            "max_us": latencies[-1] if count else 0,
        }

    async def _poll(self, poller: Poller) -> None:
        try:
            await poller.poll_for_ever()
        except (OSError, EOFError) as error:
            sys.stderr.write(f"ended: {error!r}\n")
            self._closed += 1

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def main(address: str, port: int, streams: list[str]) -> None:
    """Obey stdin until it ends."""
    commands = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    pollers = Pollers(address, port, streams)
    while command := (await commands.readline()).strip():
        sys.stdout.write(json.dumps(await pollers.obey(command)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
