"""The pure parts of the quotas: buckets, addresses, windows."""

import pytest

from server.access import addresses as addresses_module
from server.access.addresses import Addresses
from server.access.buckets import BURST_S, Bucket
from server.access.elsewhere import MAX_TOLD
from server.access.networks import network_of
from server.access.requests import WINDOW_S, RequestQuota


def test_a_bucket_holds_ten_seconds_worth_and_fills_at_its_rate() -> None:
    bucket = Bucket(2, now=0)
    assert [bucket.take(1, 2, now=0) for _ in range(21)] == [True] * 20 + [False]
    assert bucket.wait_s(1, 2) == 0.5
    assert bucket.take(1, 2, now=0.5)
    assert not bucket.take(1, 2, now=0.5)
    assert [bucket.take(1, 2, now=1000) for _ in range(21)] == [True] * 20 + [False]


def test_who_goes_on_although_refused_owes_a_burst_at_most_and_recovers() -> None:
    bucket = Bucket(2, now=0)
    assert [bucket.charge(1, 2, now=0) for _ in range(39)] == [True] * 20 + [False] * 19
    assert not bucket.is_overdrawn(2)
    assert not bucket.charge(5, 2, now=0)
    assert bucket.is_overdrawn(2)
    assert bucket.level == -2 * BURST_S
    assert bucket.charge(1, 2, now=BURST_S + 0.5)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        ("", ""),
    ],
)
def test_an_ipv6_address_is_counted_with_its_neighbours_of_64_bits(address: str, network: str) -> None:
    assert network_of(address) == network


def test_only_so_many_addresses_are_remembered_and_none_that_is_connected_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(addresses_module, "MAX_ADDRESSES", 3)
    addresses = Addresses(1)
    addresses.of("a", 0).connections = 1
    for name in "bcdef":
        addresses.of(name, 0)
    assert len(addresses) == 3
    assert addresses.forgotten_total == 3
    assert addresses.of("a", 0).connections == 1


def test_requests_at_other_replicas_count_and_a_new_window_begins_with_none() -> None:
    now = [0.0]
    elsewhere = {"a": 6}
    quota = RequestQuota(10, lambda network: elsewhere.get(network, 0), clock=lambda: now[0])
    assert [quota.count("a").remaining for _ in range(5)] == [3, 2, 1, 0, 0]
    assert not quota.count("a").allowed
    assert quota.count("b").remaining == 9
    elsewhere.clear()
    now[0] = WINDOW_S
    assert quota.count("a").remaining == 9


def test_only_who_uses_much_is_told_and_only_so_many_are() -> None:
    now = [0.0]
    quota = RequestQuota(300, lambda _network: 0, clock=lambda: now[0])
    for _ in range(9):
        quota.count("modest")
    for number in range(MAX_TOLD + 10):
        for _ in range(10):
            quota.count(f"busy{number}")
    told = quota.told()
    assert "modest" not in told
    assert len(told) == MAX_TOLD
    assert (told["busy0"].used, told["busy0"].left_s) == (10, WINDOW_S)
    now[0] = WINDOW_S
    assert quota.told() == {}


def test_all_addresses_of_an_ipv6_site_share_one_window() -> None:
    quota = RequestQuota(2, lambda _network: 0)
    allowed = [quota.count(f"2001:db8:1:2::{number}").allowed for number in range(3)]
    assert allowed == [True, True, False]
