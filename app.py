"""Where the parts are wired: `python -m app run|replica|ingestor|exchange|key`, configured by the environment.

Each role loads its own parts only: an ingestor or an exchange starts in half the time, and is smaller.
"""

import asyncio
import contextlib
import errno
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import stamina.instrumentation
import structlog
import typer
import uvloop

from binance.settings import SettingsError, load_settings
from bus import open_bus
from bus.settings import BusSettings
from telemetry.logs import configure_logging, identify
from telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from exchange.settings import ExchangeServerSettings
    from ingestor.service import Ingestor
    from ingestor.settings import IngestorSettings
    from server.replica import Replica
    from server.settings import ReplicaSettings
    from telemetry.exposition import Figures

GC_THRESHOLD: Final = 10_000
"""Container objects that may be made, net of those let go, before the youngest are looked through."""

Part: TypeAlias = "AbstractAsyncContextManager[Replica | None]"
"""What one process runs; with the replica among it, whose clients want to be told."""

cli = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Tickcast: Binance market data to Socket.IO clients."
)
log = structlog.get_logger(__name__)


@cli.command()
def run() -> None:
    """Serve everything from one process: exchange stand-in (or Binance), ingestor and one replica."""
    _serve(_everything())


@cli.command()
def replica() -> None:
    """Serve clients from a bus."""
    from server.settings import ReplicaSettings

    settings = load_settings(ReplicaSettings)
    _warn_alone(settings)
    _serve(_replica(settings))


@cli.command()
def ingestor() -> None:
    """Bring market data from the exchange to a bus."""
    from ingestor.settings import IngestorSettings

    settings = load_settings(IngestorSettings)
    _warn_alone(settings)
    _serve(_ingestor_alone(settings))


@cli.command()
def exchange() -> None:
    """Play Binance: simulate a market or replay a recording."""
    from exchange.settings import ExchangeServerSettings

    _serve(_exchange(load_settings(ExchangeServerSettings)))


@cli.command()
def key(name: str) -> None:
    """Make an API key called NAME: the key itself, shown only now, and the lines for API_KEYS_FILE."""
    from server.access.api_keys import make_key

    try:
        made = make_key(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(made.key)
    typer.echo(f"# Keep the key: only its hash is stored. These lines are for API_KEYS_FILE:\n\n{made.lines}", err=True)


@asynccontextmanager
async def _everything() -> AsyncIterator["Replica"]:
    from exchange.settings import ExchangeServerSettings
    from ingestor.metrics import IngestorMetrics
    from ingestor.settings import IngestorSettings
    from server.settings import ReplicaSettings

    replica_settings, ingestor_settings = load_settings(ReplicaSettings), load_settings(IngestorSettings)
    async with contextlib.AsyncExitStack() as parts:
        if replica_settings.exchange != "binance":
            own = load_settings(ExchangeServerSettings).model_copy(update={"host": "127.0.0.1", "port": 0})
            port = await parts.enter_async_context(_exchange_port(own))
            here = {"exchange_url": f"http://127.0.0.1:{port}"}
            replica_settings = replica_settings.model_copy(update=here)
            ingestor_settings = ingestor_settings.model_copy(update=here)
        ingestor = await parts.enter_async_context(_ingestor(ingestor_settings))
        yield await parts.enter_async_context(_replica(replica_settings, IngestorMetrics(ingestor)))


@asynccontextmanager
async def _replica(settings: "ReplicaSettings", *beside: "Figures") -> AsyncIterator["Replica"]:
    """A replica, whose `/metrics` has the figures of what runs `beside` it in the process."""
    from server.replica import Replica

    identify(replica=settings.name)
    bus = open_bus(settings.resolved_bus_url, settings.name, settings.bus_tls)
    part = Replica(settings, bus)
    for figures in beside:
        part.exposition.add(figures)
    await bus.start()
    try:
        port = await part.start()
        typer.echo(f"Tickcast serves http://localhost:{port}")
        yield part
    finally:
        await part.close()
        await bus.close()


@asynccontextmanager
async def _ingestor_alone(settings: "IngestorSettings") -> AsyncIterator[None]:
    """An ingestor with a port of its own, where it tells its health."""
    from ingestor.health import HealthDoor

    async with _ingestor(settings) as part:
        door = HealthDoor(settings, part)
        try:
            await door.start()
            yield
        finally:
            await door.close()


@asynccontextmanager
async def _ingestor(settings: "IngestorSettings") -> AsyncIterator["Ingestor"]:
    from ingestor.service import Ingestor

    identify(ingestor=settings.instance)
    bus = open_bus(settings.resolved_bus_url, "ingestor", settings.bus_tls)
    part = Ingestor(settings, bus, settings.endpoints)
    await bus.start()
    try:
        await part.start()
        yield part
    finally:
        await part.close()
        await bus.close()


@asynccontextmanager
async def _exchange(settings: "ExchangeServerSettings") -> AsyncIterator[None]:
    async with _exchange_port(settings):
        yield


@asynccontextmanager
async def _exchange_port(settings: "ExchangeServerSettings") -> AsyncIterator[int]:
    from exchange.server import Exchange

    part = Exchange(settings)
    try:
        yield await part.start()
    finally:
        await part.close()


def _serve(part: Part) -> None:
    """Run `part` until a signal: SIGTERM drains a replica first, SIGINT and any second signal end it without that."""
    uvloop.run(_until_signalled(part))


async def _until_signalled(part: Part) -> None:
    asked, at_once = asyncio.Event(), asyncio.Event()

    def end(number: signal.Signals) -> None:
        if asked.is_set() or number is signal.SIGINT:
            at_once.set()
        asked.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    async with part as replica:
        _spare_the_collector()
        await asked.wait()
        if replica is not None and not at_once.is_set():
            await _until_first(replica.drain(), at_once.wait())
        log.info("stopping")


async def _until_first(*works: Coroutine[Any, Any, object]) -> None:
    """Return with the first of `works` that is done, and give up the others; what failed raises here."""
    tasks = [asyncio.ensure_future(work) for work in works]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


def _warn_alone(settings: BusSettings) -> None:
    """The memory bus ends with its process: a role that runs alone on it hears nobody."""
    if settings.resolved_bus_url.startswith("memory://"):
        log.warning("alone on the memory bus: BUS_URL names the one that other processes share")


def _spare_the_collector() -> None:
    """Leave what lives as long as the process out of every collection, and collect the young less often.

    Each request of aiohttp's leaves a cycle or two: with Python's threshold of 700, up to half of a
    long poll's CPU time went into looking through 100,000 objects of imported modules.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])


def main() -> None:
    """Run the command; a wrong setting ends the start with one sentence and exit status 2."""
    try:
        configure_logging(load_settings(TelemetrySettings))
        stamina.instrumentation.set_on_retry_hooks([])  # who gives up in the end logs it, once
        cli()
    except SettingsError as error:
        sys.exit(f"Cannot start: {error}.")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(f"Cannot start: the port is taken; PORT=... chooses another ({error.strerror}).")
        if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            sys.exit(f"Cannot start: HOST is no address of this machine ({error.strerror}).")
        raise


if __name__ == "__main__":
    main()
