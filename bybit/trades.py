"""The trades of one topic across lost connections: what was missed comes first, as far as REST still has it. Pure.

Ids grow but skip, so that nothing in the stream tells of a missed trade: after each new subscription the
recent trades are asked for, and live ones wait for the answer. Source: Bybit v5 "Get Public Recent Trading History".
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

TradePayloads: TypeAlias = Sequence[tuple[int, bytes]]
"""Trades by Bybit's whole id, each with its payload."""

MAX_HELD: Final = 2_000
"""Trades that wait for the recent ones; beyond it they go on without."""


class Trades:
    """Passes trades on in the order of their ids; after `lose` they wait for `mend`."""

    def __init__(self) -> None:
        self._last_id = 0
        self._held: dict[int, bytes] | None = None

    @property
    def is_behind(self) -> bool:
        """Whether `mend` is waited for."""
        return self._held is not None

    def lose(self) -> None:
        """Trades may be missed from here on; before the first one there is nothing to miss."""
        if self._last_id and self._held is None:
            self._held = {}

    def take(self, trades: TradePayloads) -> list[bytes]:
        """Take live trades; returns what can be passed on."""
        if self._held is not None:
            self._held.update(trades)
            return self.mend(()) if len(self._held) > MAX_HELD else []
        self._last_id = max([self._last_id, *(number for number, _ in trades)])
        return [payload for _, payload in trades]

    def mend(self, recent: TradePayloads) -> list[bytes]:
        """Join the recent trades, none where they are not to be had, to those that waited; returns all that is new."""
        held, self._held = self._held or {}, None
        new = {number: payload for number, payload in (*recent, *held.items()) if number > self._last_id}
        self._last_id = max(new, default=self._last_id)
        return [payload for _, payload in sorted(new.items())]

    def reaches(self, recent: TradePayloads) -> bool:
        """Whether `recent` goes back to the last trade that was passed on, so that none between is missing."""
        return any(number <= self._last_id for number, _ in recent)
