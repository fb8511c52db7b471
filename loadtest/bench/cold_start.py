"""What Binance's limits make of a cold start, and how one went. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from binance.dialogue import client_window
from binance.entrances import MESSAGES_PER_SECOND
from binance.routes import MAX_STREAMS, batches
from market.streams import Market

CONNECTIONS_MAX: Final = 300
"""Connections that Binance admits in 5 minutes from one address ("WebSocket Streams", "Limits")."""


@dataclass(frozen=True)
class Plan:
    """How many connections and SUBSCRIBE messages it takes, and how long our own pace of messages makes it."""

    streams: int
    connections: int
    fullest: int
    """Streams on the connection that has most."""
    messages: int
    """SUBSCRIBE messages on that connection; a message holds at most 200 names and 4,096 bytes."""
    seconds: float
    """From its first message to its last, in s."""


def plan(names: Sequence[str], streams_by_connection: Sequence[int]) -> Plan:
    """The plan for spot streams with these of Binance's `names`, spread so over connections."""
    fullest = max(streams_by_connection, default=0)
    # Which names meet on one connection is the ingestor's choice: it gets its share of what all take.
    messages = math.ceil(len(list(batches(sorted(names)))) * fullest / len(names))
    return Plan(len(names), len(streams_by_connection), fullest, messages, _pace_s(messages))


@dataclass(frozen=True)
class ColdStart:
    """How one went; times are in s since the demand was announced. The rest is what the exchange counted."""

    plan: Plan
    acknowledged_s: float
    spoke_s: float
    """When the last stream had sent its first message."""
    connections: int
    messages: int
    busiest_second: int
    """The most messages that came over one connection within a second."""
    refused: int
    """Connections that were refused, or closed for sending too much."""
    others_share: float
    """Until the acknowledgement: how much of a core, of the two the busier one, something else took."""

    @property
    def beyond_plan_s(self) -> float:
        """How much longer the last acknowledgement took than the limits command, in s."""
        return self.acknowledged_s - self.plan.seconds

    @property
    def limits_exceeded(self) -> int:
        """How many of Binance's limits were not kept."""
        return sum(
            (
                self.connections > CONNECTIONS_MAX,
                self.plan.fullest > MAX_STREAMS,
                self.busiest_second > MESSAGES_PER_SECOND[Market.SPOT],
                self.refused > 0,
            )
        )

    @property
    def line(self) -> str:
        """The arithmetic beside what happened, in a few sentences."""
        planned = self.plan
        return (
            f"{planned.streams:,} streams on {planned.connections} connections, {planned.fullest} on the fullest "
            f"(Binance: {MAX_STREAMS:,}): {planned.messages} SUBSCRIBE messages, which wait {planned.seconds:.1f} s "
            f"for our limit. Acknowledged after {self.acknowledged_s:.2f} s, the last stream spoke after "
            f"{self.spoke_s:.2f} s. The exchange counted {self.connections} connections (Binance: {CONNECTIONS_MAX} "
            f"in 5 min), {self.messages} messages, at most {self.busiest_second} a second on one (Binance: "
            f"{MESSAGES_PER_SECOND[Market.SPOT]}), {self.refused} refused or closed."
        )


def _pace_s(messages: int) -> float:
    """How long our own window, which is stricter than Binance's, spreads so many messages, in s."""
    window, now = client_window(Market.SPOT), 0.0
    for _ in range(messages):
        now += window.wait_s(now)
        window.allow(now)
    return now
