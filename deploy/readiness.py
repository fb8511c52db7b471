"""Whether ports are free before, and processes are ready after a start."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from http import HTTPStatus

import httpx

from deploy.plan import LOOPBACK, PlannedProcess

POLL_S = 0.1


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


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
