"""What a local cluster consists of: every process with its command, settings and readiness check, as plain data."""

import enum
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from deploy import nginx, programs
from deploy.secure import NATS_USERS, Secrets, User

ROOT: Final = Path(__file__).resolve().parents[1]
LOOPBACK: Final = "127.0.0.1"
PIDS: Final = "pids"
"""The folder in a cluster's state in which each process's id is, as `<name>.pid`."""
ROLL_PLAN: Final = "roll.json"
"""The file in a cluster's state that tells deploy/rolling.py what runs."""

DRAIN_S: Final = 30.0
"""How long a replica of a cluster takes leave of its clients. The last one to be restarted has the clients of all: in
30 s some 3 % of them a second arrive elsewhere, and a busy machine may stall for a second or two without a burst."""

BusServer: TypeAlias = Literal["redis", "nats"]
"""What the processes share as their bus."""


class Wave(enum.IntEnum):
    """The order in which processes end, all of one wave before the next: nobody loses what it still needs."""

    # Their goodbyes go through Nginx.
    REPLICAS = 1
    PROXY = 2
    INGESTORS = 3
    EXCHANGE = 4
    BUS = 5


class PlannedProcess(NamedTuple):
    """One process of the cluster."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """What it needs beyond the environment that all inherit."""
    port: int | None
    """The TCP port it listens on; None for one that listens nowhere."""
    ready_path: str
    """A path on that port that answers 200 once it is ready; empty where an accepted connection says so."""
    wave: Wave
    """When it is ended."""
    stop_signal: signal.Signals = signal.SIGTERM
    """What asks it to end once it has done what it is doing."""


class ClusterPlan(NamedTuple):
    """All processes, in the order in which to start them, and what must lie on disk before."""

    processes: tuple[PlannedProcess, ...]
    directories: tuple[Path, ...]
    files: Mapping[Path, str]

    def write(self) -> None:
        """Make the directories and write the files."""
        for directory in self.directories:
            directory.mkdir(parents=True, exist_ok=True)
        for path, text in self.files.items():
            path.write_text(text)


def resolve_exchange(spec: str, cwd: Path) -> str:
    """`spec` (a value of EXCHANGE) with a recording's relative path made absolute from `cwd`."""
    kind, separator, path = spec.partition(":")
    return f"{kind}:{(cwd / path).resolve()}" if kind == "replay" and separator else spec


def cluster_plan(
    *,
    state_dir: Path,
    nginx_port: int,
    replica_ports: Sequence[int],
    ingestor_ports: Sequence[int],
    bus_port: int,
    exchange_port: int,
    bus: BusServer = "redis",
    exchange: str = "simulate",
    host: str = LOOPBACK,
    template: str | None = None,
    drain_s: float = DRAIN_S,
    balance: nginx.Balance = "ip_hash",
    tls: nginx.Tls | None = None,
    secrets: Secrets | None = None,
) -> ClusterPlan:
    """Nginx, replicas, ingestors, the bus and, unless the exchange is Binance itself, a stand-in for it.

    Args:
        state_dir: where configuration, pid and temporary files go.
        nginx_port: where clients connect, on `host`. Everything else listens on the loopback only.
        replica_ports: one replica a port, named app1, app2, ... in this order.
        ingestor_ports: where each ingestor tells its health, named ingestor1, ingestor2, ... in this order.
        bus_port: of the bus's server, which keeps nothing on disk.
        exchange_port: of the stand-in; unused with `binance`.
        bus: which server that is.
        exchange: a value of EXCHANGE; a recording's path is absolute (`resolve_exchange`).
        host: the address that Nginx listens on.
        template: the Nginx template's text; read from nginx/nginx.conf.template where not given.
        drain_s: DRAIN_SECONDS of the replicas.
        balance: by what Nginx finds a client's replica.
        tls: where Nginx listens for TLS, too.
        secrets: by which the bus is encrypted and its users tell who they are; without them it is open to all.
    """
    configuration = state_dir / "nginx.conf"
    values = nginx.local_values(
        listen=f"{host}:{nginx_port}",
        replicas=[f"{LOOPBACK}:{port}" for port in replica_ports],
        state_dir=state_dir,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        as_root=os.geteuid() == 0,
        balance=balance,
        tls=tls,
    )
    shared = {
        "HOST": LOOPBACK,
        "EXCHANGE": exchange,
        "EXCHANGE_URL": f"http://{LOOPBACK}:{exchange_port}",
    }
    stand_in = (
        () if exchange == "binance" else (_role("exchange", shared, exchange_port, "/api/v3/ping", wave=Wave.EXCHANGE),)
    )
    as_replica = {
        **shared,
        **_way_in("replica", bus, bus_port, secrets),
        "TRUSTED_PROXIES": LOOPBACK,
        "DRAIN_SECONDS": str(drain_s),
    }
    as_ingestor = {**shared, **_way_in("ingestor", bus, bus_port, secrets)}
    replicas = (
        _role(
            "replica",
            {**as_replica, "REPLICA": f"app{number}"},
            port,
            "/health/ready",
            wave=Wave.REPLICAS,
            name=f"app{number}",
            # SIGTERM would drain: who ends the whole cluster does not wait for that.
            stop_signal=signal.SIGINT,
        )
        for number, port in enumerate(replica_ports, start=1)
    )
    ingestors = (
        _role(
            "ingestor",
            {**as_ingestor, "INSTANCE": f"ingestor{number}"},
            port,
            "/health/ready",
            wave=Wave.INGESTORS,
            name=f"ingestor{number}",
        )
        for number, port in enumerate(ingestor_ports, start=1)
    )
    processes = (
        _nats(bus_port, state_dir, secrets) if bus == "nats" else _redis(bus_port, state_dir, secrets),
        *stand_in,
        *ingestors,
        *replicas,
        _nginx(configuration, nginx_port),
    )
    return ClusterPlan(
        processes=processes,
        directories=(state_dir, state_dir / PIDS),
        files={
            configuration: nginx.render(template or nginx.TEMPLATE.read_text(), values),
            state_dir / ROLL_PLAN: _roll_plan(processes, nginx_port, drain_s),
        },
    )


def _roll_plan(processes: Sequence[PlannedProcess], nginx_port: int, drain_s: float) -> str:
    """What deploy/rolling.py has to know, as JSON: whom it restarts, in this order, and how it sees the result."""
    waves = {Wave.REPLICAS: "replicas", Wave.INGESTORS: "ingestors"}
    parts = {
        name: [{"name": each.name, "port": each.port} for each in processes if each.wave is wave]
        for wave, name in waves.items()
    }
    return json.dumps({"nginx_port": nginx_port, "drain_s": drain_s, **parts})


def _role(
    role: str,
    shared: Mapping[str, str],
    port: int,
    ready_path: str,
    *,
    wave: Wave,
    name: str = "",
    stop_signal: signal.Signals = signal.SIGTERM,
) -> PlannedProcess:
    """One of our own processes."""
    env = {**shared, "PORT": str(port)}
    return PlannedProcess(name or role, (sys.executable, "-m", "app", role), env, port, ready_path, wave, stop_signal)


def _way_in(user: User, bus: BusServer, port: int, secrets: Secrets | None) -> Mapping[str, str]:
    """How a process gets to the bus."""
    address = f"{LOOPBACK}:{port}"
    return {"BUS_URL": f"{bus}://{address}"} if secrets is None else secrets.way_in(user, bus, address)


def _redis(port: int, state_dir: Path, secrets: Secrets | None) -> PlannedProcess:
    """A Redis that keeps nothing: market data has no use after a restart, and cached values live 60 s."""
    serving = ("--port", str(port)) if secrets is None else secrets.redis_options(port)
    options = ("--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", str(state_dir))
    return PlannedProcess("redis", ("redis-server", *serving, *options), {}, port, "", Wave.BUS)


def _nats(port: int, state_dir: Path, secrets: Secrets | None) -> PlannedProcess:
    """NATS with JetStream, in which the bus keeps values and budgets, in memory; it wants a directory all the same."""
    options = ("-js", "-sd", str(state_dir / "nats"), *(() if secrets is None else ("-c", str(NATS_USERS))))
    argv = (programs.find("nats-server"), "-a", LOOPBACK, "-p", str(port), *options)
    return PlannedProcess("nats", argv, {} if secrets is None else secrets.nats_env(), port, "", Wave.BUS)


def _nginx(configuration: Path, port: int) -> PlannedProcess:
    """Nginx in the foreground; `-e` or it opens its compiled-in log file before it reads the configuration."""
    argv = (nginx.executable(), "-e", "stderr", "-c", str(configuration), "-g", "daemon off;")
    # SIGTERM would cut what it still has to pass on.
    return PlannedProcess("nginx", argv, {}, port, "/health/live", Wave.PROXY, signal.SIGQUIT)
