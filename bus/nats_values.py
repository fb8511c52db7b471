"""Values and budgets on NATS: in two buckets of JetStream, or, without it, in each end's own memory.

docs/decisions/0005-nats.md says what the difference means.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

from bus import nats_wire
from bus.memory import Values
from bus.nats_bucket import Bucket, BucketError
from bus.nats_link import Link
from bus.nats_requests import Requests
from bus.nats_wire import Received

VALUES_BUCKET: Final = "tickcast"
BUDGETS_BUCKET: Final = "tickcast_budgets"
"""Apart from the values, which may push each other out: a total that goes early is overspent."""
VALUES_MAX_BYTES: Final = 256 * 1024 * 1024
BUDGETS_MAX_BYTES: Final = 8 * 1024 * 1024
MAX_AGE_S: Final = 24 * 3600
"""What nobody has written for so long goes, whatever its time."""
SEEN_MAX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of values an end keeps in its own memory."""
SEEN_SID: Final = b"values"

_SEEN: Final = b"val."
_SPEND_ATTEMPTS_MAX: Final = 100
_SPEND_PAUSE_S: Final = 0.002


class NoBudgetsError(Exception):
    """Nobody counts for all ends."""


class Store(ABC):
    """Where one connection's values and budgets are.

    Verbs raise BucketError, NoRespondersError, TimeoutError or ConnectionError where the server does
    not serve.
    """

    @abstractmethod
    async def put(self, values: Mapping[str, bytes], ttl_s: int) -> None:
        """Keep these values for `ttl_s` seconds."""

    @abstractmethod
    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""

    @abstractmethod
    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""


class BucketStore(Store):
    """Values as `<until_ms> <body>` and totals as `<until_ms> <total>`, by the server's clock."""

    def __init__(self, values: Bucket, budgets: Bucket, server_now: float) -> None:
        self._values = values
        self._budgets = budgets
        self._server_ahead = server_now - time.monotonic()
        # Ends that spend at once make each other try again: within one of them nobody needs to.
        self._spending = asyncio.Lock()

    async def put(self, values: Mapping[str, bytes], ttl_s: int) -> None:
        """Keep these values for `ttl_s` seconds."""
        until_ms = self._now_ms() + ttl_s * 1000
        await self._values.put({key: b"%d %b" % (until_ms, body) for key, body in values.items()})

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""
        now_ms = self._now_ms()
        return [_body(value, now_ms) for value in await self._values.get(keys)]

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""
        async with self._spending:
            for attempt in range(_SPEND_ATTEMPTS_MAX):
                entry = await self._budgets.read(key)
                now_ms = self._now_ms()
                until_ms, total = _total(entry.value) if entry else (0, 0)
                if until_ms <= now_ms:
                    until_ms, total = now_ms + ttl_s * 1000, 0
                if total + amount > limit:
                    return None
                record = b"%d %d" % (until_ms, total + amount)
                if amount == 0 or await self._budgets.replace(key, record, entry.revision if entry else 0):
                    return total + amount
                await asyncio.sleep(random.uniform(0, _SPEND_PAUSE_S * min(attempt, 16)))  # noqa: S311 # spreads load
        raise BucketError(f"others kept spending from {key}")

    def _now_ms(self) -> int:
        return int((time.monotonic() + self._server_ahead) * 1000)


def _body(value: bytes | None, now_ms: int) -> bytes | None:
    until, space, body = (value or b"").partition(b" ")
    return body if space and until.isdigit() and int(until) > now_ms else None


def _total(value: bytes) -> tuple[int, int]:
    try:
        until, total = map(int, value.split(b" "))
    except ValueError as error:
        raise BucketError(f"no total: {value[:40]!r}") from error
    return until, total


class SeenStore(Store):
    """Every value is announced to all ends, and each keeps what it saw since it connected. It has no budgets."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._seen = Values(limit_bytes=SEEN_MAX_BYTES)

    @property
    def subscription(self) -> bytes:
        """The command that lets announced values in. With JetStream nobody announces any."""
        return nats_wire.subscribe(b"%b*" % _SEEN, SEEN_SID)

    def take(self, received: Received) -> None:
        """Keep one value that came in under SEEN_SID, `<ttl_s> <body>`. Raises ValueError for anything else."""
        _, subject, _, payload = received
        ttl, body = payload.split(b" ", 1)
        self._seen.put({nats_wire.text_of(subject[len(_SEEN) :]): body}, int(ttl))

    async def put(self, values: Mapping[str, bytes], ttl_s: int) -> None:
        """Announce these values to all ends, this one included."""
        await self._link.settle(
            nats_wire.publish(_SEEN + nats_wire.token(key), b"%d %b" % (ttl_s, body)) for key, body in values.items()
        )

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys` that this end has seen, those included that the server has for it now."""
        await self._link.settle([])
        return [self._seen.get(key) for key in keys]

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:  # noqa: ARG002 # the contract's
        """Raises NoBudgetsError."""
        raise NoBudgetsError("without JetStream each end spends alone")


async def open_bucket_store(requests: Requests) -> BucketStore:
    """The store in JetStream, made where it is missing. Raises NoJetStreamError, and like the verbs of Store."""
    values, budgets = Bucket(requests, VALUES_BUCKET), Bucket(requests, BUDGETS_BUCKET)
    await values.make(max_bytes=VALUES_MAX_BYTES, max_age_s=MAX_AGE_S, discard="old")
    # Rather no new total than one that forgets.
    await budgets.make(max_bytes=BUDGETS_MAX_BYTES, max_age_s=MAX_AGE_S, discard="new")
    return BucketStore(values, budgets, await budgets.now())
