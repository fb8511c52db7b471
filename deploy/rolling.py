"""`python -m deploy.rolling`: restart every replica and ingestor of a running `make cluster`, one after the other.

Each is asked to end (SIGTERM: a replica drains, an ingestor hands over), the supervisor starts it again, and
the next one follows when it takes part again. Exit status 1 with one sentence if one of them does not;
those behind it are left as they are.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx
import msgspec
import typer
from pydantic import Field
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from deploy.cluster import state_dir
from deploy.plan import LOOPBACK, PIDS, ROLL_PLAN

POLL_S: Final = 0.1
LEAVE_S: Final = 30.0
"""How long a process may take to end, beyond the drain, in s; an ingestor hands over for 10 at most."""
READY_S: Final = 60.0
ROUTED_S: Final = 30.0
"""How long Nginx may take to send clients to a replica that is back."""

Say = Callable[[str], None]


class Part(msgspec.Struct, frozen=True):
    """One process that is restarted: its name, and the port on which it tells its health."""

    name: str
    port: int


class RollPlan(msgspec.Struct, frozen=True):
    """What `deploy/plan.py` wrote down of a cluster."""

    nginx_port: int
    drain_s: float
    replicas: tuple[Part, ...]
    ingestors: tuple[Part, ...]


class RollingSettings(BaseSettings):
    """Which cluster is meant: the one whose Nginx listens on `PORT`."""

    port: int = Field(default=8080, ge=1, le=65_535, description="where the cluster's Nginx listens")


class RollError(Exception):
    """Why the restart ended early, as a sentence for the person who asked for it."""


def main() -> None:
    """Restart the cluster on `PORT`; exit status 1 and one sentence if it could not be done."""
    try:
        settings = load_settings(RollingSettings)
        asyncio.run(roll(state_dir(settings.port), typer.echo))
    except (RollError, SettingsError) as why:
        typer.echo(f"The restart ended: {why}", err=True)
        sys.exit(1)


async def roll(directory: Path, say: Say) -> None:
    """Restart all replicas, then all ingestors of the cluster with its state in `directory`; `say` gets a line a step.

    Raises:
        RollError: no cluster runs there, one of its processes was not ready before, or is not again.
    """
    plan = read_plan(directory)
    began = time.monotonic()
    async with httpx.AsyncClient(trust_env=False, timeout=5.0) as http:
        for part in (*plan.replicas, *plan.ingestors):
            if not await _is_ready(http, part):
                raise RollError(f"{part.name} is not ready; nothing was restarted")
        for part in plan.replicas:
            await _restart(http, part, directory, plan.drain_s + LEAVE_S, say)
            await _within(ROUTED_S, partial(_is_routed, part, plan), f"Nginx sends nobody to {part.name}")
            say(f"{part.name}: Nginx sends clients to it")
        for part in plan.ingestors:
            await _restart(http, part, directory, LEAVE_S, say)
    seconds = time.monotonic() - began
    say(f"Restarted {len(plan.replicas)} replicas and {len(plan.ingestors)} ingestors in {seconds:.0f} s")


def read_plan(directory: Path) -> RollPlan:
    """What runs in the cluster with its state in `directory`. Raises RollError where none ever did."""
    try:
        return msgspec.json.decode((directory / ROLL_PLAN).read_bytes(), type=RollPlan)
    except OSError:
        raise RollError(f"no cluster has its state in {directory}") from None


async def _restart(http: httpx.AsyncClient, part: Part, directory: Path, leave_s: float, say: Say) -> None:
    path = directory / PIDS / f"{part.name}.pid"
    pid = int(path.read_text())
    say(f"{part.name}: takes its leave (pid {pid})")
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        raise RollError(f"{part.name} (pid {pid}) ended by itself meanwhile") from None

    async def is_another() -> bool:
        return path.read_text() != str(pid)

    took = await _within(leave_s, is_another, f"{part.name} (pid {pid}) was not started again")
    say(f"{part.name}: ended after {took:.1f} s, started again (pid {path.read_text()})")
    took = await _within(READY_S, partial(_is_ready, http, part), f"{part.name} was started and is not ready")
    say(f"{part.name}: ready after {took:.1f} s")


async def _within(limit_s: float, condition: Callable[[], Awaitable[bool]], otherwise: str) -> float:
    """Return after how many seconds `condition` held. Raises RollError after `limit_s`."""
    began = time.monotonic()
    while not await condition():
        if time.monotonic() - began > limit_s:
            raise RollError(f"{otherwise} within {limit_s:.0f} s")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - began


async def _is_ready(http: httpx.AsyncClient, part: Part) -> bool:
    try:
        answer = await http.get(f"http://{LOOPBACK}:{part.port}/health/ready")
    except httpx.TransportError:
        return False
    return answer.status_code == HTTPStatus.OK


async def _is_routed(part: Part, plan: RollPlan) -> bool:
    """Whether Nginx sends some loopback address to the replica: it hashes the third number at least."""
    for octet in range(256):
        transport = httpx.AsyncHTTPTransport(local_address=f"127.0.{octet}.1")
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=5.0) as http:
            try:
                answer = await http.get(f"http://{LOOPBACK}:{plan.nginx_port}/health/live")
            except httpx.TransportError:
                continue
            if answer.status_code == HTTPStatus.OK and answer.json()["replica"] == part.name:
                return True
    return False


if __name__ == "__main__":
    main()
