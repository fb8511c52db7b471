"""What each address uses at this replica, and may still use."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from server.access.buckets import Bucket
from server.access.networks import network_of

MAX_ADDRESSES: Final = 100_000
"""Addresses that are remembered; beyond that the one that was seen first goes, unless it is connected."""
_TRIES: Final = 8
"""Connected ones that may be passed over to find one that is not: there are fewer descriptors than addresses."""


class AddressUse:
    """What one address uses now: sessions, HTTP connections beside them, subscriptions, and its handshakes' bucket."""

    __slots__ = ("connections", "handshakes", "network", "sockets", "streams")

    def __init__(self, network: str, handshakes: Bucket) -> None:
        self.network = network
        self.connections = 0
        self.sockets = 0
        self.streams = 0
        self.handshakes = handshakes

    @property
    def is_present(self) -> bool:
        """Whether something of this address is connected."""
        return self.connections > 0 or self.sockets > 0


class Addresses:
    """The addresses seen last, MAX_ADDRESSES at most."""

    def __init__(self, handshakes_per_second: float) -> None:
        self._rate = handshakes_per_second
        self._uses: OrderedDict[str, AddressUse] = OrderedDict()
        self.forgotten_total = 0

    def __len__(self) -> int:
        return len(self._uses)

    def __iter__(self) -> Iterator[AddressUse]:
        return iter(self._uses.values())

    def of(self, address: str, now: float) -> AddressUse:
        """The use of `address`, to be changed by the caller; `now` in s."""
        network = network_of(address)
        use = self._uses.get(network)
        if use is None:
            use = self._uses[network] = AddressUse(network, Bucket(self._rate, now))
            if len(self._uses) > MAX_ADDRESSES:
                self._forget()
        else:
            self._uses.move_to_end(network)
        return use

    def _forget(self) -> None:
        for _ in range(_TRIES):
            network, use = self._uses.popitem(last=False)
            if not use.is_present:
                self.forgotten_total += 1
                return
            self._uses[network] = use
