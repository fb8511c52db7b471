"""The probe: some clients at every door of one cluster while others put load on it."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from enum import StrEnum
from functools import partial
from typing import Final, NamedTuple, Self

from loadtest.probe.checker import BACK_S, Data, failures, judge, silences, total
from loadtest.probe.clients import BinanceClient, JsonClient, PollingClient, ProbeClient, SocketIoClient
from loadtest.probe.clock import Clock, read_clock
from loadtest.probe.latency import Latency, Quantiles, Second
from loadtest.probe.lean import Address
from loadtest.probe.sequences import Tally

START_LIMIT_S: Final = 20.0
SETTLE_S: Final = 2.0
"""What everybody else has and one client has not after so long is missing."""
_NAP_S: Final = 0.02


class Door(StrEnum):
    """Where the probe's clients connect."""

    SOCKETIO = "Socket.IO"
    POLLING = "Socket.IO, polling"
    JSON = "JSON"
    BINANCE = "Binance"


_CLIENTS: Final[Mapping[Door, type[SocketIoClient | PollingClient | JsonClient | BinanceClient]]] = {
    Door.SOCKETIO: SocketIoClient,
    Door.POLLING: PollingClient,
    Door.JSON: JsonClient,
    Door.BINANCE: BinanceClient,
}


class ProbeError(Exception):
    """Why the probe cannot begin, as a sentence."""


class DoorFigures(NamedTuple):
    """What the clients of one door found; `ingest` counts nothing where the door does not tell of it."""

    door: Door
    clients: int
    disconnects: int
    exchange: Quantiles
    """From the exchange's event time to the client."""
    ingest: Quantiles
    """From the ingestor to the client."""
    course: tuple[Second, ...]
    """Second by second, from the exchange."""
    tally: Tally


class Findings(NamedTuple):
    """What the probe found while it ran."""

    doors: tuple[DoorFigures, ...]
    failures: tuple[str, ...]
    """What no client may ever see, one sentence each."""
    clock: Clock
    lag: Quantiles
    """How late the probe's own loop was: latencies contain that."""

    @property
    def clients(self) -> int:
        """How many there were."""
        return sum(door.clients for door in self.doors)

    @property
    def missed(self) -> int:
        """Messages that did not come, announced or not."""
        return sum(door.tally.lost for door in self.doors)

    @property
    def slowest(self) -> DoorFigures:
        """The door with the highest p99."""
        return max(self.doors, key=lambda door: door.exchange.p99_ms)


class Probe:
    """Clients at every door, from entering to leaving; `findings` once they have left. A context manager."""

    def __init__(self, url: str, clients_a_door: int) -> None:
        self._url = url
        address = Address.of(url)
        self._latencies = {door: (Latency(), Latency()) for door in Door}
        self._clients: dict[Door, list[ProbeClient]] = {
            door: [
                # Where Nginx chooses by key (docs/scaling.md), they spread over all replicas.
                kind(f"{door} {number}", address, partial(self._note, door), balance=f"&balance={uuid.uuid4()}")
                for number in range(1, clients_a_door + 1)
            ]
            for door, kind in _CLIENTS.items()
        }
        self._lag = Latency()
        self._tasks: list[asyncio.Task[None]] = []
        self._clock = Clock(0.0, 0.0)
        self._began = 0.0

    async def __aenter__(self) -> Self:
        """Connect; returns once every client has heard something. Raises ProbeError, httpx.HTTPError."""
        self._clock = await read_clock(self._url)
        self._began = time.monotonic()
        self._tasks = [asyncio.create_task(client.run(), name=client.checker.name) for client in self._everybody]
        try:
            await self._until_all_hear()
            now = time.monotonic()
            for client in self._everybody:
                client.checker.begin(now)
            self._latencies |= {door: (Latency(), Latency()) for door in Door}
            self._began = now
            self._tasks.append(asyncio.create_task(self._watch_lag(), name="lag"))
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave, after what is under way has had time to come; at once where something went wrong."""
        if kind is not None:
            await self._stop()
            return
        latest: dict[str, int] = {}
        for client in self._everybody:
            for stream, sequence in client.checker.sequences.items():
                latest[stream] = max(latest.get(stream, 0), sequence.last or 0)
        await asyncio.sleep(SETTLE_S)
        await self._stop()
        for client in self._everybody:
            client.checker.end(latest, time.monotonic())
        for latency in (*(one for both in self._latencies.values() for one in both), self._lag):
            latency.end()

    @property
    def progress(self) -> str:
        """How it goes, in words."""
        quantiles = [exchange.quantiles for exchange, _ in self._latencies.values()]
        tally = judge(client.checker for client in self._everybody)
        p99_ms = max(one.p99_ms for one in quantiles)
        return f"{sum(one.messages for one in quantiles):,} messages, p99 {p99_ms:.0f} ms, {tally.lost} missed"

    def findings(self) -> Findings:
        """What was found. Raises what ended a client before its time."""
        self._check_tasks()
        checkers = [client.checker for client in self._everybody]
        judge(checkers)  # what all of them say together, then each
        found = failures(checkers)
        found += [
            f"{client.checker.name}: {stream}: nothing came"
            for client in self._everybody
            for stream in client.streams
            if stream not in client.checker.streams
        ]
        # What came while the probe's own loop stood still was not heard at once.
        found += silences(checkers, BACK_S + self._lag.quantiles.max_ms / 1000)
        found += [f"{client.checker.name}: {client.refusal}" for client in self._everybody if client.refusal]
        doors = tuple(self._figures(door) for door in Door)
        return Findings(doors, tuple(found), self._clock, self._lag.quantiles)

    @property
    def _everybody(self) -> list[ProbeClient]:
        return [client for clients in self._clients.values() for client in clients]

    def _figures(self, door: Door) -> DoorFigures:
        clients = [client.checker for client in self._clients[door]]
        exchange, ingest = self._latencies[door]
        disconnects = sum(client.disconnects for client in clients)
        course = tuple(exchange.course)
        return DoorFigures(
            door, len(clients), disconnects, exchange.quantiles, ingest.quantiles, course, total(clients)
        )

    def _note(self, door: Door, data: Data, came_us: int) -> None:
        """Count how late a message came; one without an event time (spot's bookTicker) from its ingestor on alone."""
        came_us += round(self._clock.correction_ms * 1000)
        at_s = time.monotonic() - self._began
        exchange, ingest = self._latencies[door]
        if "E" in data.payload:
            exchange.add(came_us - data.payload["E"] * 1000, at_s)
        if data.ingested_ms:
            ingest.add(came_us - data.ingested_ms * 1000, at_s)

    async def _until_all_hear(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while silent := [client for client in self._everybody if not client.checker.sequences]:
            self._check_tasks()
            refused = next((client for client in silent if client.refusal), None)
            if refused is not None:
                raise ProbeError(f"{refused.checker.name} was refused: {refused.refusal}")
            if time.monotonic() > deadline:
                raise ProbeError(f"{silent[0].checker.name} hears nothing of {self._url} within {START_LIMIT_S:.0f} s")
            await asyncio.sleep(_NAP_S)

    def _check_tasks(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _watch_lag(self) -> None:
        while True:
            due = time.monotonic() + _NAP_S
            await asyncio.sleep(_NAP_S)
            now = time.monotonic()
            self._lag.add(round((now - due) * 1e6), now - self._began)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
