"""Where the servers of a NATS bus are, and how to get in: everything that its URL says."""

import ssl
from functools import cached_property
from typing import Final
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from bus.nats_wire import Credentials

SCHEMES: Final = ("nats", "tls")
_PORT: Final = 4222


class Server:
    """One server of the URL."""

    def __init__(self, host: str, port: int, credentials: Credentials) -> None:
        self.host = host
        self.port = port
        self.credentials = credentials

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Servers:
    """The servers of one URL, in its order, and how connections to them are encrypted.

    `nats://[user:password@|token@]host[:port][,host[:port]...]`; `tls://` refuses a server that does
    not encrypt, `nats://` encrypts where the server asks for it; `?tls_ca=FILE` names the certificates
    to trust instead of the system's. Credentials of the first server hold for those that have none of
    their own. Raises ValueError for any other URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or parts.path.strip("/") or parts.fragment:
            raise ValueError("a NATS URL is nats://[user:password@]host[:port][,host[:port]...]")
        self.must_encrypt = parts.scheme == "tls"
        self._tls_ca = _tls_ca(parts.query)
        self.all: list[Server] = []
        for address in parts.netloc.split(","):
            self.all.append(_server(urlsplit(f"//{address}"), self.all[0].credentials if self.all else Credentials()))

    def __str__(self) -> str:
        return ",".join(map(str, self.all))

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """What encrypted connections are opened with. Raises OSError where there is no such `tls_ca`."""
        return ssl.create_default_context(cafile=self._tls_ca)


def _server(address: SplitResult, inherited: Credentials) -> Server:
    if not address.hostname:
        raise ValueError("a NATS URL names a host")
    port = address.port or _PORT
    if address.username is None:
        return Server(address.hostname, port, inherited)
    user = unquote(address.username)
    if address.password is None:
        return Server(address.hostname, port, Credentials(auth_token=user))
    return Server(address.hostname, port, Credentials(user, unquote(address.password)))


def _tls_ca(query: str) -> str | None:
    options = parse_qs(query, strict_parsing=True) if query else {}
    files = options.pop("tls_ca", [None])
    if options or len(files) != 1:
        raise ValueError("a NATS URL has no option but tls_ca")
    return files[0]
