"""What the frames of each door say, as events for the checker. Pure."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from loadtest.probe.checker import Data, Event, Gap, Pulse, Renewed


class RefusedError(Exception):
    """A door refused what was asked for, though nothing wrong was."""


_decode: Final = msgspec.json.Decoder().decode
_NO_DATA: Final = ("connected", "status", "draining")


def read_event(name: str, body: dict[str, Any]) -> Iterator[Event]:
    """An event of Socket.IO. Raises RefusedError for a refusal: nothing wrong was asked for."""
    if name == "error":
        raise RefusedError(f"an error: {body}")
    if name == "gap":
        yield _gap(body["stream"], body)
    elif name not in _NO_DATA:
        yield Data(body["stream"], body["data"], body["ts"])


def read_answer(reply: dict[str, Any]) -> Iterator[Event]:
    """Socket.IO's acknowledgement of `subscribe`. Raises RefusedError for a refusal."""
    if not reply["ok"] or reply["rejected"]:
        raise RefusedError(f"refused: {reply}")
    for entry in reply["subscribed"]:
        if "recovered" in entry:
            yield Renewed(entry["stream"], entry["recovered"])


def read_raw(text: bytes | str) -> Iterator[Event]:
    """A message of the JSON door to a client that subscribed to raw streams, each with its market before it."""
    message = _decode(text)
    match message.get("type"):
        case None:
            yield Data(message["stream"], message["data"]["data"])
        case "gap":
            yield _gap(message["stream"], message)
        case "subscribed":
            for stream, recovered in message.get("recovered", {}).items():
                yield Renewed(stream, recovered)
        case "error":
            raise RefusedError(f"an error: {text!r}")


def read_typed(text: bytes | str) -> Iterator[Event]:
    """A message of the JSON door to a client of documents 000 and 001, who has one symbol of each type."""
    message = _decode(text)
    market = message.get("market", "spot")
    match message["type"]:
        case "gap":
            name = message["stream"]
            # A gap names no market, and here each kind is asked of one.
            yield _gap(f"{'futures' if name.endswith('@aggTrade') else 'spot'}:{name}", message)
        case "subscribed":
            for symbol, recovered in message.get("recovered", {}).items():
                yield Renewed(f"{market}:{symbol.lower()}@{message['streamType']}", recovered)
        case "error":
            raise RefusedError(f"an error: {text!r}")
        case "connection" | "pong" | "draining":
            pass
        case _:
            yield Data(f"{market}:{message['data']['stream']}", message["data"]["data"])


def read_prices(text: bytes | str) -> Iterator[Event]:
    """A message of the JSON door to a client of document 004, whose prices tell no ids."""
    message = _decode(text)
    match message["type"]:
        case "PRICE_UPDATE":
            yield Pulse(message["data"]["symbol"])
        case "ERROR":
            raise RefusedError(f"an error: {text!r}")


def read_binance(market: str, text: bytes | str) -> Iterator[Event]:
    """A combined message of the Binance door."""
    message = _decode(text)
    if not message["stream"].startswith("!"):
        yield Data(f"{market}:{message['stream']}", message["data"])


def cursor_of(stream: str, payload: dict[str, Any]) -> int:
    """What a client names as the last that it has seen (docs/protocol.md)."""
    kind = stream.partition("@")[2]
    return int(payload[{"trade": "t", "aggTrade": "a"}.get(kind, "E" if kind.startswith("kline") else "u")])


def _gap(stream: str, body: dict[str, Any]) -> Gap:
    return Gap(stream, body["until"], body["reason"] == "conflated")
