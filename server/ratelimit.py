"""Document 002's REST limit: so many requests a minute and address."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

LIMIT: Final = 300
WINDOW_S: Final = 60.0
MAX_ADDRESSES: Final = 100_000


class Allowance(NamedTuple):
    """What an address may still do in its window; `reset_s` is when that begins anew."""

    allowed: bool
    remaining: int
    reset_s: float


class RateLimit:
    """Counts requests per address in windows of WINDOW_S that begin with the address's first request.

    At most MAX_ADDRESSES are remembered; beyond that the one that began first is forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.refused_total = 0

    def count(self, address: str) -> Allowance:
        """Count one request of `address`."""
        now = self._clock()
        began, used = self._windows.get(address, (now, 0))
        if now - began >= WINDOW_S:
            began, used = now, 0
        if used == 0:
            self._windows.pop(address, None)  # a new window stands at the end of the order
        self._windows[address] = (began, used + 1)
        if len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        allowed = used < LIMIT
        self.refused_total += not allowed
        return Allowance(allowed, max(0, LIMIT - used - 1), began + WINDOW_S - now)
