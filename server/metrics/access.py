"""Metrics of who was not let in, and of whom nothing was granted any more."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from server.access.gate import Gate
from server.access.operators import Operators
from server.access.over_quota import Reason
from server.access.quotas import Quotas
from server.delivery import Delivery
from telemetry.families import counter, counters, gauge


def access_figures(gate: Gate, operators: Operators) -> Iterator[Metric]:
    """Credentials refused by reason, ended and not to be judged; operators' paths asked for by others."""
    refused = {reason.value: count for reason, count in gate.refused.items()}
    yield counters("refused_credentials", "Credentials refused", "reason", refused)
    yield counter("expired_grants", "Connections closed because what they were granted ended", gate.expired_total)
    yield counter("token_key_failures", "Times that the keys of tokens could not be had", gate.key_failures_total)
    yield counter("refused_operators", "Requests for operators by others", operators.refused_total)


def quota_figures(quotas: Quotas, delivery: Delivery) -> Iterator[Metric]:
    """What was refused because somebody had used up what they may; docs/quotas.md has the reasons."""
    counts = {**quotas.refused, Reason.SLOW_MESSAGE.value: delivery.slow_senders_total}
    refused = {reason.value: counts.get(reason.value, 0) for reason in Reason}
    yield counters("refused", "What was refused, by the limit it met", "reason", refused)
    yield gauge("addresses", "Client addresses that are remembered", quotas.addresses)
    yield counter("addresses_forgotten", "Addresses forgotten to make room for others", quotas.forgotten_total)
    yield counter("quota_news_malformed", "Announcements of use that were not understood", quotas.malformed_total)
