"""A NATS cluster of three real servers on free loopback ports."""

from pathlib import Path
from typing import Self

import httpx

from tests.support.processes import Process, free_port, nats_server


class NatsCluster:
    """Three servers with JetStream that know each other; ended at once, since one that is asked to takes its time."""

    def __init__(self, directory: Path) -> None:
        routes = [free_port() for _ in range(3)]
        self.monitoring = [free_port() for _ in range(3)]
        everybody = ",".join(f"nats://127.0.0.1:{port}" for port in routes)
        self.servers = [
            nats_server(
                directory,
                None,
                *("-n", f"n{number}", "--cluster_name", "tickcast", "--routes", everybody),
                *("--cluster", f"nats://127.0.0.1:{port}", "-m", str(self.monitoring[number])),
            )
            for number, port in enumerate(routes)
        ]

    @property
    def url(self) -> str:
        """All servers, for a bus."""
        return "nats://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()

    async def is_complete(self) -> bool:
        """Whether JetStream has a leader that knows the other two."""
        async with httpx.AsyncClient() as http:
            answers = [(await http.get(f"http://127.0.0.1:{port}/jsz")).json() for port in self.monitoring]
        others = [answer["meta_cluster"].get("replicas", []) for answer in answers]
        return any(len(known) == 2 and all(other["current"] for other in known) for known in others)

    def at(self, port: int) -> Process:
        """The server on `port`."""
        return next(server for server in self.servers if server.port == port)

    def server_of(self, name: str) -> Process:
        """The server that the bus end `name` is connected to."""
        for server, port in zip(self.servers, self.monitoring, strict=True):
            found = httpx.get(f"http://127.0.0.1:{port}/connz").json()["connections"]
            if any(connection.get("name") == name for connection in found):
                return server
        raise AssertionError(f"{name} is connected to none")
