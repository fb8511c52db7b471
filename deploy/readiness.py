"""Whether ports are free before, and processes are ready after a start."""

import asyncio
import contextlib
import itertools
import random
import socket
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Final

import httpx

from deploy.plan import LOOPBACK, PlannedProcess

POLL_S = 0.1
_PAIRS: Final = range(20_000, 32_000, 2)
"""Ports below the kernel's range for outgoing connections (ip_local_port_range), each the first of two neighbours."""
_pairs: Final = itertools.cycle(random.sample(_PAIRS, len(_PAIRS)))


def free_port(taken: Collection[int] = ()) -> int:
    """A TCP port of the loopback that nobody listens on now, and none of those `taken`; another one each time.

    It stays free until a server listens there, seconds later: the kernel gives no outgoing connection a port below
    ip_local_port_range, from which it would take one for a server that binds port 0.
    """
    return next(port for port in _pairs if port not in taken and is_free(LOOPBACK, port))


def two_free_ports() -> int:
    """The first of two such ports that follow each other."""
    return next(port for port in _pairs if is_free(LOOPBACK, port) and is_free(LOOPBACK, port + 1))


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `host:port` now."""
    with socket.socket() as probe:
        # As servers do: connections that an earlier run left behind in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def wait_ready(processes: Sequence[PlannedProcess]) -> None:
    """Return once every process answers as its plan says. Waits for ever: the caller sets the limit.

    One after the other: Nginx, asked before its replicas listen, would take them for dead for a while.
    """
    # Straight to the loopback, whatever proxy the environment names.
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        for process in processes:
            while process.port and not await _is_ready(process, client):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(POLL_S)


async def _is_ready(process: PlannedProcess, client: httpx.AsyncClient) -> bool:
    if not process.ready_path:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(LOOPBACK, process.port)
            writer.close()
            await writer.wait_closed()
            return True
        return False
    try:
        answer = await client.get(f"http://{LOOPBACK}:{process.port}{process.ready_path}")
    except httpx.TransportError:
        return False
    return answer.status_code == HTTPStatus.OK
