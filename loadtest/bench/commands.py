"""How a process of the bench obeys: a line on stdin is a command, a line of JSON on stdout the answer to some."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any


async def obey(carry_out: Callable[[str], Awaitable[Mapping[str, Any] | None]]) -> None:
    """Have every line of stdin carried out and, where there is an answer, answered, until stdin ends."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := (await reader.readline()).strip():
            if (answer := await carry_out(line.decode())) is not None:
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
    finally:
        transport.close()
