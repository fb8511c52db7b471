"""A token bucket: so many a second on average, and ten seconds' worth at once. Pure."""

from typing import Final

BURST_S: Final = 10.0
"""How many seconds' worth of its rate a bucket holds."""


class Bucket:
    """What one client has left of a rate, in tokens. The rate is its owner's: a bucket costs two numbers.

    `charge` takes also what is not there, down to minus the burst: who goes on although refused has to
    wait the longer.
    """

    __slots__ = ("_at", "level")

    def __init__(self, rate: float, now: float) -> None:
        self.level = rate * BURST_S
        self._at = now

    def take(self, amount: float, rate: float, now: float) -> bool:
        """Take `amount` tokens if they are there; `now` in s."""
        self._fill(rate, now)
        if self.level < amount:
            return False
        self.level -= amount
        return True

    def charge(self, amount: float, rate: float, now: float) -> bool:
        """Take `amount` tokens; whether they were there. `now` in s."""
        self._fill(rate, now)
        is_there = self.level >= amount
        self.level = max(self.level - amount, -rate * BURST_S)
        return is_there

    def is_overdrawn(self, rate: float) -> bool:
        """Whether a whole burst was charged beyond what there was."""
        return self.level <= -rate * BURST_S

    def wait_s(self, amount: float, rate: float) -> float:
        """How long until `amount` tokens are there, in s."""
        return max(0.0, (amount - self.level) / rate)

    def _fill(self, rate: float, now: float) -> None:
        self.level = min(self.level + (now - self._at) * rate, rate * BURST_S)
        self._at = now
