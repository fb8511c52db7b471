"""Figures of the parts that replicas and ingestors both have: the bus, and Binance's REST API."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from binance.rest import RestClient
from bus.base import Bus
from telemetry.families import counter, gauge, labelled_counters, labelled_gauges


class BusFigures:
    """What one end of the bus counts."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        bus = self._bus
        yield gauge("bus_connected", "1 while the bus is reachable and all subscriptions stand", bus.connected)
        yield counter("bus_connects", "Times that the bus was connected, the first one included", bus.connects_total)
        dropped = "Messages and announcements dropped because the bus was away"
        yield counter("bus_dropped_messages", dropped, bus.dropped_total)
        yield counter("bus_malformed_messages", "What came over the bus and was no message", bus.malformed_total)
        errors = "Times that a handler of what came over the bus failed"
        yield counter("bus_handler_errors", errors, bus.handler_errors_total)
        alone = "Amounts of shared budgets counted alone because the bus was away"
        yield counter("bus_spent_alone", alone, bus.spent_alone_total)


class RestFigures:
    """What Binance's REST API costs one process."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    def collect(self) -> Iterator[Metric]:
        """The current figures."""
        budgets = self._rest.budgets
        yield labelled_gauges(
            "upstream_rest_weight",
            "Request weight of Binance used this minute, by all processes as far as known",
            ["market"],
            (((market,), budget.used) for market, budget in budgets.items()),
        )
        yield labelled_gauges(
            "upstream_rest_weight_limit",
            "Request weight that we let ourselves use in a minute",
            ["market"],
            (((market,), budget.allowance) for market, budget in budgets.items()),
        )
        yield labelled_counters(
            "upstream_rest_refused_requests",
            "Requests not sent: no weight left, or a pause that Binance ordered",
            ["market"],
            (((market,), budget.refused_total) for market, budget in budgets.items()),
        )
