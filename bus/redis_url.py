"""Which Redis a URL means: one server, one that Sentinels name, or a cluster."""

from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.exceptions import RedisError

from bus.tls import SYSTEM_TRUST, BusTls

CONNECT_TIMEOUT_S: Final = 2.0
"""How long an attempt to connect, or to learn that a subscription stands, may take, in s."""
BAD_CHARACTERS: Final = "a port is a number up to 65535; write / ? # @ and % of a password as %2F %3F %23 %40 and %25"
_PORTS: Final = {"": 6379, "cluster": 6379, "sentinel": 26379}
_SCHEMES: Final = ("redis", "rediss")


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisUrl:
    """A URL of redis-py's form, with more hosts than one where Sentinels or a cluster are meant.

    `redis://[user:password@]host[:port][/db]`, `redis+sentinel://[user:password@]host[:port],.../db/service`
    (python-socketio's form), `redis+cluster://[user:password@]host[:port],...`; `rediss` for TLS, which
    `tls` says how to trust. Raises ValueError for anything else; no error repeats the URL's user or password.
    """

    def __init__(self, url: str, name: str = "", tls: BusTls = SYSTEM_TRUST) -> None:
        self._parts = urlsplit(url)
        self._name = name
        self._tls = tls
        self._scheme, _, self.kind = self._parts.scheme.partition("+")
        if self._scheme not in _SCHEMES or self.kind not in _PORTS:
            raise ValueError(f"no Redis is at {self._parts.scheme}://")
        if any(option.startswith("ssl_") for option, _ in parse_qsl(self._parts.query)):
            raise ValueError("BUS_CA, BUS_CERT and BUS_KEY say what is trusted, not the URL")
        if "@" in f"{self._parts.path}{self._parts.query}{self._parts.fragment}":
            raise ValueError(BAD_CHARACTERS)
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

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are encrypted."""
        return self._scheme == "rediss"

    def connection(self, address: Address, *, sentinel: bool = False) -> Connection:
        """A connection, not yet opened, with the URL's options; to a Sentinel it has neither user nor database."""
        connection: Connection = self._pool(address, sentinel=sentinel).make_connection()  # type: ignore[no-untyped-call] # redis-py
        return connection

    async def client(self, attempt: int) -> Redis:
        """A stock client for classic Pub/Sub: of the master, or of the next node of a cluster at each attempt.

        Raises RedisError and OSError where no Sentinel says who is the master.
        """
        if self.kind == "sentinel":
            return Redis.from_pool(self._pool(await find_master(self)))
        return Redis.from_pool(self._pool(self.addresses[attempt % len(self.addresses)]))

    def _pool(self, address: Address, *, sentinel: bool = False) -> ConnectionPool:
        credentials, at, _ = ("", "", "") if sentinel else self._parts.netloc.rpartition("@")
        path = "" if sentinel else self._path
        parts = SplitResult(self._scheme, f"{credentials}{at}{address}", path, self._parts.query, "")
        return ConnectionPool.from_url(
            parts.geturl(),
            protocol=2,
            client_name=self._name or None,
            # Users of least rights may not say which library they use (CLIENT SETINFO, Redis 7.2).
            driver_info=None,
            socket_timeout=CONNECT_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            **(self._files() if self.is_encrypted else {}),
        )

    def _files(self) -> dict[str, Any]:
        """What redis-py's encrypted connections take; it verifies the host name besides."""
        return {"ssl_ca_certs": self._tls.ca, "ssl_certfile": self._tls.cert, "ssl_keyfile": self._tls.key}

    def _hosts(self, parts: SplitResult) -> list[str]:
        hosts = parts.netloc.rpartition("@")[2].split(",")
        if len(hosts) > 1 and not self.kind:
            raise ValueError("several hosts are redis+sentinel:// or redis+cluster://")
        return hosts

    def __str__(self) -> str:
        return ",".join(map(str, self.addresses))


def _address(text: str, port: int) -> Address:
    parts = urlsplit(f"//{text}")
    try:
        return Address(parts.hostname or "localhost", parts.port or port)
    except ValueError:
        # Python's sentence repeats what is no port: of a password with a slash in it, a part of the password.
        raise ValueError(BAD_CHARACTERS) from None


async def ask_once(connection: Connection, *command: str) -> object:
    """The reply to one command on a connection of its own. Raises RedisError and OSError."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call] # redis-py
        await connection.send_command(*command)
        return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)


async def find_master(url: RedisUrl) -> Address:
    """Where the master is, by the first Sentinel that answers. Raises RedisError and OSError when none does."""
    error: Exception = ConnectionResetError(f"no Sentinel knows {url.service}")
    for address in url.addresses:
        try:
            connection = url.connection(address, sentinel=True)
            reply = await ask_once(connection, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.service)
        except (OSError, RedisError) as refused:
            error = refused
            continue
        if isinstance(reply, list):
            return Address(reply[0].decode(), int(reply[1]))
    raise error
