"""A cluster with clients of every door on it, and faults that happen to it one after the other."""

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import httpx
import msgspec
import psutil

from deploy.plan import LOOPBACK, BusServer
from loadtest.probe.checker import BACK_S, Client, failures, judge, losses
from tests.support.processes import ROOT, Process
from tests.system.chaos.clients import STREAMS, Listener, clients_of_every_door
from tests.system.chaos.cluster import READY, free_site, processes_of
from tests.system.chaos.links import Link
from tests.system.chaos.plan import BUS_LINKS, FEED
from tests.system.chaos.report import Sight, Verdict

SETTINGS: Final = {"SIM_SYMBOLS": "5", "SIM_TRADES_PER_SECOND": "40", "DRAIN_SECONDS": "3"}
CALM_S: Final = 0.5
"""How long clients are watched before and after each fault, in s."""
HEALTH_S: Final = 5.5
"""After how long a connection to the exchange is well again, in s (binance/connection.py); until then the next trouble
would be a part of the last one, and waited out for longer."""
START_S: Final = 60.0
RECOVERY_S: Final = 30.0
"""How long the cluster may take to be whole again after a fault."""
CATCH_UP_S: Final = 10.0
"""How long clients may take to have all that the exchange had sent when the cluster was whole."""
_POLL_S: Final = 0.02
_TRUTH: Final[Mapping[str, tuple[str, Callable[[Any], int]]]] = {
    "spot:btcusdt@trade": ("/api/v3/trades?symbol=BTCUSDT&limit=1", lambda body: body[0]["id"]),
    "spot:btcusdt@depth@100ms": ("/api/v3/depth?symbol=BTCUSDT&limit=5", lambda body: body["lastUpdateId"]),
    "spot:btcusdt@kline_1s": (
        "/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=2",
        lambda body: body[0][0] // 1_000,
    ),
    "futures:btcusdt@aggTrade": ("/fapi/v1/aggTrades?symbol=BTCUSDT&limit=1", lambda body: body[-1]["a"]),
}
"""Where the exchange tells the latest id of a stream."""


class NotHappenedError(Exception):
    """Why a fault that was planned did not really happen."""


class Fault(NamedTuple):
    """Something that goes wrong: `happen(ground)` does it, undoes it, and says by what it is known that it happened.

    It calls `ground.mark()` at the moment from which on clients have 5 s to be back, and raises NotHappenedError.
    """

    name: str
    happen: "Callable[[Ground], Awaitable[str]]"
    may_lose: frozenset[str] = frozenset()
    """Streams of which nobody has what was sent meanwhile: it may be lost, if every client is told."""
    upstream: bool = False
    """Whether connections to the exchange are lost."""
    cuts_clients: bool = False
    """Whether clients lose their connection: those of the Binance door have no means to catch up."""

    def allows(self, client: Client, stream: str) -> bool:
        """Whether `client` may lose messages of `stream`, if it is told."""
        return stream in self.may_lose or (self.cuts_clients and not client.speaks_of_gaps)


class Ground:
    """Two ingestors, two replicas, Nginx, bus and exchange, with clients of every door, ready for faults."""

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str] | None = None,
        bus: BusServer = "redis",
        bus_url: str = "",
        nodes: Sequence[Process] = (),
    ) -> None:
        """Make all of it; `nodes` are the masters of a Redis Cluster that is the bus at `bus_url`, by their slots."""
        directory.mkdir(parents=True, exist_ok=True)
        self.nodes = nodes
        self.site = site = free_site(directory, {**SETTINGS, **(env or {})}, bus, bus_url)
        self.links = {name: Link(site.links[name], site.bus_port) for name in BUS_LINKS}
        self.links[FEED] = Link(site.links[FEED], site.exchange_port)
        self.clients: list[Listener] = clients_of_every_door(site.url)
        self.http = httpx.AsyncClient(trust_env=False, timeout=10)
        self.log = directory / "cluster.log"
        self._began: dict[str, int] = {}
        """The last id of each stream before the exchange began anew during this fault."""
        self._back: dict[str, float] = {}
        """How long each client took to be back from this fault, in s."""
        self._lag = Lag()
        self._supervisor: psutil.Process | None = None
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as starting:
            starting.push_async_callback(self.http.aclose)
            for link in self.links.values():
                await starting.enter_async_context(link)
            starting.push_async_callback(self._stop_cluster, await self._start_cluster())
            await self._await(self._is_up, "the cluster has started", START_S)
            await self._await(self._is_whole, "the cluster is whole", RECOVERY_S)
            for client in self.clients:
                client.start()
                starting.push_async_callback(client.close)
            await self._await(self._all_hear_everything, "every client receives every stream", RECOVERY_S)
            await starting.enter_async_context(self._lag)
            self._running = starting.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    async def undergo(self, fault: Fault) -> Verdict:
        """What clients see of `fault`."""
        at, evidence, wrong = time.time(), "", list[str]()
        with _noting(wrong):
            await self._await(self._is_whole, "the cluster is whole before it", RECOVERY_S)
        self._begin()
        await asyncio.sleep(CALM_S)
        self.mark()
        try:
            evidence = await fault.happen(self)
        except NotHappenedError as error:
            wrong.append(f"it did not happen: {error}")
        with _noting(wrong):
            await self._await(self._is_whole, "the cluster is whole after it", RECOVERY_S)
            await self.control("reset")
        await asyncio.sleep(HEALTH_S if fault.upstream else CALM_S)
        await self._catch_up()
        await self.everyone_is_back()
        return self._judge(fault, at, evidence, wrong)

    def mark(self) -> None:
        """From now on clients have BACK_S to be back: something was killed, or is over."""
        now = time.monotonic()
        for client in self.clients:
            client.checker.mark(now)

    async def everyone_is_back(self, *, graceful: bool = False) -> None:
        """Wait for clients that are still away, and note how long each took since the mark; a verdict has the most.

        Where a restart is `graceful`, clients are served until they are let go: then it is how long they heard nothing.
        """
        with suppress(TimeoutError):  # how long it took is told
            await self._await(
                lambda: all(client.checker.back_s(time.monotonic()) < math.inf for client in self.clients),
                "every client is back",
                RECOVERY_S,
            )
        now = time.monotonic()
        for client in self.clients:
            name = client.checker.name
            took_s = client.checker.silence_s if graceful else client.checker.back_s(now)
            self._back[name] = max(self._back.get(name, 0.0), took_s)

    async def control(self, action: str, **body: Any) -> dict[str, Any]:
        """Ask the exchange stand-in to misbehave; its answer."""
        answer = await self.http.post(f"{self._exchange}/control/{action}", json=body)
        return dict(answer.raise_for_status().json())

    async def answers(self, url: str) -> bool:
        """Whether a GET is answered with 200."""
        try:
            return (await self.http.get(url)).status_code == HTTPStatus.OK
        except httpx.TransportError:
            return False

    async def recover(self) -> None:
        """Wait until replicas are healthy and every ingestor carries everything. Raises NotHappenedError."""
        await self.until(self._is_whole, "the cluster is whole")

    async def exchange_is_open(self) -> None:
        """Wait until the exchange answers. Raises NotHappenedError."""
        await self.until(lambda: self.answers(f"{self._exchange}/api/v3/ping"), "the exchange is open again")

    async def exchange_figure(self, name: str) -> int:
        """One of the exchange's own counters."""
        return int((await self.http.get(f"{self._exchange}/control/status")).json()[name])

    async def exchange_begins_anew(self) -> None:
        """Note how far its ids have come: those of the next one are higher, and what lies between was never sent."""
        self._began = await self._truth()

    def pids(self) -> dict[str, int]:
        """The process ids of what runs now, by name."""
        return processes_of(self._supervisor) if self._supervisor is not None else {}

    async def pid(self, name: str) -> int:
        """The id of a process that runs, or is about to."""
        await self._await(lambda: name in self.pids(), f"{name} runs", RECOVERY_S)
        return self.pids()[name]

    async def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process and its children (Nginx has workers); the process id."""
        pid = await self.pid(name)
        os.killpg(pid, number)  # the supervisor gives each a session of its own
        return pid

    async def successor(self, name: str, pid: int) -> str:
        """Wait until the process is gone and another one runs. Raises NotHappenedError."""
        try:
            await self._await(lambda: self.pids().get(name, pid) != pid, "", RECOVERY_S)
        except TimeoutError:
            raise NotHappenedError(f"no other process took the place of {name} (pid {pid})") from None
        return f"{name}: pid {pid} gone, {self.pids().get(name)} runs"

    async def handovers(self, reason: str) -> float:
        """How often the ingestors that live now have replaced a connection for this reason."""
        name = f'tickcast_upstream_handovers_total{{reason="{reason}"}} '
        total = 0.0
        for port in self.site.ingestor_ports:
            text = (await self.http.get(f"http://{LOOPBACK}:{port}/metrics")).text
            total += sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))
        return total

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = RECOVERY_S) -> None:
        """Return once `condition` (plain or async) holds. Raises NotHappenedError."""
        try:
            await self._await(condition, what, seconds)
        except TimeoutError as error:
            raise NotHappenedError(str(error)) from None

    @property
    def _exchange(self) -> str:
        return f"http://{LOOPBACK}:{self.site.exchange_port}"

    async def _start_cluster(self) -> asyncio.subprocess.Process:
        with self.log.open("wb") as log:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.system.chaos.cluster", msgspec.json.encode(self.site).decode()),
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,  # Ctrl-C is ours: we end it
            )
        self._supervisor = psutil.Process(child.pid)
        return child

    async def _stop_cluster(self, child: asyncio.subprocess.Process) -> None:
        if child.returncode is None:
            child.terminate()
        await child.wait()

    def _is_up(self) -> bool:
        text = self.log.read_text(errors="replace")
        if "Cannot start" in text:
            raise AssertionError(text)
        return READY in text

    async def _is_whole(self) -> bool:
        try:
            for port in self.site.replica_ports:
                health = (await self.http.get(f"http://{LOOPBACK}:{port}/health")).json()
                ready = await self.http.get(f"http://{LOOPBACK}:{port}/health/ready")
                if health["status"] != "healthy" or ready.status_code != HTTPStatus.OK:
                    return False
            for port in self.site.ingestor_ports:
                if not _carries_everything((await self.http.get(f"http://{LOOPBACK}:{port}/health")).json()):
                    return False
        except httpx.TransportError:
            return False
        return True

    def _all_hear_everything(self) -> bool:
        self._raise_failures()
        return all(client.checker.streams >= {*client.streams} for client in self.clients)

    def _begin(self) -> None:
        now = time.monotonic()
        for client in self.clients:
            client.checker.begin(now)
        self._began, self._back = {}, {}
        self._lag.take()

    async def _catch_up(self) -> None:
        """Wait for the clients to have what the exchange has sent by now; what they lack then is lost."""
        truth = await self._truth()
        with suppress(TimeoutError):  # what they lack is told
            await self._await(
                lambda: all(_has(client, truth) for client in self.clients), "clients caught up", CATCH_UP_S
            )
        for client in self.clients:
            client.checker.end(truth, time.monotonic())

    async def _truth(self) -> dict[str, int]:
        answers = {stream: await self.http.get(self._exchange + path) for stream, (path, _) in _TRUTH.items()}
        return {stream: int(_TRUTH[stream][1](answer.json())) for stream, answer in answers.items()}

    def _judge(self, fault: Fault, at: float, evidence: str, wrong: list[str]) -> Verdict:
        self._raise_failures()
        checkers = [client.checker for client in self.clients]
        tally = judge(checkers, self._began)
        wrong += failures(checkers)
        wrong += [f"{name}: back after {back_s:.1f} s" for name, back_s in self._back.items() if back_s > BACK_S]
        sights = [Sight(one.name, one.silence_s, self._back[one.name], one.disconnects) for one in checkers]
        return Verdict(fault.name, at, evidence, tally, sights, self._lag.take(), wrong, losses(checkers, fault.allows))

    def _raise_failures(self) -> None:
        for client in self.clients:
            if client.failure is not None:
                raise AssertionError(f"{client.checker.name} failed") from client.failure

    @staticmethod
    async def _await(condition: Callable[[], Any], what: str, seconds: float) -> None:
        """Return once `condition` (plain or async) holds. Raises TimeoutError with `what`."""
        try:
            async with asyncio.timeout(seconds):
                while not (await held if asyncio.iscoroutine(held := condition()) else held):  # noqa: ASYNC110 # what is awaited is in other processes
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}") from None


class Lag:
    """How late this process's own loop is at most: what it measures cannot be more exact. A context manager."""

    def __init__(self) -> None:
        self._most = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    def take(self) -> float:
        """The most since it was asked last, in s."""
        most, self._most = self._most, 0.0
        return most

    async def _watch(self) -> None:
        while True:
            due = time.monotonic() + _POLL_S
            await asyncio.sleep(_POLL_S)
            self._most = max(self._most, time.monotonic() - due)


@contextmanager
def _noting(wrong: list[str]) -> Iterator[None]:
    """Go on when something has not come in time, and note what."""
    try:
        yield
    except TimeoutError as error:
        wrong.append(str(error))


def _has(client: Listener, truth: Mapping[str, int]) -> bool:
    # A stream of few messages may not have said anything to this client yet.
    last = {name: sequence.last or 0 for name, sequence in client.checker.sequences.items()}
    return all(last.get(name, 0) >= truth[name] for name in client.streams if name in truth)


def _carries_everything(share: Mapping[str, Any]) -> bool:
    groups = share["groups"].values()
    return (
        share["phase"] == "live"
        and share["connected"]
        and share["bus_connected"]
        and share["streams"] >= len(STREAMS)
        and len(groups) > 0
        and all(group["subscribed"] for group in groups)
    )
