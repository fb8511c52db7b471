"""What the lines and frames of each door say, as events for the checker. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.system.faults.checker import Data, Gap, Renewed

_decode: Final = msgspec.json.Decoder().decode
_NO_DATA: Final = ("connected", "status", "draining")


def read_socketio(line: bytes) -> Iterator[Data | Gap | Renewed]:
    """A line that tests/system/clients/collect.mjs printed."""
    kind, _, rest = line.partition(b" ")
    if kind == b"ack":
        reply = _decode(rest)
        if not reply["ok"] or reply["rejected"]:
            raise AssertionError(f"refused: {rest!r}")
        for entry in reply["subscribed"]:
            if "recovered" in entry:
                yield Renewed(entry["stream"], entry["recovered"])
    elif kind == b"packet":
        name, *arguments = _decode(rest[1:])
        if name == "error":
            raise AssertionError(f"an error: {rest!r}")
        if name == "gap":
            yield from _gap(arguments[0])
        elif name not in _NO_DATA:
            yield Data(arguments[0]["stream"], arguments[0]["data"])


def read_json(text: bytes | str) -> Iterator[Data | Gap | Renewed]:
    """A message of the JSON door to a client that subscribed to raw streams, each with its market before it."""
    message = _decode(text)
    match message.get("type"):
        case None:
            yield Data(message["stream"], message["data"]["data"])
        case "gap":
            yield from _gap(message)
        case "subscribed":
            for stream, recovered in message.get("recovered", {}).items():
                yield Renewed(stream, recovered)
        case "error":
            raise AssertionError(f"an error: {text!r}")


def read_binance(market: str, text: bytes | str) -> Iterator[Data | Gap | Renewed]:
    """A combined message of the Binance door."""
    message = _decode(text)
    if not message["stream"].startswith("!"):
        yield Data(f"{market}:{message['stream']}", message["data"])


def cursor_of(stream: str, payload: dict[str, Any]) -> int:
    """What a client names as the last that it has seen (docs/protocol.md)."""
    kind = stream.partition("@")[2]
    return int(payload[{"trade": "t", "aggTrade": "a"}.get(kind, "E" if kind.startswith("kline") else "u")])


def _gap(body: dict[str, Any]) -> Iterator[Gap]:
    yield Gap(body["stream"], body["until"], body["reason"] == "conflated")
