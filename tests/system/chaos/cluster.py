"""`python -m tests.system.chaos.cluster SITE`: what `make cluster` runs, with links that can be cut between its parts.

A process of its own: the supervisor restarts what dies, however busy whoever watches the clients is.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec
import psutil
import typer

from deploy.cluster import CannotStartError, run
from deploy.plan import LOOPBACK, BusServer, ClusterPlan, PlannedProcess, Wave, cluster_plan
from tests.support.processes import free_port
from tests.system.chaos.plan import BUS_LINKS, FEED, INGESTORS, REPLICAS

READY: Final = "Tickcast is ready"
_SKEWED: Final = """
import pathlib, runpy, sys, time
shift, now, now_ns = float(pathlib.Path(sys.argv.pop(1)).read_text()), time.time, time.time_ns
time.time = lambda: now() + shift
time.time_ns = lambda: now_ns() + int(shift * 1e9)
sys.argv[0] = "app"
runpy.run_module("app", run_name="__main__")
"""
"""Our own process with the wall clock that a file tells when it starts."""


class Site(msgspec.Struct, frozen=True):
    """Where everything is; ports are of the loopback."""

    directory: str
    env: dict[str, str]
    """What all our own processes are set to."""
    bus: BusServer
    bus_url: str
    """Of a bus that somebody else started; empty = a server of ours, behind links."""
    nginx_port: int
    replica_ports: list[int]
    ingestor_ports: list[int]
    bus_port: int
    exchange_port: int
    links: dict[str, int]
    """The port of each link."""

    @property
    def clock(self) -> Path:
        """A file that tells how far ahead the second ingestor's clock is when it starts next, in s."""
        return Path(self.directory) / "clock"

    @property
    def url(self) -> str:
        """Where clients connect: Nginx."""
        return f"http://{LOOPBACK}:{self.nginx_port}"


def free_site(directory: Path, env: dict[str, str], bus: BusServer = "redis", bus_url: str = "") -> Site:
    """A site on free ports."""
    return Site(
        directory=str(directory),
        env=env,
        bus=bus,
        bus_url=bus_url,
        nginx_port=free_port(),
        replica_ports=[free_port() for _ in REPLICAS],
        ingestor_ports=[free_port() for _ in INGESTORS],
        bus_port=free_port(),
        exchange_port=free_port(),
        links={name: free_port() for name in (*BUS_LINKS, FEED)},
    )


def site_plan(site: Site) -> ClusterPlan:
    """The plan of `make cluster`, each process led over its links."""
    plan = cluster_plan(
        state_dir=Path(site.directory) / "state",
        nginx_port=site.nginx_port,
        replica_ports=site.replica_ports,
        ingestor_ports=site.ingestor_ports,
        bus_port=site.bus_port,
        exchange_port=site.exchange_port,
        bus=site.bus,
    )
    return plan._replace(processes=tuple(_linked(process, site) for process in plan.processes))


def processes_of(supervisor: psutil.Process) -> dict[str, int]:
    """The process ids of the supervisor's children, by the names of their plan; the bus's server is `bus`."""
    found = {}
    for child in supervisor.children():
        try:
            name = _name_of(child)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just died, or is about to become itself
            continue
        if name:
            found[name] = child.pid
    return found


def main(site: Site) -> None:
    """Run the site until SIGTERM; exit status 1 if it cannot start."""
    site.clock.write_text("0")
    try:
        asyncio.run(run(site_plan(site), site.url))
    except CannotStartError as why:
        typer.echo(f"Cannot start: {why}", err=True)
        sys.exit(1)


def _linked(process: PlannedProcess, site: Site) -> PlannedProcess:
    """Lead a replica's or an ingestor's way to the bus, and an ingestor's to the exchange, over their links."""
    env = {**process.env, **site.env}
    if process.wave is Wave.REPLICAS:
        return process._replace(env={**env, "BUS_URL": _bus_url(site, "replicas")})
    if process.wave is not Wave.INGESTORS:
        return process._replace(env=env)
    feed = f"http://{LOOPBACK}:{site.links[FEED]}"
    env |= {"BUS_URL": _bus_url(site, "ingestors"), "EXCHANGE_URL": feed}
    argv = process.argv
    if process.name == INGESTORS[1]:
        argv = (sys.executable, "-c", _SKEWED, str(site.clock), argv[-1])
    return process._replace(env=env, argv=argv)


def _bus_url(site: Site, link: str) -> str:
    return site.bus_url or f"{site.bus}://{LOOPBACK}:{site.links[link]}"


def _name_of(process: psutil.Process) -> str | None:
    """The name in the plan; None for what has not become itself yet."""
    program, argv = process.name(), process.cmdline()
    if program.endswith("-server"):
        return "bus"
    if program.startswith("nginx"):
        return "nginx"
    role = argv[-1] if argv else ""
    variable = {"replica": "REPLICA", "ingestor": "INSTANCE"}.get(role)
    return process.environ().get(variable) if variable else "exchange" if role == "exchange" else None


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Site))
