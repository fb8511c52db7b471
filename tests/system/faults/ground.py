"""A cluster with clients of every door on it, and faults that happen to it one after the other."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeAlias

import httpx

from deploy.plan import BusServer
from tests.bus.redis_cluster import cluster_of
from tests.support.processes import Process, wait_until
from tests.system.cluster import Cluster, ingestor_metric
from tests.system.faults.checker import Client, Span, Tally, failures, judge
from tests.system.faults.clients import STREAMS, Listener, clients_of_every_door

SETTINGS: Final = {"SIM_SYMBOLS": "5", "SIM_TRADES_PER_SECOND": "40"}
INGESTORS: Final = ("ingestor1", "ingestor2")
CALM_S: Final = 0.5
"""How long clients are watched before and after each fault, in s."""
RECOVERY_S: Final = 30.0
"""How long the cluster may take to be whole again after a fault."""
CATCH_UP_S: Final = 10.0
"""How long clients may take to have all that the exchange had sent when the cluster was whole."""
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


class Verdict(NamedTuple):
    """What all clients together saw of one fault."""

    fault: str
    tally: Tally
    silence_s: float
    """The longest time in which nothing came of one of their lively streams."""
    failures: Sequence[str]

    @property
    def line(self) -> str:
        """One line for a person to read."""
        tally = self.tally
        return (
            f"{self.fault:<44} sent {tally.sent:>7} received {tally.received:>7} lost {tally.lost:>5} "
            f"(announced {tally.announced:>5}, undetected {tally.undetected}) doubled {tally.doubled} "
            f"disordered {tally.disordered} longest silence {self.silence_s:5.2f} s "
            f"{'FAILED' if self.failures else 'ok'}"
        )


class Ground:
    """Two ingestors, two replicas, Nginx, bus and exchange, with clients of every door, ready for faults."""

    def __init__(
        self,
        directory: Path,
        env: Mapping[str, str] | None = None,
        bus: BusServer = "redis",
        nodes: Sequence[Process] = (),
    ) -> None:
        """Make all of it; `nodes` are the masters of a Redis Cluster that is the bus, in the order of their slots."""
        directory.mkdir(parents=True, exist_ok=True)
        self.nodes = nodes
        self.cluster = Cluster(directory, env={**SETTINGS, **(env or {})}, bus=bus)
        self.clients: list[Listener] = clients_of_every_door(self.cluster.url)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self.cluster)
            for client in self.clients:
                starting.enter_context(client)
            wait_until(self._all_hear_everything, "every client receives every stream", timeout_s=30)
            self.recover()
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def undergo(self, fault: "Fault", seconds: float) -> Verdict:
        """What clients see of `fault`, which lasts for so long where it lasts."""
        self.recover()
        self._each(lambda client: client.checker.begin(time.monotonic()))
        time.sleep(CALM_S)
        fault.happen(self, seconds)
        self.cluster.control("reset", {})
        self.recover()
        time.sleep(CALM_S)
        self._catch_up()
        return self._judge(fault)

    def kill(self, name: str) -> None:
        """End a process of the cluster at once."""
        self.cluster.processes[name].kill()

    def start(self, name: str) -> None:
        """Start a process of the cluster (again)."""
        self.cluster.processes[name].start()

    def recover(self) -> None:
        """Return once replicas are healthy and every ingestor carries everything, subscribed."""
        wait_until(self._is_whole, "the cluster is whole", timeout_s=RECOVERY_S)

    def ingestor(self, name: str) -> dict[str, Any]:
        """What an ingestor tells of itself."""
        port = self.cluster.processes[name].port
        return dict(httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).json())

    def handovers(self, reason: str) -> float:
        """How often the ingestors have replaced a connection for this reason."""
        return sum(ingestor_metric(self.cluster, f'upstream_handovers_total{{reason="{reason}"}}'))

    def _is_whole(self) -> bool:
        try:
            healthy = all(self.cluster.health(port)["status"] == "healthy" for port in self.cluster.replica_ports)
            shares = [self.ingestor(name) for name in INGESTORS]
            ready = [httpx.get(f"http://127.0.0.1:{port}/health/ready") for port in self.cluster.replica_ports]
        except httpx.TransportError:
            return False
        return (
            healthy
            and all(answer.status_code == HTTPStatus.OK for answer in ready)
            and all(share["phase"] == "live" and share["connected"] and share["bus_connected"] for share in shares)
            and all(_carries_everything(share) for share in shares)
        )

    def _all_hear_everything(self) -> bool:
        self._raise_failures()
        return all({*client.checker.sequences, *client.checker.values} >= {*client.streams} for client in self.clients)

    def _catch_up(self) -> None:
        """Wait for the clients to have what the exchange has sent by now; what they lack then is lost."""
        truth = self._truth()
        deadline = time.monotonic() + CATCH_UP_S
        while not all(self._has(client, truth) for client in self.clients) and time.monotonic() < deadline:
            time.sleep(0.02)
        for client in self.clients:
            with client.lock:
                for stream, sequence in client.checker.sequences.items():
                    if sequence.last is not None:
                        sequence.miss(Span(sequence.last + 1, truth[stream]))
                client.checker.note_time(time.monotonic())

    def _truth(self) -> dict[str, int]:
        url = f"http://127.0.0.1:{self.cluster.exchange_port}"
        return {stream: int(read(httpx.get(url + path).json())) for stream, (path, read) in _TRUTH.items()}

    def _has(self, client: Listener, truth: Mapping[str, int]) -> bool:
        with client.lock:
            sequences = client.checker.sequences
            return all((sequences[name].last or 0) >= truth[name] for name in client.streams if name in truth)

    def _judge(self, fault: "Fault") -> Verdict:
        self._raise_failures()
        with ExitStack() as locks:
            for client in self.clients:
                locks.enter_context(client.lock)
            checkers = [client.checker for client in self.clients]
            tally = judge(checkers)
            found = failures(checkers, may_lose=fault.allows)
            silence_s = max(checker.silence_s for checker in checkers)
        return Verdict(fault.name, tally, silence_s, found)

    def _each(self, act: Callable[[Listener], None]) -> None:
        for client in self.clients:
            with client.lock:
                act(client)

    def _raise_failures(self) -> None:
        for client in self.clients:
            if client.failure is not None:
                raise AssertionError(f"{client.checker.name} failed") from client.failure


Happening: TypeAlias = Callable[[Ground, float], None]


class Fault(NamedTuple):
    """Something that goes wrong: `happen(ground, seconds)` does it, and undoes it."""

    name: str
    happen: Happening
    may_lose: frozenset[str] = frozenset()
    """Streams of which nobody has what was sent meanwhile: it may be lost, if every client is told."""
    cuts_clients: bool = False
    """Whether clients lose their connection: those of the Binance door have no means to catch up."""

    def allows(self, client: Client, stream: str) -> bool:
        """Whether `client` may lose messages of `stream`, if it is told."""
        return stream in self.may_lose or (self.cuts_clients and not client.speaks_of_gaps)


@contextmanager
def cluster_ground(directory: Path) -> Iterator[Ground]:
    """A ground whose bus is a Redis Cluster of three nodes."""
    directory.mkdir(parents=True)
    with asyncio.Runner() as runner:
        nodes_context = cluster_of(directory)
        nodes = runner.run(nodes_context.__aenter__())
        try:
            with Ground(directory / "ground", {"BUS_URL": nodes.url}, nodes=nodes.nodes) as ground:
                yield ground
        finally:
            runner.run(nodes_context.__aexit__(None, None, None))


def _carries_everything(share: Mapping[str, Any]) -> bool:
    groups = share["groups"].values()
    return share["streams"] >= len(STREAMS) and len(groups) > 0 and all(group["subscribed"] for group in groups)
