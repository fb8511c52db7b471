"""How the highest rate that a server still serves is found. Pure."""

from typing import Final

GROWTH: Final = 2.0
NARROWINGS: Final = 3
ATTEMPTS_MAX: Final = 16


class RateSearch:
    """Double the rate until a step fails, then halve the gap (its ratio) NARROWINGS times.

    While none has succeeded, a failure lowers the rate instead. Iterate: `rate` until `done`.
    """

    def __init__(self, first: float) -> None:
        self.rate = first
        self.served: float | None = None
        """The highest rate that was served."""
        self._failed: float | None = None
        self._narrowings = 0
        self._attempts = 0

    @property
    def done(self) -> bool:
        """Whether the rate is known well enough."""
        return self._narrowings > NARROWINGS or self._attempts >= ATTEMPTS_MAX

    def record(self, *, served: bool) -> None:
        """Learn how the step at `rate` went, and choose the next."""
        self._attempts += 1
        if served:
            self.served = max(self.rate, self.served or 0.0)
        else:
            self._failed = min(self.rate, self._failed or self.rate)
        if self.served is None:
            self.rate /= GROWTH
        elif self._failed is None:
            self.rate *= GROWTH
        else:
            self._narrowings += 1
            self.rate = (self.served * self._failed) ** 0.5
