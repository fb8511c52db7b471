"""`python -m deploy.cluster`: Nginx, replicas, ingestors, bus and exchange on this machine, until Ctrl-C."""

import asyncio
import contextlib
import os
import resource
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import structlog
import typer
from pydantic import Field, field_validator, model_validator

from binance.settings import ExchangeSettings, SettingsError, load_settings
from deploy import nginx
from deploy.plan import DRAIN_S, LOOPBACK, PIDS, ROOT, BusServer, ClusterPlan, cluster_plan, resolve_exchange
from deploy.readiness import free_port, is_free, wait_ready
from deploy.secure import Secrets
from deploy.supervisor import Supervisor, prepare_logs

START_LIMIT_S: Final = 60.0
LOG_TAIL_LINES: Final = 15

_log = structlog.get_logger(__name__)


class ClusterSettings(ExchangeSettings):
    """The environment variables of `make cluster`; all others are handed on to the processes."""

    port: int = Field(default=8080, ge=1, le=65_535, description="where Nginx listens")
    host: str = Field(default="0.0.0.0", description="the address that Nginx listens on")  # noqa: S104 - as in the container
    replicas: int = Field(default=2, ge=1, le=32, description="how many replicas")
    replica_port: int = Field(default=3000, ge=1, le=65_000, description="port of the first replica; the others follow")
    ingestors: int = Field(default=2, ge=1, le=8, description="how many ingestors")
    bus: BusServer = Field(default="redis", description="what the processes share as their bus: redis, nats")
    secure: bool = Field(default=False, description="whether the bus has TLS and users, and control requests a key")

    drain_seconds: float = Field(
        default=DRAIN_S,
        ge=0,
        le=600,
        description="s over which a replica that is restarted sends its clients elsewhere",
    )
    nginx_balance: nginx.Balance = Field(default="ip_hash", description="by what Nginx finds a client's replica")
    nginx_tls_cert: Path | None = Field(
        default=None, description="certificate (chain), PEM: Nginx listens for TLS, too"
    )
    nginx_tls_key: Path | None = Field(default=None, description="the certificate's key, PEM")
    tls_port: int = Field(default=8443, ge=1, le=65_535, description="where Nginx listens for TLS")

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.nginx_tls_cert is None) != (self.nginx_tls_key is None):
            raise ValueError("NGINX_TLS_CERT and NGINX_TLS_KEY are given together or not at all")
        return self

    @field_validator("nginx_tls_cert", "nginx_tls_key")
    @classmethod
    def _is_there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("there is no such file")
        return path.resolve() if path else None

    @property
    def tls(self) -> nginx.Tls | None:
        """Where and how Nginx listens for TLS, if it does."""
        if self.nginx_tls_cert is None or self.nginx_tls_key is None:
            return None
        return nginx.Tls(f"{self.host}:{self.tls_port}", self.nginx_tls_cert, self.nginx_tls_key)

    @property
    def replica_ports(self) -> range:
        """One port a replica."""
        return range(self.replica_port, self.replica_port + self.replicas)


class CannotStartError(Exception):
    """Why the cluster does not start, as a sentence for the person who started it."""


def main() -> None:
    """Run the cluster; exit status 1 and one sentence if it cannot start."""
    try:
        settings = load_settings(ClusterSettings)
        asyncio.run(run(_checked_plan(settings), f"http://localhost:{settings.port}"))
    except (CannotStartError, SettingsError) as why:
        typer.echo(f"Cannot start the cluster: {why}", err=True)
        sys.exit(1)


async def run(plan: ClusterPlan, address: str) -> None:
    """Start `plan`, say so once it is ready, and end all of it on SIGINT, SIGTERM or SIGHUP.

    Raises:
        CannotStartError: a process ended, or was not ready within `START_LIMIT_S`.
    """
    plan.write()
    log_dir = plan.directories[0] / "logs"
    logs = prepare_logs(plan.processes, log_dir)
    ended_early: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_exit(name: str, code: int) -> None:
        _log.warning("process ended, it is started again", process=name, code=code)
        if not ended_early.done():
            ended_early.set_result(name)

    supervisor = Supervisor(plan.processes, log_dir, on_exit, plan.directories[0] / PIDS)
    stop = _on_signals()
    try:
        await supervisor.start()
        await _until_ready(plan, ended_early, stop, logs)
        if not stop.done():
            typer.echo(table(plan, supervisor.pids(), logs))
            typer.echo(f"\nTickcast is ready: {address} (Ctrl-C ends all of it)")
            await stop
    finally:
        await supervisor.stop()


def table(plan: ClusterPlan, pids: Mapping[str, int], logs: Mapping[str, Path]) -> str:
    """What runs where, one line a process."""
    lines = [f"{'process':<10} {'pid':>8}  {'listens on':<16} log"]
    for process in plan.processes:
        where = f":{process.port}" if process.port else "-"
        log = os.path.relpath(logs[process.name])
        lines.append(f"{process.name:<10} {pids.get(process.name, '-'):>8}  {where:<16} {log}")
    return "\n".join(lines)


async def _until_ready(
    plan: ClusterPlan, ended_early: asyncio.Future[str], stop: asyncio.Future[None], logs: Mapping[str, Path]
) -> None:
    """Return when all processes are ready, or when somebody wants to stop."""
    ready = asyncio.create_task(wait_ready(plan.processes))
    try:
        first: list[asyncio.Future[Any]] = [ready, ended_early, stop]
        await asyncio.wait(first, timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            return
        if ended_early.done():
            name = ended_early.result()
            raise CannotStartError(f"{name} ended at once. The end of {logs[name]}:\n{_tail(logs[name])}")
        if not ready.done():
            raise CannotStartError(
                f"it is not ready after {START_LIMIT_S:.0f} s; see {next(iter(logs.values())).parent}"
            )
        await ready
    finally:
        ready.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ready


def _on_signals() -> asyncio.Future[None]:
    """A future that the first SIGINT, SIGTERM or SIGHUP completes."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not stop.done():
            stop.set_result(None)

    # After circus has installed its own handlers: it takes SIGHUP, a closed terminal, for a wish to reload.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    return stop


def state_dir(port: int) -> Path:
    """Where the cluster whose Nginx listens on `port` keeps its state: configuration, logs, process ids."""
    return ROOT / ".run" / f"cluster-{port}"


def _checked_plan(settings: ClusterSettings) -> ClusterPlan:
    """The plan, if its ports are free and its programs and recording exist."""
    wanted = [("PORT", settings.host, settings.port)]
    wanted += [("REPLICA_PORT", LOOPBACK, port) for port in settings.replica_ports]
    wanted += [("TLS_PORT", settings.host, settings.tls_port)] if settings.tls else []
    for variable, host, port in wanted:
        if not is_free(host, port):
            raise CannotStartError(f"port {port} is taken; {variable}=... chooses another")
    exchange = resolve_exchange(settings.exchange, Path.cwd())
    kind, _, recording = exchange.partition(":")
    if kind == "replay" and not Path(recording).is_file():
        raise CannotStartError(f"EXCHANGE: there is no recording {recording}")
    directory = state_dir(settings.port)
    secrets = Secrets(directory / "secrets") if settings.secure else None
    if secrets is not None:
        secrets.make()
    taken = {port for _, _, port in wanted}
    plan = cluster_plan(
        state_dir=directory,
        nginx_port=settings.port,
        replica_ports=settings.replica_ports,
        ingestor_ports=[free_port(taken) for _ in range(settings.ingestors)],
        bus_port=free_port(taken),
        exchange_port=free_port(taken),
        bus=settings.bus,
        exchange=exchange,
        host=settings.host,
        drain_s=settings.drain_seconds,
        balance=settings.nginx_balance,
        tls=settings.tls,
        secrets=secrets,
    )
    for process in plan.processes:
        if shutil.which(process.argv[0]) is None:
            raise CannotStartError(f"{process.argv[0]} is not installed; deploy/system-packages.sh installs it")
    _raise_file_limit()
    return plan


def _raise_file_limit() -> None:
    """Let every process hold as many connections as the machine permits: the customary soft limit is 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tail(log: Path) -> str:
    """The last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


if __name__ == "__main__":
    main()
