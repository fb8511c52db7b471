"""Closed candles in the bus's server: a cache that cannot outgrow its number of slots.

Each name may stand in two of SLOTS slots, and each value says whose it is. Nothing has to be counted,
listed or swept, on whatever bus: docs/decisions/0004-klines.md.
"""

import zlib
from hashlib import blake2b
from typing import Final, NamedTuple

import structlog

from bus.base import Bus

SLOTS: Final = 2_048
"""How many blocks the server keeps; one is some 35 KB there, so all are some 70 MB."""
TTL_S: Final = 6 * 3600
"""How long a block is kept, in s: Binance may correct what it once said."""

_COMPRESSION: Final = 1  # 84 KB of candles become 34 KB in 1 ms; higher levels gain little

log = structlog.get_logger(__name__)


class Found(NamedTuple):
    """What stands under a name, None if nothing does, and the slot to put it into."""

    body: bytes | None
    slot: str


class Slots:
    """The shared cache. Bodies under names without a line break; both are the caller's own."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.hits_total = 0
        self.misses_total = 0

    async def find(self, name: str) -> Found:
        """Look `name` up in both of its slots."""
        head, slots = _head(name), _slots(name)
        values = await self._bus.get(slots)
        for slot, value in zip(slots, values, strict=True):
            if value is not None and value.startswith(head):
                try:
                    body = zlib.decompress(value[len(head) :])
                except zlib.error as error:
                    log.warning("no candles in a slot", slot=slot, name=name, error=str(error))
                    break
                self.hits_total += 1
                return Found(body, slot)
        self.misses_total += 1
        free = (slot for slot, value in zip(slots, values, strict=True) if value is None)
        return Found(None, next(free, slots[0]))

    async def put(self, name: str, body: bytes, slot: str) -> None:
        """Keep `body` under `name` in the slot that `find` named."""
        await self._bus.put({slot: _head(name) + zlib.compress(body, _COMPRESSION)}, TTL_S)


def _head(name: str) -> bytes:
    return name.encode() + b"\n"


def _slots(name: str) -> list[str]:
    digest = blake2b(name.encode(), digest_size=8).digest()
    return [f"klines:{int.from_bytes(half) % SLOTS}" for half in (digest[:4], digest[4:])]
