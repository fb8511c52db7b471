"""The figures that follow from a sample, and the search for the highest rate."""

from dataclasses import replace

import pytest

from loadtest.bench.metronome import Pace
from loadtest.bench.samples import Connecting, Cpu, Usage
from loadtest.bench.search import ATTEMPTS_MAX, RateSearch
from tests.loadtest.samples import A_SAMPLE


def test_cpu_time_is_told_per_delivery() -> None:
    assert A_SAMPLE.user_us == pytest.approx(1.5)
    assert A_SAMPLE.system_us == pytest.approx(2.5)
    assert A_SAMPLE.cpu_us == pytest.approx(4.0)


def test_what_others_took_of_the_servers_core_is_told() -> None:
    assert A_SAMPLE.others_share == pytest.approx(0.1)


@pytest.mark.parametrize(
    "worse",
    [
        {"delivered": 190_000},
        {"p99_ms": 100.0},
        {"lost_clients": 1},
        {"published": 0, "delivered": 0},
    ],
)
def test_a_rate_is_served_when_all_arrives_in_time_at_everybody(worse: dict[str, int]) -> None:
    assert A_SAMPLE.served
    assert not replace(A_SAMPLE, **worse).served  # type: ignore[arg-type] # one field at a time


def test_usage_between_two_moments_also_counts_processes_that_are_new() -> None:
    earlier = Usage(10.0, {"server": Cpu(1.0, 2.0)}, (5.0, 6.0))
    later = Usage(12.0, {"server": Cpu(1.5, 2.25), "late": Cpu(0.5, 0.0)}, (6.0, 6.5))
    used = later.since(earlier)
    assert used == Usage(2.0, {"server": Cpu(0.5, 0.25), "late": Cpu(0.5, 0.0)}, (1.0, 0.5))


def test_memory_of_a_client_is_what_one_more_takes_once_free_memory_is_used_up() -> None:
    sizes = {0: 100_000_000, 1000: 100_000_000, 2000: 104_096_000, 3000: 108_192_000, 4000: 112_288_000}
    cost = Connecting(4000, 2.0, Cpu(1.0, 1.0), sizes, receiver_share=0.1)
    assert cost.memory_kb == pytest.approx(3.2), "from first to last it would be 3"


@pytest.mark.parametrize("limit", [3.0, 90.0, 740.0, 41_000.0])
def test_the_search_finds_what_a_server_serves_to_ten_percent(limit: float) -> None:
    search = RateSearch(500.0)
    while not search.done:
        search.record(served=search.rate <= limit)
    assert search.served is not None
    assert limit / 1.1 <= search.served <= limit


def test_the_search_ends_where_nothing_and_where_everything_is_served() -> None:
    for served in (False, True):
        search = RateSearch(100.0)
        attempts = 0
        while not search.done:
            search.record(served=served)
            attempts += 1
        assert attempts == ATTEMPTS_MAX


def test_updates_are_told_to_publishers_one_by_one_or_as_a_batch() -> None:
    assert Pace(1000).commands(3) == b"1\n1\n1\n"
    assert Pace(1000).tick_s == pytest.approx(0.001)
    assert Pace(1000, tick_ms=5).commands(5) == b"5\n"
    assert Pace(1000, tick_ms=5).tick_s == pytest.approx(0.005)
