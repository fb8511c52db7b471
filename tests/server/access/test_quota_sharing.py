"""What replicas count together, and what each does while it cannot."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest

from bus import open_bus
from bus.base import Bus
from market.announcements import QUOTA_TOPIC
from server.access import elsewhere as elsewhere_module
from server.access.elsewhere import MAX_TOLD
from server.access.over_quota import OverQuotaError, Reason
from server.access.quota_settings import QuotaSettings
from server.access.quotas import Quotas
from server.access.visitors import Grant, Visitor
from server.replica import Replica
from tests.server.conftest import replica_settings, until
from tests.support.processes import Process, free_port

_numbers = itertools.count()
ALICE = Visitor("192.0.2.1", Grant(subject="alice", max_connections=3))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere_module, "TELL_EVERY_S", 0.05)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Quotas, Quotas]]:
    """The quotas of two replicas on one bus."""
    url = f"memory://quotas-{next(_numbers)}"
    buses = [open_bus(url), open_bus(url)]
    quotas = [Quotas(QuotaSettings(), bus, f"r{number}") for number, bus in enumerate(buses)]
    for bus, own in zip(buses, quotas, strict=True):
        await bus.start()
        own.start()
    yield quotas[0], quotas[1]
    for bus, own in zip(buses, quotas, strict=True):
        await own.close()
        await bus.close()


async def test_rest_requests_of_an_address_count_at_all_replicas_together(exchange: Process) -> None:
    bus_url = f"memory://quotas-{next(_numbers)}"
    buses = [open_bus(bus_url), open_bus(bus_url)]
    replicas = [
        Replica(replica_settings(exchange, replica=f"r{number}", requests_per_minute=30), bus)
        for number, bus in enumerate(buses)
    ]
    for bus in buses:
        await bus.start()
    first, second = [f"http://127.0.0.1:{await replica.start()}/symbols" for replica in replicas]
    async with aiohttp.ClientSession() as http:
        for _ in range(20):
            async with http.get(first) as answer:
                assert answer.status == 200

        async def is_known_there() -> bool:
            async with http.get(second) as answer:
                return int(answer.headers["X-RateLimit-Remaining"]) < 10

        await until(is_known_there, "the second replica knows of the first's requests")

        async def is_refused_there() -> bool:
            async with http.get(second) as answer:
                return answer.status == 429

        await until(is_refused_there, "together they are too many")
    for replica, bus in zip(replicas, buses, strict=True):
        await replica.close()
        await bus.close()


async def test_the_connections_of_a_subject_count_at_all_replicas_together(pair: tuple[Quotas, Quotas]) -> None:
    here, there = pair
    stays = [here.enter(ALICE), here.enter(ALICE)]
    there.enter(ALICE)
    await until(lambda: _is_full(there), "the other replica knows of two, and has one")
    with pytest.raises(OverQuotaError) as refused:
        there.check(Visitor("198.51.100.1", ALICE.grant))
    assert refused.value.reason is Reason.SUBJECT_CONNECTIONS
    there.check(Visitor("192.0.2.1", Grant(subject="bob", max_connections=1)))
    for stay in stays:
        stay.leave()
        stay.leave()
    await until(lambda: not _is_full(there), "two have left")


def _is_full(quotas: Quotas) -> bool:
    try:
        quotas.check(ALICE)
    except OverQuotaError:
        return True
    return False


async def test_a_grant_s_own_limits_hold_for_its_connection(pair: tuple[Quotas, Quotas]) -> None:
    stay = pair[0].enter(Visitor("192.0.2.1", Grant(max_streams=2, commands_per_second=0.1)))
    stay.hold(2)
    with pytest.raises(OverQuotaError, match="At most 2 streams a client"):
        stay.hold(3)
    stay.command(1)
    stay.command(1)
    assert stay.refusal().retry_after_s >= 10


async def test_announcements_that_are_none_or_too_long_are_counted_and_ignored(pair: tuple[Quotas, Quotas]) -> None:
    url = f"memory://quotas-{next(_numbers) - 1}"
    impostor = open_bus(url)
    await impostor.start()
    many = {f"192.0.2.{number}": [1000, 60] for number in range(MAX_TOLD + 1)}
    for body in (b"x", b"{}", msgspec.json.encode({"replica": "x", "requests": many, "connections": {}})):
        await impostor.announce(QUOTA_TOPIC, body)
    await until(lambda: pair[0].malformed_total == 3, "three of them")
    assert pair[0].count_request("192.0.2.1").allowed
    await impostor.close()


@pytest.fixture
async def lost_bus() -> AsyncIterator[Bus]:
    bus = open_bus(f"redis://127.0.0.1:{free_port()}/0", "r1")
    yield bus
    await bus.close()


@pytest.mark.parametrize(("choice", "is_open"), [("open", True), ("closed", False)])
async def test_without_the_bus_each_replica_counts_alone_or_refuses_as_it_is_told(
    lost_bus: Bus,
    choice: Any,
    is_open: bool,  # noqa: FBT001 # a column
) -> None:
    quotas = Quotas(QuotaSettings(quotas_without_bus=choice), lost_bus, "r1")
    outcomes = []
    for ask in (lambda: quotas.count_request("192.0.2.1"), lambda: quotas.check(ALICE)):
        try:
            ask()
            outcomes.append("let through")
        except OverQuotaError as error:
            outcomes.append(error.code.value)
    assert outcomes == (["let through"] * 2 if is_open else ["unavailable"] * 2)
    quotas.check(Visitor("192.0.2.1"))  # what each replica counts by itself needs no bus
