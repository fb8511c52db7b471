"""Metric families under our prefix, made of figures that are counted elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from telemetry.histograms import Histogram

PREFIX: Final = "tickcast_"


def counter(name: str, text: str, value: float) -> Metric:
    """A counter without labels; `_total` is added to its name when it is shown."""
    return CounterMetricFamily(PREFIX + name, text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels; True is 1."""
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    """A counter for each value of one label."""
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for label_value, value in values.items():
        family.add_metric([label_value], value)
    return family


def labelled_counters(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    """A counter for each row of label values."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in rows:
        family.add_metric(label_values, value)
    return family


def labelled_gauges(name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """A gauge for each row of label values."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in rows:
        family.add_metric(label_values, float(value))
    return family


def histograms(name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Histogram]]) -> Metric:
    """A histogram for each row of label values."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, histogram in rows:
        family.add_metric(label_values, histogram.cumulative(), histogram.sum_s)
    return family
