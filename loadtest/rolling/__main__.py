"""`python -m loadtest.rolling`: a rolling restart of a whole cluster under `CLIENTS` clients, and what they noticed.

Starts a cluster of its own, connects clients from many loopback addresses to both replicas through Nginx,
restarts every replica and ingestor one after the other, and ends with one line of figures. Exit status 1
if a subscription failed, a message was lost or came twice, or too many returned within one second; 130 after Ctrl-C.
"""

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from loadtest.cluster import HOST, ROOT, START_LIMIT_S, running_cluster, settings, until_said, until_told
from loadtest.rolling.client import LeanClient
from loadtest.rolling.figures import Figures, busiest_second

ADDRESSES: Final = 250
"""From so many networks the lean clients come."""
CONNECT_PER_S: Final = 200
SETTLE_S: Final = 3.0
"""How long is watched after the last step, in s: long enough for whoever was let go at its end to return."""


class RollingLoad(BaseSettings):
    """The environment variables of this command; the cluster takes its own ones, too."""

    clients: int = Field(default=2000, ge=2, le=20_000, description="lean clients over WebSocket")
    stock: int = Field(default=30, ge=3, le=250, description="stock socket.io-clients, over all transports")
    max_burst_percent: float = Field(default=10.0, gt=0, le=100, description="how many may return within one second")


def main() -> None:
    """Run it and judge it."""
    try:
        load = load_settings(RollingLoad)
    except SettingsError as error:
        sys.exit(f"Cannot begin: {error}")
    try:
        lean, stock = asyncio.run(until_told(measure(load)))
    except asyncio.CancelledError:
        sys.exit(130)
    sys.exit(0 if report(load, lean, stock) else 1)


async def measure(load: RollingLoad) -> tuple[Figures, Figures]:
    """The figures of the lean and of the stock clients."""
    # Enough to tell what was lost; what the clients themselves cost is not what is measured.
    env = settings(SIM_SYMBOLS="5", SIM_TRADES_PER_SECOND="1")
    lean = Figures()
    async with running_cluster(env) as url, _stock_clients(url, load.stock) as stock_clients:
        async with _lean_clients(int(env["PORT"]), load.clients, lean) as clients:
            typer.echo(f"{load.clients + load.stock} clients are subscribed; restarting everything")
            await _restart(env)
            await asyncio.sleep(SETTLE_S)
            lean.failed_subscribes += sum(not client.is_subscribed for client in clients)
        stock_clients.send_signal(signal.SIGTERM)
        said, _ = await stock_clients.communicate()
    return lean, msgspec.json.decode(said, type=Figures)


def report(load: RollingLoad, lean: Figures, stock: Figures) -> bool:
    """Print what was noticed; whether it was as it must be."""
    # The lean clients' clock is not the stock ones', which are few.
    burst = busiest_second(lean.returns)
    percent = 100 * burst / lean.clients
    for name, figures in (("lean", lean), ("stock", stock)):
        counts = msgspec.to_builtins(figures)
        counts |= {"cuts": len(figures.cuts), "returns": len(figures.returns)}
        typer.echo(f"{name}: " + " ".join(f"{key}={_short(value)}" for key, value in counts.items()))
    troubles = lean.troubles + stock.troubles
    typer.echo(
        f"ROLLING clients={lean.clients + stock.clients} returned={len(lean.returns) + len(stock.returns)}"
        f" failed_connects={lean.failed_connects + stock.failed_connects}"
        f" failed_subscribes={lean.failed_subscribes + stock.failed_subscribes}"
        f" lost={lean.lost + stock.lost} doubled={lean.doubled + stock.doubled}"
        f" busiest_second={burst} ({percent:.1f} %) cut_in_one_second={busiest_second(lean.cuts)}"
        f" slowest_return_s={max(lean.slowest_return_s, stock.slowest_return_s):.1f}"
    )
    everybody_moved = len(lean.returns) >= lean.clients and len(stock.returns) >= stock.clients
    return not troubles and everybody_moved and percent <= load.max_burst_percent


@contextlib.asynccontextmanager
async def _stock_clients(url: str, count: int) -> AsyncIterator[Process]:
    script = str(Path(__file__).with_name("stock.mjs"))
    process = await asyncio.create_subprocess_exec(
        "node", script, url, str(count), cwd=ROOT, stdout=PIPE, stdin=DEVNULL
    )
    try:
        await until_said(process, b"ready")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def _lean_clients(port: int, count: int, figures: Figures) -> AsyncIterator[list[LeanClient]]:
    clients = [LeanClient(HOST, port, f"127.0.{number % ADDRESSES + 1}.1", figures) for number in range(count)]
    tasks = []
    try:
        for number, client in enumerate(clients, start=1):
            tasks.append(asyncio.create_task(client.run()))
            if number % (CONNECT_PER_S // 10) == 0:
                await asyncio.sleep(0.1)
        async with asyncio.timeout(START_LIMIT_S):
            while not all(client.is_subscribed for client in clients):  # noqa: ASYNC110 # thousands of them
                await asyncio.sleep(0.1)
        yield clients
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _restart(env: Mapping[str, str]) -> None:
    """Restart everything; raises RuntimeError if that failed."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "deploy.rolling", cwd=ROOT, env=env)
    if await process.wait():
        raise RuntimeError("the rolling restart failed")


def _short(value: object) -> object:
    return f"{value:.1f}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
