"""What the event `time` is answered: this replica's clock, and how long messages take on their way to it.

Shape: docs/protocol.md, "Time". Source of the method: RFC 5905 (NTP), 8: the offset between two clocks.
"""

import time
from collections.abc import Callable, Iterable

from market.announcements import FeedStatus
from market.figures import HopFigures
from server.journeys import Journeys
from telemetry.latency import Hop
from telemetry.recent import Percentiles


class ClientTime:
    """Answers from what is measured anyway: an answer costs no measurement."""

    def __init__(self, journeys: Journeys, feeds: Callable[[], Iterable[FeedStatus]]) -> None:
        self._journeys = journeys
        self._feeds = feeds

    def answer(self) -> dict[str, object]:
        """The acknowledgement's body: times in ms, with fractions; what nobody knows is None."""
        now_s = time.monotonic()
        feeds = list(self._feeds())
        published = [feed.figures.publish for feed in feeds if feed.figures.publish]
        # Of several ingestors the slowest: a client may want what that one carries.
        hops = {Hop.PUBLISH: _shown(max(published, key=lambda each: each.p95_us, default=None))}
        hops |= {hop: _shown(times.percentiles(now_s)) for hop, times in self._journeys.recent.items()}
        return {
            "ok": True,
            "serverTime": time.time_ns() / 1e6,
            "lastMessage": max((feed.last_message_ms for feed in feeds), default=0) or None,
            "hops": hops,
        }


def _shown(times: Percentiles | HopFigures | None) -> dict[str, float] | None:
    """In ms."""
    if times is None:
        return None
    return {"p50": times.p50_us / 1e3, "p95": times.p95_us / 1e3, "samples": times.samples}
