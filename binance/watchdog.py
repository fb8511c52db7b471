"""Which streams have been silent for longer than they may. Pure.

A stream that is asked for on the wrong route, or that the server has lost, is acknowledged and stays
silent, with no error on a connection that is well otherwise. Each kind has its own tolerance; a stream
that has shown longer silences is granted three times the longest of them. Source: Binance "WebSocket
Streams" and "Important WebSocket Change Notice" (USD-M futures) for speeds and routes.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from market.streams import ARRAY, Kind, StreamName

TOLERANCE_S: Final = {
    # Sent by the clock, whether or not anything happened.
    Kind.MARK_PRICE: 15.0,
    # Sent when something changed, which on quotes and statistics of 24 hours is all the time.
    Kind.TICKER: 30.0,
    Kind.MINI_TICKER: 30.0,
    Kind.BOOK_TICKER: 30.0,
    Kind.DEPTH5: 30.0,
    Kind.DEPTH10: 30.0,
    Kind.DEPTH20: 30.0,
    Kind.DEPTH: 30.0,
    # Sent when somebody trades: rarely, on some symbols.
    Kind.KLINE: 120.0,
    Kind.TRADE: 120.0,
    Kind.AGG_TRADE: 120.0,
}
"""How long a stream may be silent, in s. Liquidations are not here: days without any are fine."""
ARRAY_TOLERANCE_S: Final = 15.0
"""The same for all-market streams: something changes every second."""
RENEW_EVERY_S: Final = 60.0
"""At most one new connection in so many seconds for the sake of silent streams."""

_LEEWAY: Final = 3.0
_MAX_TOLERANCE_S: Final = 3_600.0


class Silence(NamedTuple):
    """Streams whose silence has just become too long, and streams that a new connection did not bring back."""

    renew: tuple[StreamName, ...] = ()
    stalled: tuple[StreamName, ...] = ()


class _Watch(msgspec.Struct):
    """One stream: last heard (or asked for), its tolerance, and how far things have gone."""

    since: float
    tolerance_s: float
    renewed_at: float | None = None
    is_stalled: bool = False


class Watchdog:
    """Watches the acknowledged streams of one connection; the caller brings a clock that never goes back, in s."""

    def __init__(self) -> None:
        self._watches: dict[StreamName, _Watch] = {}
        self._renewed_at: float | None = None

    @property
    def stalled(self) -> frozenset[StreamName]:
        """Streams that stayed silent although a new connection was opened for them."""
        return frozenset(stream for stream, watch in self._watches.items() if watch.is_stalled)

    def watch(self, streams: Iterable[StreamName], now: float) -> None:
        """Watch exactly `streams` from now on; those watched already go on."""
        watches = self._watches
        self._watches = {
            stream: watches.get(stream) or _Watch(now, tolerance_s)
            for stream in streams
            if (tolerance_s := _tolerance_s(stream)) is not None
        }

    def restart(self, now: float) -> None:
        """The connection is a new one: every stream has its time again."""
        for watch in self._watches.values():
            watch.since = now

    def hear(self, streams: Iterable[StreamName], now: float) -> list[StreamName]:
        """These streams have spoken; returns those among them that were reported as stalled."""
        back = []
        for stream in streams:
            if (watch := self._watches.get(stream)) is None:
                continue
            if watch.is_stalled:
                back.append(stream)
            watch.tolerance_s = _learned_s(watch, now)
            watch.since, watch.renewed_at, watch.is_stalled = now, None, False
        return back

    def check(self, now: float) -> Silence:
        """What has been silent for too long; each stream is named once to renew and once as stalled."""
        overdue = [
            (stream, watch)
            for stream, watch in self._watches.items()
            if now - watch.since > watch.tolerance_s and not watch.is_stalled
        ]
        stalled = [(stream, watch) for stream, watch in overdue if watch.renewed_at is not None]
        for _, watch in stalled:
            watch.is_stalled = True
        renew = [(stream, watch) for stream, watch in overdue if watch.renewed_at is None]
        if renew and self._renewed_at is not None and now - self._renewed_at < RENEW_EVERY_S:
            renew = []
        for _, watch in renew:
            watch.renewed_at = self._renewed_at = now
        return Silence(tuple(stream for stream, _ in renew), tuple(stream for stream, _ in stalled))


def _tolerance_s(stream: StreamName) -> float | None:
    return ARRAY_TOLERANCE_S if stream.symbol == ARRAY else TOLERANCE_S.get(stream.kind)


def _learned_s(watch: _Watch, now: float) -> float:
    """The tolerance after a silence; one that a new connection has ended was not the stream's own."""
    silence_s = now - watch.since
    if watch.renewed_at is not None and not watch.is_stalled:
        return watch.tolerance_s
    return min(max(watch.tolerance_s, _LEEWAY * silence_s), _MAX_TOLERANCE_S)
