"""Document 002's REST limit: so many requests a minute and address, at all replicas together."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from server.access.addresses import MAX_ADDRESSES
from server.access.elsewhere import MAX_TOLD, Requests
from server.access.networks import network_of

WINDOW_S: Final = 60.0
_TOLD_PART: Final = 30
"""An address is told to other replicas once it has used this part of its limit: most never do."""


class Allowance(NamedTuple):
    """What an address may still do in its window; `reset_s` is when that begins anew."""

    allowed: bool
    remaining: int
    reset_s: float


class RequestQuota:
    """Counts requests per address in windows of WINDOW_S that begin with the address's first request here.

    `elsewhere` says how many it made at other replicas. At most MAX_ADDRESSES are remembered; beyond
    that the one that began first is forgotten.
    """

    def __init__(
        self, limit: int, elsewhere: Callable[[str], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self._elsewhere = elsewhere
        self._clock = clock
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._told: dict[str, None] = {}
        """Who has used enough to be told; the first MAX_TOLD of them."""

    def count(self, address: str) -> Allowance:
        """Count one request of `address`."""
        now = self._clock()
        network = network_of(address)
        began, used = self._windows.get(network, (now, 0))
        if now - began >= WINDOW_S:
            began, used = now, 0
        if used == 0:
            self._windows.pop(network, None)  # a new window stands at the end of the order
        self._windows[network] = (began, used + 1)
        if len(self._windows) > MAX_ADDRESSES:
            self._windows.popitem(last=False)
        if (used + 1) * _TOLD_PART >= self.limit and len(self._told) < MAX_TOLD:
            self._told[network] = None
        everywhere = used + self._elsewhere(network)
        return Allowance(everywhere < self.limit, max(0, self.limit - everywhere - 1), began + WINDOW_S - now)

    def told(self) -> dict[str, Requests]:
        """What other replicas should know of: those who use much here, MAX_TOLD at most."""
        now = self._clock()
        told = {}
        for network in tuple(self._told):
            began, used = self._windows.get(network, (now - WINDOW_S, 0))
            if now - began < WINDOW_S:
                told[network] = Requests(used, round(began + WINDOW_S - now, 1))
            else:
                del self._told[network]
        return told
