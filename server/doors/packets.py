"""Socket.IO packets as text, read as strictly as the reference server reads them. Pure.

Source: Socket.IO protocol 5, "Packet encoding".
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6

MAX_ATTACHMENTS: Final = 10
"""Binary attachments of one packet, as with the reference server (CVE-2026-48804)."""
_MAX_DIGITS: Final = 20
"""Of an acknowledgement's number; a JavaScript number has 17 significant ones."""
_RESERVED: Final = frozenset({
    "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
})  # fmt: skip
"""Names that mean something else in Socket.IO ("Emit cheatsheet", reserved events)."""
_DIGITS: Final = "0123456789"
_NUMBERED_EVENT: Final = re.compile(r"42([0-9]{1,20})\[")


class Packet(NamedTuple):
    """One packet of a client; `id` numbers the acknowledgement it asks for, or gives."""

    type: int
    namespace: str
    data: Any
    id: int | None
    attachments: int = 0
    """How many binary messages follow, which stand for placeholders in `data`."""


class Partial:
    """A packet whose attachments are still to come."""

    __slots__ = ("_attachments", "_packet", "size")

    def __init__(self, packet: Packet) -> None:
        self._packet = packet
        self._attachments: list[bytes] = []
        self.size = 0
        """Bytes of the attachments so far."""

    def add(self, attachment: bytes) -> Packet | None:
        """Take the next attachment; with the last one the plain packet. Raises ValueError for wrong placeholders."""
        self._attachments.append(attachment)
        self.size += len(attachment)
        kind, namespace, data, number, count = self._packet
        if len(self._attachments) < count:
            return None
        try:
            data = self._filled(data)
        except RecursionError as error:
            raise ValueError(str(error)) from None
        return Packet(kind - BINARY_EVENT + EVENT, namespace, data, number)

    def _filled(self, value: Any) -> Any:  # noqa: ANN401 # whatever the client sent
        if isinstance(value, list):
            return [self._filled(part) for part in value]
        if not isinstance(value, dict):
            return value
        if value.get("_placeholder") is not True:
            return {key: self._filled(part) for key, part in value.items()}
        number = value.get("num")
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(self._attachments):
            raise ValueError("illegal attachments")
        return self._attachments[number]


def decode_packet(text: str) -> Packet:
    """The packet in `text`; one with attachments comes without them. Raises ValueError for what is none."""
    kind, rest = _digits(text[:1]), text[1:]
    if kind is None or kind > BINARY_ACK:
        raise ValueError("unknown packet type")
    attachments = 0
    if kind >= BINARY_EVENT:
        count, dash, rest = rest.partition("-")
        attachments = _digits(count) or 0 if dash else 0
        if not 1 <= attachments <= MAX_ATTACHMENTS:
            raise ValueError("illegal attachments")
    namespace = "/"
    if rest.startswith("/"):
        namespace, _, rest = rest.partition(",")
        namespace = namespace.partition("?")[0]
    body = rest.lstrip(_DIGITS)
    number = _digits(rest[: len(rest) - len(body)]) if len(body) < len(rest) else None
    data = None
    if body:
        data = load_json(body)
        check(kind, data)
    return Packet(kind, namespace, data, number, attachments)


def event_number(encoded: str) -> int | None:
    """The acknowledgement that an event of the main namespace asks for (`42<number>[...`), read from its head alone."""
    found = _NUMBERED_EVENT.match(encoded)
    return int(found[1]) if found else None


def check(kind: int, data: object) -> None:
    """Raises ValueError for a packet whose payload is not of its type's shape."""
    if kind in {EVENT, BINARY_EVENT}:
        name = data[0] if isinstance(data, list) and data else None
        valid = (isinstance(name, str) and name not in _RESERVED) or _is_number(name)
    elif kind in {ACK, BINARY_ACK}:
        valid = isinstance(data, list)
    else:
        valid = kind == CONNECT and isinstance(data, dict)
    if not valid:
        raise ValueError("invalid payload")


def is_reserved(name: str) -> bool:
    """Whether an event cannot have this name: it means something else in Socket.IO."""
    return name in _RESERVED


def load_json(text: str | bytes) -> Any:  # noqa: ANN401 # whatever the client sent
    """The value of `text`. Raises ValueError, also for JSON nested too deeply to decode."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _digits(text: str) -> int | None:
    """The number of a few ASCII digits; None for anything else. Raises ValueError for too many of them."""
    if len(text) > _MAX_DIGITS:
        raise ValueError("too many digits")
    return int(text) if text and not text.strip(_DIGITS) else None


def _is_number(name: object) -> bool:
    return isinstance(name, int | float) and not isinstance(name, bool)


class Json:
    """The JSON module of the Socket.IO server: msgspec, so that a `msgspec.Raw` payload stays as it is."""

    @staticmethod
    def dumps(value: object, **_stdlib_options: object) -> str:
        """`value` as compact JSON."""
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str | bytes, **_stdlib_options: object) -> Any:  # noqa: ANN401 # whatever the client sent
        """The value of `text`. Raises ValueError, also for JSON nested too deeply to decode."""
        return load_json(text)
