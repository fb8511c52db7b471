"""What the scripts share: hand to the test what a library delivered, and know when there was enough of it."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

ENOUGH = 4
PATIENCE_S = 20.0


def show(what: str, data: Any) -> None:
    """Write `{"what": ..., "data": ...}` as a line; a model of pydantic's by the names of the wire."""
    if hasattr(data, "model_dump_json"):
        data = json.loads(data.model_dump_json(by_alias=True, exclude_none=True))
    sys.stdout.write(json.dumps({"what": what, "data": data}) + "\n")


class Collector:
    """For libraries that call back: `done` once each of `streams` was shown often enough."""

    def __init__(self, streams: Iterable[str]) -> None:
        self._missing = Counter(dict.fromkeys(streams, ENOUGH))
        self._done = asyncio.Event()

    def take(self, what: str, data: Any) -> None:
        """Show one message."""
        show(what, data)
        self._missing -= Counter([what])
        if not self._missing:
            self._done.set()

    async def done(self) -> None:
        """Return once there is enough of everything; TimeoutError tells what is missing."""
        try:
            await asyncio.wait_for(self._done.wait(), PATIENCE_S)
        except TimeoutError:
            raise TimeoutError(f"still missing: {dict(self._missing)}") from None
