import pytest

from ingestor import demand as module
from ingestor.demand import MAX_REPLICAS, Leases
from market.announcements import LEASE_S, Demand
from market.streams import StreamName

DEFAULT = StreamName.parse("btcusdt@ticker")
TRADE = StreamName.parse("btcusdt@trade")
BOOK = StreamName.parse("futures:btcusdt@bookTicker")


def test_the_wanted_streams_are_the_union_of_all_leases_and_the_defaults() -> None:
    leases = Leases([DEFAULT])
    assert leases.wanted == {DEFAULT}
    assert leases.renew(Demand("a", [str(TRADE)]), 0.0)
    assert leases.renew(Demand("b", [str(TRADE), str(BOOK)]), 0.0)
    assert leases.wanted == {DEFAULT, TRADE, BOOK}


def test_an_announcement_replaces_the_one_before() -> None:
    leases = Leases([])
    leases.renew(Demand("a", [str(TRADE)]), 0.0)
    assert leases.renew(Demand("a", [str(BOOK)]), 0.0)
    assert leases.wanted == {BOOK}
    assert leases.renew(Demand("a", []), 0.0)
    assert not leases.wanted
    assert not len(leases)


def test_a_lease_lasts_as_long_as_it_is_repeated() -> None:
    leases = Leases([])
    leases.renew(Demand("a", [str(TRADE)]), 0.0)
    assert not leases.renew(Demand("a", [str(TRADE)]), LEASE_S - 1)
    assert not leases.expire(LEASE_S)
    assert leases.wanted == {TRADE}
    assert leases.expire(2 * LEASE_S - 1)
    assert not leases.wanted


def test_what_another_replica_wants_too_stays_when_one_lease_ends() -> None:
    leases = Leases([])
    leases.renew(Demand("a", [str(TRADE)]), 0.0)
    leases.renew(Demand("b", [str(TRADE)]), 5.0)
    assert not leases.expire(LEASE_S)
    assert leases.wanted == {TRADE}


def test_an_extended_lease_begins_anew() -> None:
    leases = Leases([])
    leases.renew(Demand("a", [str(TRADE)]), 0.0)
    leases.extend(100.0)
    assert not leases.expire(100.0 + LEASE_S - 0.1)
    assert leases.expire(100.0 + LEASE_S)


def test_what_is_no_stream_or_not_served_is_left_out_and_counted() -> None:
    leases = Leases([])
    leases.renew(Demand("a", [str(TRADE), "nonsense", "btcusdt@kline_7m", "spot:*@kline_1m"]), 0.0)
    assert leases.wanted == {TRADE}
    assert leases.ignored_streams_total == 3


def test_replicas_past_the_limit_are_left_out_and_counted() -> None:
    leases = Leases([])
    for i in range(MAX_REPLICAS + 2):
        leases.renew(Demand(f"r{i}", [f"s{i}@trade"]), 0.0)
    assert len(leases) == MAX_REPLICAS
    assert leases.ignored_replicas_total == 2
    assert leases.renew(Demand("r0", [str(TRADE)]), 0.0)


def test_streams_past_the_limits_are_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS_PER_REPLICA", 3)
    monkeypatch.setattr(module, "MAX_STREAMS", 5)
    leases = Leases([DEFAULT])
    leases.renew(Demand("a", [f"a{i}@trade" for i in range(4)]), 0.0)
    assert len(leases.wanted) == 4
    assert leases.ignored_streams_total == 1
    leases.renew(Demand("b", [f"b{i}@trade" for i in range(3)]), 0.0)
    assert len(leases.wanted) == 5
    assert DEFAULT in leases.wanted
    assert leases.ignored_streams_total == 3
