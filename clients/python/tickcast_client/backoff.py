"""How long to wait before connecting again."""

import random
from typing import Final

FIRST_S: Final = 0.25
MAX_S: Final = 5.0
_MAX_DOUBLINGS: Final = 8


class Backoff:
    """Waits drawn between 0 and a ceiling that doubles from FIRST_S to MAX_S.

    The clients of a replica that died thus come back spread out. Source: AWS Architecture Blog, "Exponential Backoff
    And Jitter" ("full jitter").
    """

    def __init__(self) -> None:
        self._random = random.SystemRandom()
        self._doublings = 0

    def next_s(self) -> float:
        """The next wait, in s."""
        ceiling = min(MAX_S, FIRST_S * 2.0**self._doublings)
        self._doublings = min(self._doublings + 1, _MAX_DOUBLINGS)
        return self._random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Begin with the shortest waits again."""
        self._doublings = 0
