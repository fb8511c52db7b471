"""Keeping planned processes alive: circus restarts whatever ends, and nothing outlives the supervisor."""

import asyncio
import os
import shlex
import shutil
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import zmq
from circus.arbiter import Arbiter
from circus.exc import ConflictError
from circus.stream import FileStream
from circus.watcher import Watcher
from tornado.ioloop import IOLoop

from deploy.plan import ROOT, PlannedProcess, Wave

CHECK_EVERY_S: Final = 0.5
GRACE_S: Final = 15.0
"""How long a process may take to end once it was asked to, in s."""
LOG_BYTES: Final = 10_000_000
"""Size at which a process's log file is rolled over; one older file is kept."""

ExitHandler = Callable[[str, int], None]


class Supervisor:
    """Starts, watches and ends processes. One per event loop, in the main thread.

    Each process's output goes to `<log_dir>/<name>.log`. Each is in a session of its own: a terminal's
    Ctrl-C reaches the supervisor alone, which ends them in their order.
    """

    def __init__(self, processes: Sequence[PlannedProcess], log_dir: Path, on_exit: ExitHandler, pid_dir: Path) -> None:
        """Call `on_exit(name, code)` for a process that ended although nobody asked; killed, its code is -signal.

        Whatever is started has its id in `<pid_dir>/<name>.pid`.
        """
        self._pid_dir = pid_dir
        self._on_exit = on_exit
        self._stopping = False
        self._waves = {process.name: process.wave for process in processes}
        self._context = zmq.Context()
        # The order of priorities, highest first, is the order in which circus starts them.
        watchers = [
            self._watcher(process, log_dir, priority=len(processes) - number)
            for number, process in enumerate(processes)
        ]
        # `inproc` because circus's control socket lets whoever reaches it run commands: it gets no port and no file.
        self._arbiter = Arbiter(
            watchers,
            "inproc://control",
            "inproc://events",
            check_delay=CHECK_EVERY_S,
            context=self._context,
            loop=IOLoop.current(),
        )

    async def start(self) -> None:
        """Start all processes, in order. They need not be ready yet."""
        await self._arbiter.start()

    async def stop(self) -> None:
        """End all processes, wave by wave: its own signal, and SIGKILL for one that takes longer than `GRACE_S`."""
        self._stopping = True
        # Its periodic check would complain, once per period, that it may not run while we stop.
        self._arbiter.ctrl.caller.stop()
        for wave in Wave:
            await _once_idle(partial(self._arbiter.stop_watchers, partial(self._watchers_of, wave)))
        await _once_idle(self._arbiter.stop)
        # circus closes its sockets in a callback that it has just scheduled: ours comes after it.
        closed = asyncio.Event()
        IOLoop.current().add_callback(closed.set)
        await closed.wait()
        self._context.destroy(linger=0)

    def pids(self) -> dict[str, int]:
        """The process id of each process that runs now, by name."""
        return {watcher.name: pid for watcher in self._arbiter.watchers for pid in watcher.get_active_pids()}

    def _watchers_of(self, wave: Wave, **_: object) -> list[Watcher]:
        """What circus asks which of its watchers to stop."""
        return [watcher for watcher in self._arbiter.watchers if self._waves[watcher.name] is wave]

    def _watcher(self, process: PlannedProcess, log_dir: Path, priority: int) -> Watcher:
        command, *arguments = _ending_with_us(process)
        hooks: dict[str, tuple[Callable[..., bool], bool]] = {
            "after_reap": (self._reaped, True),
            "after_spawn": (self._spawned, False),
        }
        log = {"stream": FileStream(str(log_dir / f"{process.name}.log"), max_bytes=LOG_BYTES, backup_count=1)}
        return Watcher(
            process.name,
            shlex.quote(command),
            args=arguments,
            env={**os.environ, **process.env},
            working_dir=str(ROOT),
            stdout_stream=log,
            stderr_stream=log,
            stop_signal=process.stop_signal,
            graceful_timeout=GRACE_S,
            priority=priority,
            hooks=hooks,
        )

    def _spawned(self, *, watcher: Watcher, pid: int, **_: object) -> bool:
        """Circus's hook: keep the id of a process that was started. True keeps circus going."""
        path = self._pid_dir / f"{watcher.name}.pid"
        # Whoever reads it meanwhile finds the old one or the new one.
        written = path.with_suffix(".new")
        written.write_text(str(pid))
        written.replace(path)
        return True

    def _reaped(self, *, watcher: Watcher, exit_code: int, **_: object) -> bool:
        """Circus's hook: tell of a process that ended. True keeps circus going."""
        if not self._stopping:
            self._on_exit(watcher.name, exit_code)
        return True


async def _once_idle(command: Callable[[], Awaitable[None]]) -> None:
    """Have circus carry out `command`; it refuses while its periodic check runs, which ends by itself."""
    while True:
        try:
            await command()
        except ConflictError:
            await asyncio.sleep(0.05)
        else:
            return


def prepare_logs(processes: Sequence[PlannedProcess], log_dir: Path) -> Mapping[str, Path]:
    """Make `log_dir`, empty the log files of an earlier run, and answer each process's log file by name."""
    log_dir.mkdir(parents=True, exist_ok=True)
    logs = {process.name: log_dir / f"{process.name}.log" for process in processes}
    for log in logs.values():
        log.write_text("")
    return logs


def _ending_with_us(process: PlannedProcess) -> tuple[str, ...]:
    """Its command, on Linux such that the kernel ends it if the supervisor is killed and cannot do it itself."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return process.argv
    # Nobody would be left to end what takes its time: Nginx is not asked to wait for its clients.
    last = signal.SIGTERM if process.stop_signal is signal.SIGQUIT else process.stop_signal
    return (setpriv, "--pdeathsig", last.name.removeprefix("SIG"), *process.argv)
