"""How long to wait before connecting again."""

import random
from typing import Final

FIRST_S: Final = 0.25
MAX_S: Final = 30.0
_GROWTH: Final = 3.0


class Backoff:
    """Waits that grow from FIRST_S to MAX_S, each drawn at random so that many clients spread out.

    Each wait is uniform between FIRST_S and three times the one before ("decorrelated jitter",
    AWS Architecture Blog, "Exponential Backoff And Jitter").
    """

    def __init__(self, draw: random.Random | None = None) -> None:
        self._draw = draw or random.Random()  # noqa: S311 # spreads load, guards no secret
        self._last_s = FIRST_S
        self.is_fresh = True
        """Whether there was no wait since the start or the last `reset`."""

    def next_s(self) -> float:
        """The next wait, in s."""
        self.is_fresh = False
        self._last_s = min(MAX_S, self._draw.uniform(FIRST_S, self._last_s * _GROWTH))
        return self._last_s

    def reset(self) -> None:
        """Begin with the shortest waits again."""
        self._last_s = FIRST_S
        self.is_fresh = True
