"""Histograms, the choice of samples, and clocks that differ."""

from itertools import pairwise

from prometheus_client.core import Metric

from market.streams import Kind
from telemetry.histograms import BUCKETS_S, Histogram
from telemetry.latency import SAMPLE_EVERY, Hop, Latencies, Sampler


def counts(histogram: Histogram) -> dict[str, float]:
    return {row[0]: row[1] for row in histogram.cumulative()}


def test_a_time_counts_in_its_bucket_and_all_longer_ones() -> None:
    histogram = Histogram()
    for seconds in (0.0, 0.001, 0.0011, 6.0):
        histogram.observe(seconds)
    found = counts(histogram)
    assert (found["0.00025"], found["0.001"], found["0.0025"], found["5.0"], found["+Inf"]) == (1, 2, 3, 3, 4)
    assert abs(histogram.sum_s - 6.0021) < 1e-9
    assert (BUCKETS_S[0], BUCKETS_S[-1]) == (0.00025, 5.0)


def test_a_bucket_shows_the_latest_of_its_own_traces() -> None:
    histogram = Histogram()
    histogram.observe(0.002, "aa")
    histogram.observe(0.0021, "bb")
    histogram.observe(0.003)
    (row,) = [row for row in histogram.cumulative() if len(row) == 3]
    assert (row[0], row[2].labels, row[2].value) == ("0.0025", {"trace_id": "bb"}, 0.0021)


def test_about_one_message_of_so_many_is_sampled_and_it_lies_in_its_batch() -> None:
    sampler, total, samples = Sampler(), 0, []
    for number in range(200_000):
        batch = 1 + number % 3
        total += batch
        if total >= sampler.due:
            at = sampler.pick(total, batch)
            assert 0 <= at < batch
            samples.append(total - batch + at)
    assert samples[0] == 0
    assert 0.9 < len(samples) * SAMPLE_EVERY / total < 1.1
    assert len({after - before for before, after in pairwise(samples)}) > SAMPLE_EVERY


def test_a_batch_that_is_longer_than_the_distance_is_sampled_once() -> None:
    sampler = Sampler()
    assert 0 <= sampler.pick(1_000, 1_000) < 1_000
    assert sampler.due > 1_000


def test_who_is_hastened_samples_one_of_the_next_batch_whichever() -> None:
    sampler, chosen = Sampler(), set()
    for number in range(1, 201):
        sampler.hasten()
        assert number * 10 >= sampler.due
        chosen.add(sampler.pick(number * 10, 10))
        assert sampler.due > number * 10
    assert chosen == set(range(10))


def family(latencies: Latencies, name: str) -> Metric:
    return next(one for one in latencies.collect() if one.name == f"tickcast_{name}")


def test_a_time_that_ends_before_it_begins_is_counted_apart() -> None:
    latencies = Latencies()
    latencies.note(Hop.BUS, Kind.TRADE, 1_000_000, 1_002_000)
    latencies.note(Hop.BUS, Kind.TRADE, 1_000_000, 999_999)
    samples = family(latencies, "hop_latency_seconds").samples
    (total,) = [sample.value for sample in samples if sample.name.endswith("_count")]
    assert total == 1
    assert all(sample.labels["hop"] == "bus" and sample.labels["kind"] == "trade" for sample in samples)
    (negative,) = family(latencies, "hop_negative_latencies").samples
    assert (negative.labels, negative.value) == ({"hop": "bus"}, 1)
