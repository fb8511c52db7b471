"""The weight of Binance's minute shared by all processes of one address: who spends, spends for all.

Binance counts by IP address, and its replicas and ingestors commonly share one. What they spent and the
pauses that Binance ordered stand in a ledger that all of them reach; without one, each keeps to its own
budget. Source: Binance "Limits".
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
import structlog

from binance.weights import MINUTE_S, WeightBudget
from market.venue import RateLimited

_COUNT_TTL_S: Final = 2 * int(MINUTE_S)
"""Longer than the minute it counts: clocks differ."""


class Ledger(Protocol):
    """What processes share; bus/base.py says how each verb behaves, and bus.Bus is one."""

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""

    async def put(self, values: Mapping[str, bytes], ttl_s: int) -> None:
        """Keep these values for `ttl_s` seconds."""

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""


class Pause(msgspec.Struct, frozen=True):
    """Nothing may be sent before `until` (s since the epoch): Binance answered `status` and `message`."""

    until: float
    status: int
    message: str


class Spent(NamedTuple):
    """A request that is paid for: in which minute, and what all processes had used then."""

    minute: int
    total: int


_log = structlog.get_logger(__name__)
_decode_pause: Final = msgspec.json.Decoder(Pause).decode


class SharedPause:
    """The pause under `key` that one process ordered for all; kept by the ledger until it is over."""

    def __init__(self, ledger: Ledger, key: str) -> None:
        self._ledger = ledger
        self._key = key

    async def read(self) -> Pause | None:
        """The pause that was ordered last, perhaps over by now."""
        (body,) = await self._ledger.get([self._key])
        try:
            return None if body is None else _decode_pause(body)
        except msgspec.DecodeError as error:
            _log.warning("no pause in what the ledger holds", key=self._key, error=str(error))
            return None

    async def extend(self, pause: Pause, now: float) -> None:
        """Have everybody pause, unless a longer pause holds already; `now` in s since the epoch."""
        known = await self.read()
        if known is None or known.until < pause.until:
            await self._ledger.put({self._key: msgspec.json.encode(pause)}, math.ceil(pause.until - now))


class SharedBudget:
    """One market's budget, of this process and in the ledger under `name`.

    The ledger's total stays within the allowance of `own`, which thus is that of all processes
    together. A ledger that is away counts as bus/base.py says.
    """

    def __init__(self, own: WeightBudget, ledger: Ledger | None, name: str) -> None:
        self.own = own
        self._ledger = ledger
        self._pause = None if ledger is None else SharedPause(ledger, f"pause:{name}")
        self._name = name

    async def spend(self, weight: int) -> Spent:
        """Pay for one request before it is sent. Raises RateLimited while that is not possible."""
        self.own.spend(weight)
        minute = self.own.minute
        if self._ledger is None or self._pause is None:
            return Spent(minute, self.own.used)
        pause, total = await asyncio.gather(
            self._pause.read(),
            self._ledger.spend(self._count_key(minute), weight, self.own.allowance, _COUNT_TTL_S),
        )
        if pause is not None:
            self.own.pause(pause.until - self.own.now, pause.status, pause.message)
            self.own.check_pause()
        if total is None:
            raise self.own.exhausted("All processes of this address have used the minute's request weight.")
        self.own.observe(total, minute)
        return Spent(minute, total)

    async def observe(self, used: int, spent: Spent) -> None:
        """Take over Binance's count at the answer to a request, where it is higher than what we know."""
        self.own.observe(used, spent.minute)
        if self._ledger is None or used <= spent.total:
            return
        key = self._count_key(spent.minute)
        known = await self._ledger.spend(key, 0, used, _COUNT_TTL_S)
        if known is not None and known < used:
            await self._ledger.spend(key, used - known, used, _COUNT_TTL_S)

    async def pause(self, retry_after_s: float, refusal: RateLimited) -> None:
        """Have all processes send nothing for `retry_after_s`: Binance refused with 429 or 418."""
        status = refusal.http_status or 0
        self.own.pause(retry_after_s, status, refusal.message)
        if self._pause is not None:
            now = self.own.now
            await self._pause.extend(Pause(now + retry_after_s, status, refusal.message), now)

    def _count_key(self, minute: int) -> str:
        return f"weight:{self._name}:{minute}"
