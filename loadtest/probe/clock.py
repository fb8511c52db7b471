"""How far the cluster's clock and this machine's are apart."""

import time
from typing import Final, NamedTuple

import httpx

ASKED: Final = 5
_PATH: Final = "/api/v3/time"
_TIMEOUT_S: Final = 5.0
_GRAIN_MS: Final = 0.5
"""The cluster tells whole ms: on average it is half of one later than it says."""


class Reading(NamedTuple):
    """One answer: when it was asked for, when it came, by this machine's clock, and what it said; in ms."""

    asked_ms: float
    came_ms: float
    said_ms: float


class Clock(NamedTuple):
    """The cluster's clock minus this machine's, in ms, and by how much that may be wrong."""

    ahead_ms: float
    uncertain_ms: float

    @property
    def correction_ms(self) -> float:
        """What is added to this machine's time: nothing while the difference may be none."""
        return self.ahead_ms if abs(self.ahead_ms) > self.uncertain_ms else 0.0

    @property
    def note(self) -> str:
        """How far times can be believed, as a sentence."""
        way = "ahead of" if self.ahead_ms >= 0 else "behind"
        apart = (
            f"The cluster's clock is {abs(self.ahead_ms):.1f} ms {way} this machine's (± {self.uncertain_ms:.1f} ms)"
        )
        return f"{apart}; {'latencies are corrected by that' if self.correction_ms else 'nothing was corrected'}."


def compare(readings: list[Reading]) -> Clock:
    """The clock by the answer that took the shortest time, of which the server's moment is taken for the middle."""
    best = min(readings, key=lambda reading: reading.came_ms - reading.asked_ms)
    middle_ms = (best.asked_ms + best.came_ms) / 2
    uncertain_ms = (best.came_ms - best.asked_ms) / 2 + _GRAIN_MS
    return Clock(best.said_ms + _GRAIN_MS - middle_ms, uncertain_ms)


async def read_clock(url: str) -> Clock:
    """Ask the cluster at `url` for its time (docs/protocol.md, Binance's REST). Raises httpx.HTTPError."""
    readings = []
    # Straight to the cluster, whatever proxy the environment names.
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=_TIMEOUT_S) as client:
        for _ in range(ASKED):
            asked_ms = time.time() * 1000
            answer = await client.get(_PATH)
            came_ms = time.time() * 1000
            readings.append(Reading(asked_ms, came_ms, answer.raise_for_status().json()["serverTime"]))
    return compare(readings)
