"""What tests may ask of the exchange to do wrong. Pure state; the clock is handed in."""

from enum import StrEnum
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Final

import msgspec

from market.streams import Market

MAX_FAULTS: Final = 1_000


class Door(StrEnum):
    """Where clients are refused."""

    REST = "rest"
    WEBSOCKET = "websocket"


class Silence(msgspec.Struct, frozen=True):
    """Streams that say nothing; `until` is None until lifted."""

    market: Market | None
    pattern: str
    until: float | None


class Refusal(msgspec.Struct):
    """One door answers with `status` for `requests` more requests or until `until`, whichever is given."""

    status: HTTPStatus
    retry_after_s: int
    requests: int | None
    until: float | None


class Faults:
    """The faults in force. `now` is a monotonic clock in s."""

    def __init__(self) -> None:
        self.suppressed_total = 0
        self._silences: list[Silence] = []
        self._skips: dict[tuple[Market, str], int] = {}
        self._refusals: dict[Door, Refusal] = {}

    def silence(self, market: Market | None, pattern: str, until: float | None) -> None:
        """Say nothing on streams whose name matches the shell pattern. Raises ValueError beyond MAX_FAULTS."""
        if len(self._silences) >= MAX_FAULTS:
            raise ValueError("too many silences")
        self._silences.append(Silence(market, pattern, until))

    def skip(self, market: Market, name: str, count: int) -> None:
        """Swallow the next `count` messages of one stream. Raises ValueError beyond MAX_FAULTS."""
        if len(self._skips) >= MAX_FAULTS:
            raise ValueError("too many skips")
        self._skips[market, name] = count

    def refuse(self, door: Door, refusal: Refusal) -> None:
        """Refuse REST requests, or handshakes."""
        self._refusals[door] = refusal

    def lift(self) -> None:
        """End all faults."""
        self._silences.clear()
        self._skips.clear()
        self._refusals.clear()

    def suppresses(self, market: Market, name: str, now: float) -> bool:
        """Whether this message is to be swallowed; counts it if so."""
        if not self._silences and not self._skips:
            return False
        left = self._skips.get((market, name), 0)
        if left > 1:
            self._skips[market, name] = left - 1
        elif left == 1:
            del self._skips[market, name]
        swallowed = left > 0 or self._is_silent(market, name, now)
        self.suppressed_total += swallowed
        return swallowed

    def refusal(self, door: Door, now: float) -> Refusal | None:
        """How to refuse the request that came to `door` now, or None to serve it."""
        refusal = self._refusals.get(door)
        if refusal is None:
            return None
        if refusal.until is not None and now >= refusal.until:
            del self._refusals[door]
            return None
        if refusal.requests is not None:
            refusal.requests -= 1
            if refusal.requests <= 0:
                del self._refusals[door]
        return refusal

    def _is_silent(self, market: Market, name: str, now: float) -> bool:
        self._silences = [silence for silence in self._silences if silence.until is None or now < silence.until]
        return any(
            silence.market in (None, market) and fnmatchcase(name, silence.pattern) for silence in self._silences
        )
