"""What clients noticed of a rolling restart, counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

WINDOW_S: Final = 1.0


@dataclass
class Figures:
    """Counts of all clients of one kind."""

    clients: int = 0
    told: int = 0
    """`draining` events."""
    failed_connects: int = 0
    failed_subscribes: int = 0
    lost: int = 0
    doubled: int = 0
    unrecovered: int = 0
    """Subscriptions with `since` whose answer was not `recovered: true`."""
    received: int = 0
    slowest_return_s: float = 0.0
    """The longest time from the end of a connection to the next acknowledged subscription."""
    cuts: list[float] = field(default_factory=list)
    """When connections ended, in s of the same clock."""
    returns: list[float] = field(default_factory=list)
    """When subscriptions were acknowledged again, in s of one clock."""

    @property
    def troubles(self) -> int:
        """Everything that must not happen."""
        return self.failed_connects + self.failed_subscribes + self.lost + self.doubled + self.unrecovered


def busiest_second(times: Sequence[float]) -> int:
    """How many of `times` (s) lie within one second at most, wherever that second begins."""
    ordered = sorted(times)
    most = begin = 0
    for end, time in enumerate(ordered):
        while time - ordered[begin] >= WINDOW_S:
            begin += 1
        most = max(most, end - begin + 1)
    return most
