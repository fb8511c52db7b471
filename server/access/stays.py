"""One connection's stay: what it holds of its address's streams, and its own rate of commands."""

from collections.abc import Callable
from enum import Enum
from math import ceil
from time import monotonic
from typing import Final

from market.errors import Code
from server.access.addresses import AddressUse
from server.access.buckets import BURST_S, Bucket
from server.access.over_quota import OverQuotaError, Reason
from server.access.quota_settings import QuotaSettings
from server.access.visitors import Grant, Visitor

FLOOD_COST: Final = 50
"""Handshakes that a connection closed for flooding costs its address: it may not just come back and go on."""
BYTES_A_TOKEN: Final = 16_384
"""A command costs one token, and one more for each so many bytes: long ones take long to read."""
FRAGMENTS_A_TOKEN: Final = 16

Refuse = Callable[[Reason, AddressUse], None]
"""Counts and logs a refusal."""


class Verdict(Enum):
    """What becomes of a command."""

    TAKEN = "taken"
    REFUSED = "refused"
    """To be answered with `rate_limited`."""
    FLOOD = "flood"
    """The connection is to be closed."""


class Stay:
    """One connection of a visitor, from `Quotas.enter` to `leave`."""

    __slots__ = (
        "_bucket",
        "_grant",
        "_is_over",
        "_limits",
        "_on_leave",
        "_refuse",
        "_use",
        "is_flooding",
        "streams",
        "visitor",
    )

    def __init__(
        self,
        visitor: Visitor,
        use: AddressUse,
        limits: QuotaSettings,
        *,
        refuse: Refuse,
        on_leave: Callable[[Grant], None],
    ) -> None:
        self.visitor = visitor
        self._grant = visitor.grant
        """What it was granted when it entered: what is given back when it leaves."""
        self._use = use
        self._limits = limits
        self._refuse = refuse
        self._on_leave = on_leave
        self._bucket = Bucket(self._rate, monotonic())
        self._is_over = False
        self.is_flooding = False
        """Whether it is closed because it went on sending while it was refused."""
        self.streams = 0
        use.connections += 1

    def leave(self) -> None:
        """The connection is over; a second time does nothing."""
        if not self._is_over:
            self._is_over = True
            self._use.connections -= 1
            self._use.streams -= self.streams
            self._on_leave(self._grant)

    def hold(self, streams: int) -> None:
        """Have the connection hold `streams` streams, before it joins them; pairs with `settle`.

        Raises OverQuotaError (too_many_streams) where it, or its address, may not have so many.
        """
        most = self.visitor.grant.max_streams
        if streams > most:
            raise self._too_many(f"At most {most} streams a client")
        most = self._limits.streams_per_address
        if streams > self.streams and self._use.streams + streams - self.streams > most:
            raise self._too_many(f"At most {most} streams an address")
        self.settle(streams)

    def settle(self, streams: int) -> None:
        """Have the connection hold as many streams as it really has now."""
        if not self._is_over:
            self._use.streams += streams - self.streams
            self.streams = streams

    def command(self, size: int) -> Verdict:
        """Charge one command of `size` bytes or characters."""
        # One that costs more than a bucket holds could never be taken.
        return self._charge(min(1 + size // BYTES_A_TOKEN, self._rate * BURST_S / 2))

    def fragments(self, count: int) -> Verdict:
        """Charge frames that are no messages of their own: parts of one, pings and pongs."""
        return self._charge(count / FRAGMENTS_A_TOKEN)

    def refusal(self) -> OverQuotaError:
        """What to tell the client of a command that was refused."""
        text = f"At most {self._rate:g} commands a second"
        return OverQuotaError(
            Reason.COMMANDS, Code.RATE_LIMITED, text, max(1, ceil(self._bucket.wait_s(1, self._rate)))
        )

    @property
    def _rate(self) -> float:
        return self.visitor.grant.commands_per_second or self._limits.commands_per_second

    def _charge(self, tokens: float) -> Verdict:
        if self.is_flooding:
            return Verdict.FLOOD
        rate = self._rate
        if self._bucket.charge(tokens, rate, monotonic()):
            return Verdict.TAKEN
        if not self._bucket.is_overdrawn(rate):
            self._refuse(Reason.COMMANDS, self._use)
            return Verdict.REFUSED
        self.is_flooding = True
        self._refuse(Reason.FLOOD, self._use)
        self._use.handshakes.charge(FLOOD_COST, self._limits.handshakes_per_second, monotonic())
        return Verdict.FLOOD

    def _too_many(self, text: str) -> OverQuotaError:
        self._refuse(Reason.STREAMS, self._use)
        return OverQuotaError(Reason.STREAMS, Code.TOO_MANY_STREAMS, text, 0)
