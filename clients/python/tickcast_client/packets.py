"""Socket.IO 5 over Engine.IO 4 on a WebSocket, as far as a client of the main namespace needs it. Pure.

Sources: the Engine.IO protocol, revision 4; the Socket.IO protocol, revision 5. A frame is a text: a digit for the
Engine.IO packet, behind `4` a digit for the Socket.IO packet, then its id and JSON.
"""

from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

PONG: Final = "3"
DISCONNECT: Final = "41"
_NO_PACKETS: Final = ("0", "6")
"""Engine.IO's open, whose parameters matter to polling alone, and noop."""

_encode: Final = msgspec.json.Encoder().encode
_arguments: Final = msgspec.json.Decoder(list[msgspec.Raw])
_answers: Final = msgspec.json.Decoder(list[Any])
_name: Final = msgspec.json.Decoder(str)
_body: Final = msgspec.json.Decoder(dict[str, Any])
_NULL: Final = msgspec.Raw(b"null")


class Ping(NamedTuple):
    """The server wants a PONG."""


class Accepted(NamedTuple):
    """The main namespace is open."""


class Denied(NamedTuple):
    """The main namespace is refused with `{message, data: {code}}`."""

    body: dict[str, Any]


class Ended(NamedTuple):
    """The server ends the session."""


class ServerEvent(NamedTuple):
    """An event and its first argument, as JSON."""

    name: str
    body: msgspec.Raw


class Ack(NamedTuple):
    """The answer to the call with that number."""

    number: int
    body: Any


Packet: TypeAlias = Ping | Accepted | Denied | Ended | ServerEvent | Ack


def decode(frame: str | bytes) -> Packet | None:
    """The packet in `frame`, None for one without a meaning here. Raises ValueError for what is none."""
    if not isinstance(frame, str):
        raise ValueError("A binary frame, though no attachment was announced")  # noqa: TRY004 # not a caller's type
    packet: Packet | None = None
    if frame.startswith("42"):
        arguments = _arguments.decode(frame[2:])
        packet = ServerEvent(_name.decode(arguments[0]), arguments[1] if len(arguments) > 1 else _NULL)
    elif frame.startswith("43"):
        start = frame.index("[")
        body = _answers.decode(frame[start:])
        packet = Ack(int(frame[2:start]), body[0] if body else None)
    elif frame == "2":
        packet = Ping()
    elif frame.startswith("40"):
        packet = Accepted()
    elif frame.startswith("44"):
        packet = Denied(_body.decode(frame[2:]))
    elif frame in ("1", DISCONNECT):
        packet = Ended()
    elif not frame.startswith(_NO_PACKETS):
        raise ValueError(f"No packet of Socket.IO: {frame[:40]}")
    return packet


def encode_connect(token: str | None) -> str:
    """The frame that opens the main namespace; `token` is a token or an API key."""
    return "40" + _encode({} if token is None else {"token": token}).decode()


def encode_call(number: int, name: str, body: object) -> str:
    """The frame of an event that is to be acknowledged under `number`."""
    return f"42{number}" + _encode([name, body]).decode()
