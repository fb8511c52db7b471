"""A whole cluster of one's own on free ports, as `make cluster` runs it."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from deploy.readiness import free_port, two_free_ports

ROOT: Final = Path(__file__).resolve().parents[1]
HOST: Final = "127.0.0.1"
START_LIMIT_S: Final = 120.0

_T = TypeVar("_T")


class ClusterError(Exception):
    """Why there is no cluster, as a sentence."""


def settings(**others: str) -> dict[str, str]:
    """The environment of a cluster on free ports, with other settings of it; deploy.rolling takes the same."""
    ports = {"PORT": str(free_port()), "REPLICA_PORT": str(two_free_ports())}
    return {**os.environ, "HOST": HOST, "REPLICAS": "2", "INGESTORS": "2", **others, **ports}


@contextlib.asynccontextmanager
async def running_cluster(env: Mapping[str, str]) -> AsyncIterator[str]:
    """Where clients connect to a cluster with these settings. Raises ClusterError."""
    command = [sys.executable, "-m", "deploy.cluster"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    try:
        await until_said(process, b"Tickcast is ready")
        reader = asyncio.create_task(_read_on(process))
        yield f"http://{HOST}:{env['PORT']}"
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
    await reader


async def until_said(process: Process, text: bytes) -> None:
    """Return once `process` has printed a line with `text`. Raises ClusterError if it ended before, or says nothing."""
    if process.stdout is None:
        raise ClusterError("its output is not read")
    said = b""
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while line := await process.stdout.readline():
                said += line
                if text in line:
                    return
    except TimeoutError as error:
        raise ClusterError(f"it is not ready after {START_LIMIT_S:.0f} s:\n{said.decode(errors='replace')}") from error
    raise ClusterError(f"it ended early:\n{said.decode(errors='replace')}")


async def until_told(work: Coroutine[Any, Any, _T]) -> _T:
    """What `work` returns; SIGINT, SIGTERM or SIGHUP cancels it, once.

    While it ends what it started, further ones are ignored: they would leave it running. Raises CancelledError.
    """
    running = asyncio.create_task(work)

    def end() -> None:
        if not running.cancelling():
            running.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return await running


async def _read_on(process: Process) -> None:
    """Read what nobody wants to know, so that the process is never kept waiting."""
    if process.stdout is not None:
        while await process.stdout.read(65_536):
            pass
