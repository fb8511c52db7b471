"""How long to wait before connecting again."""

import random
from typing import Final

FIRST_S: Final = 0.25
MAX_S: Final = 30.0
_MAX_DOUBLINGS: Final = 16


class Backoff:
    """Waits drawn anywhere between FIRST_S and a ceiling that doubles up to MAX_S ("full jitter").

    Many clients that lost the same server thus come back spread out. Source: AWS Architecture Blog,
    "Exponential Backoff And Jitter".
    """

    def __init__(self, draw: random.Random | None = None) -> None:
        self._draw = draw or random.Random()  # noqa: S311 # spreads load, guards no secret
        self._doublings = 0

    def next_s(self) -> float:
        """The next wait, in s."""
        self._doublings = min(self._doublings + 1, _MAX_DOUBLINGS)
        return self._draw.uniform(FIRST_S, min(MAX_S, FIRST_S * 2.0**self._doublings))

    def reset(self) -> None:
        """Begin with the shortest waits again."""
        self._doublings = 0
