"""Which Redis a URL means: one server, one that Sentinels name, or a cluster."""

from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from redis.asyncio import Connection, ConnectionPool

CONNECT_TIMEOUT_S: Final = 2.0
"""How long an attempt to connect, or to learn that a subscription stands, may take, in s."""
_PORTS: Final = {"": 6379, "cluster": 6379, "sentinel": 26379}


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisUrl:
    """A URL of redis-py's form, with more hosts than one where Sentinels or a cluster are meant.

    `redis://[user:password@]host[:port][/db]`, `redis+sentinel://[user:password@]host[:port],.../db/service`
    (python-socketio's form), `redis+cluster://[user:password@]host[:port],...`; `rediss` for TLS.
    Raises ValueError for anything else.
    """

    def __init__(self, url: str, name: str = "") -> None:
        self._parts = urlsplit(url)
        self._name = name
        self._tls, _, self.kind = self._parts.scheme.partition("+")
        if self._tls not in ("redis", "rediss") or self.kind not in _PORTS:
            raise ValueError(f"no Redis is at {self._parts.scheme}://")
        self.addresses = [_address(host, _PORTS[self.kind]) for host in self._hosts(self._parts)]
        """The server's own, or those of Sentinels or of some nodes of a cluster."""
        self._path = self._parts.path
        self.service = ""
        """What the Sentinels call the master."""
        if self.kind == "sentinel":
            self._path, _, self.service = self._parts.path.rpartition("/")
            if not self.service or not self._path:
                raise ValueError("a Sentinel URL ends with /DB/SERVICE")
        elif self.kind == "cluster" and self._path not in ("", "/", "/0"):
            raise ValueError("a Redis Cluster has no database but 0")

    def connection(self, address: Address, *, sentinel: bool = False) -> Connection:
        """A connection, not yet opened, with the URL's options; to a Sentinel it has neither user nor database."""
        credentials, at, _ = ("", "", "") if sentinel else self._parts.netloc.rpartition("@")
        path = "" if sentinel else self._path
        parts = SplitResult(self._tls, f"{credentials}{at}{address}", path, self._parts.query, "")
        pool = ConnectionPool.from_url(
            parts.geturl(),
            protocol=2,
            client_name=self._name or None,
            socket_timeout=CONNECT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
        )
        connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call] # redis-py
        return connection

    def stock_urls(self) -> list[str]:
        """URLs by which a stock client reaches the same classic Pub/Sub; any node of a cluster carries all of it."""
        if self.kind != "cluster":
            return [self._parts.geturl()]
        credentials, at, _ = self._parts.netloc.rpartition("@")
        return [
            SplitResult(self._tls, f"{credentials}{at}{address}", "", self._parts.query, "").geturl()
            for address in self.addresses
        ]

    def _hosts(self, parts: SplitResult) -> list[str]:
        hosts = parts.netloc.rpartition("@")[2].split(",")
        if len(hosts) > 1 and not self.kind:
            raise ValueError("several hosts are redis+sentinel:// or redis+cluster://")
        return hosts

    def __str__(self) -> str:
        return ",".join(map(str, self.addresses))


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    return Address(parts.hostname or "localhost", parts.port or port)


async def ask_once(connection: Connection, *command: str) -> object:
    """The reply to one command on a connection of its own. Raises RedisError and OSError."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py
        await connection.send_command(*command)
        return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)
