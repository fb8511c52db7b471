"""A whole cluster as children of the test: the processes of `make cluster`, each to be killed and started by name."""

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from deploy.plan import BusServer, cluster_plan
from tests.support.processes import ROOT, Process, free_port, wait_until, whole_lines


class Cluster:
    """Nginx, two replicas, mostly two ingestors, Redis or NATS, and an exchange on free ports."""

    def __init__(
        self,
        directory: Path,
        exchange: str = "simulate",
        env: Mapping[str, str] | None = None,
        bus: BusServer = "redis",
        *,
        ingestors: int = 2,
        drain_s: float = 0.0,
    ) -> None:
        self.bus = bus
        self.nginx_port = free_port()
        self.replica_ports = [free_port(), free_port()]
        self.exchange_port = free_port()
        plan = cluster_plan(
            state_dir=directory / "state",
            nginx_port=self.nginx_port,
            replica_ports=self.replica_ports,
            ingestor_ports=[free_port() for _ in range(ingestors)],
            bus_port=free_port(),
            exchange_port=self.exchange_port,
            bus=bus,
            exchange=exchange,
            drain_s=drain_s,
        )
        plan.write()
        self.processes = {
            planned.name: Process(
                planned.argv, planned.port or 0, directory / f"{planned.name}.log", {**planned.env, **(env or {})}
            )
            for planned in plan.processes
        }

    @property
    def url(self) -> str:
        """Where clients connect: Nginx."""
        return f"http://127.0.0.1:{self.nginx_port}"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as started:
            started.callback(self._stop)
            for process in self.processes.values():
                process.start()
            wait_until(self._is_fed, "every replica hears the bus and has its feed", timeout_s=60)
            started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def health(self, replica_port: int) -> dict[str, Any]:
        """`/health` of one replica."""
        answer = httpx.get(f"http://127.0.0.1:{replica_port}/health", timeout=10).json()
        return dict(answer)

    def control(self, action: str, body: Mapping[str, Any]) -> None:
        """Ask the exchange stand-in to misbehave."""
        url = f"http://127.0.0.1:{self.exchange_port}/control/{action}"
        httpx.post(url, json=dict(body), timeout=5).raise_for_status()

    def _stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.stop()

    def _is_fed(self) -> bool:
        return all(self.health(port)["status"] == "healthy" for port in self.replica_ports)


def ingestor_metric(cluster: Cluster, sample: str) -> list[float]:
    """What each ingestor that has it says under `tickcast_<sample>`, labels included."""
    found = []
    for name, process in cluster.processes.items():
        if name.startswith("ingestor"):
            text = httpx.get(f"http://127.0.0.1:{process.port}/metrics", timeout=10).text
            lines = [line for line in text.splitlines() if line.startswith(f"tickcast_{sample} ")]
            found += [float(line.rpartition(" ")[2]) for line in lines]
    return found


class NodeClient:
    """A process that runs one of our small Node scripts and what it printed so far."""

    def __init__(self, log: Path, arguments: Sequence[str]) -> None:
        self._log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(["node", *arguments], stdout=output, stderr=subprocess.STDOUT, cwd=ROOT)

    @classmethod
    def collecting(cls, log: Path, url: str, source: str, how: str, *streams: str) -> Self:
        """clients/collect.mjs from the loopback address `source`, whose third octet decides on the replica."""
        script = str(ROOT / "tests/system/clients/collect.mjs")
        return cls(log, [script, url, source, how, *streams])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.terminate()
        self._child.wait(timeout=10)

    def lines(self, kind: str) -> list[bytes]:
        """What the script printed as `<kind> <rest>`, the rests."""
        head = kind.encode() + b" "
        return [line[len(head) :] for line in whole_lines(self._log) if line.startswith(head)]

    def wait_for(self, kind: str, count: int = 1, timeout_s: float = 20) -> list[bytes]:
        """Return the lines of `kind` once there are `count` of them."""
        wait_until(lambda: len(self.lines(kind)) >= count, f"{count} x {kind} in {self._log}", timeout_s)
        return self.lines(kind)

    def messages(self, stream: str) -> list[bytes]:
        """Payloads of the events of `stream`, in order, byte for byte as they came."""
        mark = b'"stream":"%b",' % stream.encode()
        return [_payload(packet) for packet in self.lines("packet") if mark in packet[:120] and b'"data":' in packet]


def _payload(packet: bytes) -> bytes:
    """The data of `2["kind",{"stream":..,"cursor":..,"ts":..,"data":<payload>}]`."""
    return packet[packet.index(b'"data":') + len(b'"data":') : -2]
