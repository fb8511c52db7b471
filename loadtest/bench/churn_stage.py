"""A whole small cluster, simulated exchange included, through whose Nginx clients come and go all the time."""

import contextlib
import sys
from collections.abc import Mapping
from typing import Any, Final, Self

from deploy.plan import cluster_plan
from deploy.readiness import free_port
from loadtest.bench.processes import LOOPBACK, Child
from loadtest.bench.stage import Ground

_VISITORS: Final = "visitors"


class ChurnStage:
    """A context manager: starts everything on the second core, and ends everything by pid."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._exits = contextlib.ExitStack()
        self.children: dict[str, Child] = {}
        """All processes, by name."""
        self.replica_port = free_port()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def take(self) -> dict[str, Any]:
        """What the visitors did since the last time (loadtest/bench/churn.py)."""
        return self.children[_VISITORS].ask("take")

    def _start(self) -> None:
        nginx_port = free_port()
        plan = cluster_plan(
            state_dir=self._ground.directory,
            nginx_port=nginx_port,
            replica_ports=[self.replica_port],
            ingestor_ports=[free_port()],
            bus_port=free_port(),
            exchange_port=free_port(),
        )
        plan.write()
        for process in plan.processes:
            child = self._spawn(process.name, process.argv, process.env)
            if process.port:
                child.await_port(process.port, process.ready_path)
        self._spawn(_VISITORS, (sys.executable, "-m", "loadtest.bench.churn", LOOPBACK, str(nginx_port)))

    def _spawn(self, name: str, argv: tuple[str, ...], env: Mapping[str, str] | None = None) -> Child:
        where = self._ground.other_core
        self.children[name] = self._exits.enter_context(Child(name, argv, where, self._ground.directory, env))
        return self.children[name]
