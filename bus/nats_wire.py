"""NATS on the wire, without a socket: commands to bytes, bytes to messages and control lines.

Source: NATS documentation, "Client Protocol" (INFO, CONNECT, PUB, SUB, UNSUB, MSG, HMSG, PING, PONG,
+OK, -ERR) and ADR-4 for headers.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

import msgspec

LINE_MAX_BYTES: Final = 1024 * 1024
"""How long a control line may be. INFO is the longest: it names the servers of a cluster."""
MESSAGE_MAX_BYTES: Final = 64 * 1024 * 1024
"""What no NATS server lets `max_payload` exceed."""

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"

_KNOWN_CONTROLS: Final = frozenset({b"INFO", b"PING", b"PONG", b"+OK", b"-ERR"})
_HEADER_LINE: Final = b"NATS/1.0"

Received: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""One message: subscription id, subject, header block (empty without one), payload."""


class Control(NamedTuple):
    """One control line: its verb, and what follows it."""

    verb: bytes
    rest: bytes


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says about itself when a client connects, and again when that changes."""

    server_name: str = ""
    max_payload: int = 1024 * 1024
    tls_required: bool = False
    tls_available: bool = False
    cluster: str = ""
    ldm: bool = False
    """Lame duck mode: the server is about to leave, and its clients had better go to another one."""


class Credentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who connects; all empty for a server that lets everybody in."""

    user: str = ""
    password: str = msgspec.field(default="", name="pass")
    auth_token: str = ""


class _Connect(Credentials, frozen=True, kw_only=True, omit_defaults=False):
    name: str
    tls_required: bool
    verbose: bool = False
    pedantic: bool = False
    echo: bool = True
    headers: bool = True
    no_responders: bool = True
    protocol: int = 1
    lang: str = "python-tickcast"
    version: str = "1"


class ProtocolError(Exception):
    """The server sent what is no NATS."""


class Parser:
    """Takes bytes as they come; each call hands over everything that is complete by then."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[list[Received], list[Control]]:
        """The messages and the control lines that `data` completes. Raises ProtocolError for anything else."""
        buffer = self._rest + data if self._rest else data
        received: list[Received] = []
        controls: list[Control] = []
        position, end, find = 0, len(buffer), buffer.find
        try:
            while (line_end := find(b"\r\n", position)) >= 0:
                parts = buffer[position:line_end].split(b" ")
                start = line_end + 2
                verb = parts[0]
                if verb in (b"MSG", b"HMSG"):
                    stop = start + _size(parts[-1])
                    if stop + 2 > end:
                        break
                    # The reply subject, where there is one, stands between the id and the sizes.
                    middle = start if verb == b"MSG" else min(start + _size(parts[-2]), stop)
                    received.append((parts[2], parts[1], buffer[start:middle], buffer[middle:stop]))
                    position = stop + 2
                elif verb in _KNOWN_CONTROLS:
                    controls.append(Control(verb, buffer[position + len(verb) + 1 : line_end]))
                    position = start
                else:
                    raise ProtocolError(f"no NATS verb: {verb[:40]!r}")
        except (ValueError, IndexError) as error:
            raise ProtocolError(f"no NATS message: {buffer[position : position + 80]!r}") from error
        self._rest = buffer[position:]
        if line_end < 0 and len(self._rest) > LINE_MAX_BYTES:
            raise ProtocolError(f"a line of more than {LINE_MAX_BYTES} bytes")
        return received, controls


def _size(text: bytes) -> int:
    size = int(text)
    if not 0 <= size <= MESSAGE_MAX_BYTES:
        raise ValueError(f"a message of {size} bytes")
    return size


def connect(name: str, credentials: Credentials, *, tls: bool) -> bytes:
    """The client's answer to INFO."""
    options = _Connect(credentials.user, credentials.password, credentials.auth_token, name=name, tls_required=tls)
    return b"CONNECT %b\r\n" % msgspec.json.encode(options)


def subscribe(subject: bytes, sid: bytes) -> bytes:
    """Receive what is published on `subject` under the id `sid`."""
    return b"SUB %b %b\r\n" % (subject, sid)


def unsubscribe(sid: bytes) -> bytes:
    """Receive nothing more under the id `sid`."""
    return b"UNSUB %b\r\n" % sid


def publish(subject: bytes, payload: bytes, reply: bytes = b"") -> bytes:
    """Publish `payload`, with the subject that an answer should go to."""
    if reply:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
    return b"PUB %b %d\r\n%b\r\n" % (subject, len(payload), payload)


def publish_with_headers(subject: bytes, payload: bytes, reply: bytes, headers: Mapping[str, str]) -> bytes:
    """Publish `payload` under `headers`."""
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items()).encode()
    block = b"%b\r\n%b\r\n" % (_HEADER_LINE, lines)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, len(block), len(block) + len(payload), block, payload)


def status_of(block: bytes) -> int:
    """The status that a header block begins with (404, 503); 200 where it has none."""
    words = block.split(b"\r\n", 1)[0].split()
    return int(words[1]) if len(words) > 1 else 200


def headers_of(block: bytes) -> dict[str, str]:
    """The headers in a block, by name in lower case."""
    pairs = (line.partition(":") for line in block.decode(errors="replace").split("\r\n")[1:])
    return {key.lower(): value.strip() for key, colon, value in pairs if colon}


def token(text: str) -> bytes:
    """`text` as one token of a subject, and as a key that the stock key-value clients take: `a:b` is `a=3Ab`."""
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=").encode()


def text_of(part: bytes) -> str:
    """The text that `token` made `part` of."""
    return unquote(part.decode().replace("=", "%"))
