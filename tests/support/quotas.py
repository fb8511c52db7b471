"""Quotas that no test meets by accident, for servers without a replica around them."""

from bus.memory import MemoryBroker, MemoryBus
from server.access.quota_settings import QuotaSettings
from server.access.quotas import Quotas


def wide_quotas() -> Quotas:
    """Quotas of a replica by itself, so wide that no client of a test meets them."""
    limits = QuotaSettings(handshakes_per_second=1_000_000, commands_per_second=1_000_000)
    return Quotas(limits, MemoryBus(MemoryBroker()), "r1")
