"""Where the servers of a NATS bus are, and how to get in: everything that its URL says."""

from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from bus.nats_wire import Credentials
from bus.tls import SYSTEM_TRUST, BusTls

SCHEMES: Final = ("nats", "tls")
_PORT: Final = 4222
_BAD_CHARACTERS: Final = (
    "a port of a NATS URL is a number up to 65535; write / ? # @ and % of a password as %2F %3F %23 %40 and %25"
)


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
    not encrypt, and so does `nats://` where `tls` names whom to trust; else that encrypts where the server
    asks for it. Credentials of the first server hold for those that have none of their own. Raises
    ValueError for any other URL; no error repeats its user or password.
    """

    def __init__(self, url: str, tls: BusTls = SYSTEM_TRUST) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a NATS URL is nats://[user:password@]host[:port][,host[:port]...]")
        self.must_encrypt = parts.scheme == "tls" or tls.ca is not None
        self.tls = tls
        self.all: list[Server] = []
        for address in parts.netloc.split(","):
            self.all.append(_server(urlsplit(f"//{address}"), self.all[0].credentials if self.all else Credentials()))

    def __str__(self) -> str:
        return ",".join(map(str, self.all))


def _server(address: SplitResult, inherited: Credentials) -> Server:
    if not address.hostname:
        raise ValueError("a NATS URL names a host")
    try:
        port = address.port or _PORT
    except ValueError:
        # Python's sentence repeats what is no port: of a password with a slash in it, a part of the password.
        raise ValueError(_BAD_CHARACTERS) from None
    if address.username is None:
        return Server(address.hostname, port, inherited)
    user = unquote(address.username)
    if address.password is None:
        return Server(address.hostname, port, Credentials(auth_token=user))
    return Server(address.hostname, port, Credentials(user, unquote(address.password)))
