"""Real servers with TLS and users of least rights, as they are shipped, and somebody who may look into them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import redis

from bus.tls import BusTls
from deploy import programs
from deploy.secure import NATS_USERS, Secrets, User
from tests.support.processes import Process, free_port

ADMIN = "user admin on >admin ~* &* +@all\n"
"""A user whom nobody ships: tests look with it at what the others were refused."""


def secured_redis(secrets: Secrets, directory: Path, *options: str) -> Process:
    """A Redis with the shipped configuration and users, and `admin`; more options as on its command line."""
    port = free_port()
    users = directory / f"users-{port}.acl"
    users.write_text((secrets.directory / "users.acl").read_text() + ADMIN)
    command = ["redis-server", *secrets.redis_options(port), "--aclfile", str(users), "--bind", "127.0.0.1"]
    return Process([*command, "--dir", str(directory), *options], port, directory / f"redis-{port}.log")


def secured_nats(secrets: Secrets, directory: Path) -> Process:
    """A NATS server with JetStream and the shipped users."""
    port = free_port()
    command = [programs.find("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-c", str(NATS_USERS)]
    return Process(
        [*command, "-js", "-sd", str(directory / f"nats-{port}")],
        port,
        directory / f"nats-{port}.log",
        secrets.nats_env(),
    )


def url_of(server: Process, secrets: Secrets, user: User, scheme: str = "rediss") -> str:
    """The server's URL for one of the shipped users."""
    return f"{scheme}://tickcast-{user}:{quote(secrets.password(user))}@127.0.0.1:{server.port}"


def trust(secrets: Secrets) -> BusTls:
    """How the server is trusted."""
    return BusTls(secrets.ca)


@contextmanager
def client_of(server: Process, secrets: Secrets, user: str) -> Iterator[redis.Redis]:
    """A stock client that logs in as one of the shipped users, or as `admin`."""
    name, password = ("admin", "admin") if user == "admin" else (f"tickcast-{user}", secrets.password(user))  # type: ignore[arg-type] # one of them
    options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(secrets.ca), "username": name, "password": password}
    with redis.Redis(port=server.port, host="127.0.0.1", **options) as client:
        yield client


def refusals(admin: redis.Redis) -> list[tuple[str, str]]:
    """What users were refused since the log was emptied: (user, command, key or channel)."""
    return [(str(entry["username"]), str(entry["object"])) for entry in admin.acl_log()]
