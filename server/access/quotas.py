"""Quotas: who may connect, ask and subscribe how much. Limits, scopes and answers: docs/quotas.md."""

from collections import Counter
from time import monotonic

from bus.base import Bus
from market.errors import Code
from server.access.addresses import Addresses, AddressUse
from server.access.elsewhere import MAX_TOLD, Elsewhere, Use
from server.access.over_quota import OverQuotaError, Reason
from server.access.quota_settings import QuotaSettings
from server.access.requests import Allowance, RequestQuota
from server.access.stays import Stay
from server.access.visitors import Grant, Visitor
from server.bounded_log import BoundedLog

_RETRY_S = 5
"""When those may try again who wait for somebody else to leave, or for the bus."""
_SOCKETS_A_SESSION = 2
"""A long-polling session has one connection for its polls and one for its posts."""
_MORE_SOCKETS = 1024
"""HTTP connections that an address may have besides those of its sessions."""


class Quotas:
    """All limits of one replica, and what is used of them."""

    def __init__(self, limits: QuotaSettings, bus: Bus, replica: str) -> None:
        self.limits = limits
        self._replica = replica
        self._addresses = Addresses(limits.handshakes_per_second)
        self._subjects: Counter[str] = Counter()
        """Connections of those subjects that may have only so many."""
        self._elsewhere = Elsewhere(bus, replica, self._use)
        self._requests = RequestQuota(limits.requests_per_minute, self._elsewhere.requests_of)
        self._log = BoundedLog()
        self._hooks = (self._refuse, self._left)
        """Made once, not for every connection."""
        self.refused: Counter[str] = Counter()
        """How often was refused, by reason (`Reason`)."""

    @property
    def addresses(self) -> int:
        """How many addresses are remembered."""
        return len(self._addresses)

    @property
    def forgotten_total(self) -> int:
        """Addresses that had to be forgotten to make room for others."""
        return self._addresses.forgotten_total

    @property
    def malformed_total(self) -> int:
        """Announcements of other replicas that were not understood."""
        return self._elsewhere.malformed_total

    def start(self) -> None:
        """Begin to tell the other replicas what is used here."""
        self._elsewhere.start()

    async def close(self) -> None:
        """Stop."""
        await self._elsewhere.close()

    def knock(self, address: str) -> None:
        """Charge a handshake, before anything is spent on it. Raises OverQuotaError where there were too many."""
        use = self._addresses.of(address, monotonic())
        rate = self.limits.handshakes_per_second
        if not use.handshakes.take(1, rate, monotonic()):
            text = f"At most {rate:g} new connections a second and address"
            raise self._over(Reason.HANDSHAKES, Code.RATE_LIMITED, text, int(use.handshakes.wait_s(1, rate)) + 1, use)

    def check(self, visitor: Visitor) -> None:
        """Raise OverQuotaError unless the visitor may have one more connection; `enter` follows without an await."""
        use = self._addresses.of(visitor.address, monotonic())
        most = self.limits.connections_per_address
        if use.connections >= most:
            text = f"At most {most} connections an address"
            raise self._over(Reason.CONNECTIONS, Code.TOO_MANY_CONNECTIONS, text, _RETRY_S, use)
        self._check_subject(visitor, use)

    def enter(self, visitor: Visitor) -> Stay:
        """Begin the stay of one connection, which ends with its `leave`."""
        if visitor.grant.max_connections is not None:
            self._subjects[visitor.grant.subject] += 1
        use = self._addresses.of(visitor.address, monotonic())
        refuse, on_leave = self._hooks
        return Stay(visitor, use, self.limits, refuse=refuse, on_leave=on_leave)

    def open_socket(self, address: str) -> AddressUse | None:
        """Note an HTTP connection of `address`, until `close_socket`; None where it has too many already."""
        use = self._addresses.of(address, monotonic())
        if use.sockets >= _SOCKETS_A_SESSION * self.limits.connections_per_address + _MORE_SOCKETS:
            self._refuse(Reason.CONNECTIONS, use)
            return None
        use.sockets += 1
        return use

    def close_socket(self, use: AddressUse) -> None:
        """The HTTP connection is over, or has become a WebSocket."""
        use.sockets -= 1

    def count_request(self, address: str) -> Allowance:
        """Count one REST request of `address`. Raises OverQuotaError where it cannot be counted for want of the bus."""
        if not self._elsewhere.is_known and self.limits.quotas_without_bus == "closed":
            raise self._uncounted(self._addresses.of(address, monotonic()))
        allowance = self._requests.count(address)
        if not allowance.allowed:
            self._refuse(Reason.REQUESTS, self._addresses.of(address, monotonic()))
        return allowance

    def note(self, reason: Reason, address: str) -> None:
        """Count and log what was refused elsewhere."""
        self._refuse(reason, self._addresses.of(address, monotonic()))

    def _check_subject(self, visitor: Visitor, use: AddressUse) -> None:
        subject, most = visitor.grant.subject, visitor.grant.max_connections
        if most is None:
            return
        if not self._elsewhere.is_known and self.limits.quotas_without_bus == "closed":
            raise self._uncounted(use)
        if self._subjects[subject] + self._elsewhere.connections_of(subject) >= most:
            text = f"At most {most} connections with these credentials"
            raise self._over(Reason.SUBJECT_CONNECTIONS, Code.TOO_MANY_CONNECTIONS, text, _RETRY_S, use)

    def _uncounted(self, use: AddressUse) -> OverQuotaError:
        text = "What is counted for all replicas together cannot be counted now"
        return self._over(Reason.UNCOUNTED, Code.UNAVAILABLE, text, _RETRY_S, use)

    def _over(self, reason: Reason, code: Code, text: str, retry_after_s: int, use: AddressUse) -> OverQuotaError:
        self._refuse(reason, use)
        return OverQuotaError(reason, code, text, retry_after_s)

    def _refuse(self, reason: Reason, use: AddressUse) -> None:
        self.refused[reason.value] += 1
        self._log.info(f"over quota: {reason.value}", address=use.network)

    def _left(self, grant: Grant) -> None:
        if grant.max_connections is not None:
            self._subjects[grant.subject] -= 1
            if not self._subjects[grant.subject]:
                del self._subjects[grant.subject]

    def _use(self) -> Use:
        """What other replicas should know."""
        connections = dict(self._subjects.most_common(MAX_TOLD))
        return Use(self._replica, self._requests.told(), connections)
