"""Messages, one a line, for people and for pipes."""

import time
from typing import Any, Final, TextIO

import msgspec

from clients.python.tickcast_client import Event, Message, RefusedError, connect
from clients.terminal.quotes import sentence_of

_encode: Final = msgspec.json.Encoder().encode


def json_line(event: Event) -> str:
    """An event as JSON: its fields, and its type in lower case as `event`."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return _encode({"event": type(event).__name__.lower(), **fields}).decode()


def text_line(event: Event) -> str:
    """An event for people; of messages with the time at which the service received them, as this machine tells it."""
    ms = event.ts if isinstance(event, Message) else time.time_ns() // 1_000_000
    return f"{time.strftime('%H:%M:%S', time.localtime(ms / 1000))}.{ms % 1000:03d}  {sentence_of(event)}"


async def watch(
    url: str, token: str | None, streams: list[str], *, throttle_ms: int | None, as_json: bool, out: TextIO
) -> None:
    """Write what comes until the client ends. Raises RefusedError where any stream is refused, BrokenPipeError."""
    line_of = json_line if as_json else text_line
    async with connect(url, token) as client:
        subscription = await client.subscribe(*streams, throttle_ms=throttle_ms)
        if subscription.rejected:
            first = subscription.rejected[0]
            raise RefusedError(first.code, f"{first.stream}: {first.message}", suggestion=first.suggestion)
        async for event in subscription:
            out.write(line_of(event) + "\n")
            if not subscription.waiting:
                out.flush()
