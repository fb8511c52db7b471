"""Metrics of who was not let in, and of whom nothing was granted any more."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from server.access.gate import Gate
from server.access.operators import Operators
from telemetry.families import counter, counters


def access_figures(gate: Gate, operators: Operators) -> Iterator[Metric]:
    """Credentials refused by reason, ended and not to be judged; operators' paths asked for by others."""
    refused = {reason.value: count for reason, count in gate.refused.items()}
    yield counters("refused_credentials", "Credentials refused", "reason", refused)
    yield counter("expired_grants", "Connections closed because what they were granted ended", gate.expired_total)
    yield counter("token_key_failures", "Times that the keys of tokens could not be had", gate.key_failures_total)
    yield counter("refused_operators", "Requests for operators by others", operators.refused_total)
