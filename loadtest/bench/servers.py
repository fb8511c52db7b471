"""The servers that are compared: how each is started, and how updates reach it."""

import importlib.metadata
import json
import sys
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from loadtest.bench.frames import Parser
from loadtest.bench.processes import LOOPBACK, ROOT

TICKCAST: Final = "tickcast"
NODE: Final = "socket.io-node"
STOCK: Final = "python-socketio"


class Launch(NamedTuple):
    """A command and what it needs in its environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


class Contestant(NamedTuple):
    """One server: `launch(port, redis_url, parser)` serves, `publisher` takes a Redis URL and streams."""

    name: str
    launch: Callable[[int, str, Parser], Launch]
    publisher: tuple[str, ...]
    ready_path: str = ""
    """A path that answers 200 once it is ready; empty where an accepted connection says so."""
    collects_on_signal: bool = False
    """Whether SIGUSR2 makes it collect garbage."""


_ONE_ADDRESS: Final = {
    "CONNECTIONS_PER_ADDRESS": "1000000",
    "HANDSHAKES_PER_SECOND": "1000000",
    "STREAMS_PER_ADDRESS": "100000000",
    "COMMANDS_PER_SECOND": "100000",
}
"""All clients come from one address, and the other servers have no such limits."""


def _tickcast(port: int, redis_url: str, _parser: Parser) -> Launch:
    """As it ships. One server speaks both parsers; nobody plays the exchange: no names are checked."""
    env = {
        "HOST": LOOPBACK,
        "PORT": str(port),
        "BUS_URL": redis_url,
        "EXCHANGE": "simulate",
        "EXCHANGE_URL": f"http://{LOOPBACK}:9",
        **_ONE_ADDRESS,
    }
    return Launch((sys.executable, "-m", "app", "replica"), env)


def _node(port: int, redis_url: str, parser: Parser) -> Launch:
    script = str(ROOT / "loadtest" / "peers" / "node" / "server.js")
    return Launch(("node", "--expose-gc", script, str(port), redis_url, parser), {"NODE_ENV": "production"})


def _stock(port: int, redis_url: str, parser: Parser) -> Launch:
    return Launch((sys.executable, "-m", "loadtest.peers.python.server", str(port), redis_url, parser), {})


CONTESTANTS: Final = (
    Contestant(
        TICKCAST,
        _tickcast,
        (sys.executable, "-m", "loadtest.bench.tickcast_publisher"),
        ready_path="/health/ready",
    ),
    Contestant(
        NODE,
        _node,
        ("node", str(ROOT / "loadtest" / "peers" / "node" / "publish.js")),
        collects_on_signal=True,
    ),
    Contestant(STOCK, _stock, (sys.executable, "-m", "loadtest.peers.python.publish")),
)


def versions() -> dict[str, str]:
    """What is compared, in which version."""
    python = {name: importlib.metadata.version(name) for name in ("python-socketio", "python-engineio", "aiohttp")}
    node = {
        name: str(json.loads((ROOT / "node_modules" / name / "package.json").read_text())["version"])
        for name in ("socket.io", "engine.io", "@socket.io/redis-adapter", "redis", "bufferutil")
    }
    return {"Python": sys.version.split()[0], **python, "uvloop": importlib.metadata.version("uvloop"), **node}
