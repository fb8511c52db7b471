"""What the memory bus does beyond the contract: its broker, its values, what it leaves out."""

import gc
import subprocess
import sys

from bus import open_bus
from bus.base import VALUE_TTL_S
from bus.counters import Counters
from bus.memory import MemoryBroker, MemoryBus, Values, shared_broker
from tests.bus.support import BTC, Inbox, message


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_value_lives_for_its_time_and_no_longer() -> None:
    clock = Clock()
    values = Values(clock)
    values.put({"a": b"1"})
    clock.now += VALUE_TTL_S - 0.001
    assert values.get("a") == b"1"
    clock.now += 0.001
    assert values.get("a") is None


def test_a_renewed_value_lives_on() -> None:
    clock = Clock()
    values = Values(clock)
    values.put({"a": b"1", "b": b"1"})
    clock.now += VALUE_TTL_S - 1
    values.put({"a": b"2"})
    clock.now += 2
    assert values.get("a") == b"2"
    assert values.get("b") is None


def test_expired_values_are_freed_by_the_next_put_and_are_no_evictions() -> None:
    clock = Clock()
    values = Values(clock)
    values.put({"a": b"1", "b": b"1"})
    clock.now += VALUE_TTL_S
    values.put({"c": b"1"})
    assert len(values) == 1
    assert values.evicted_total == 0


def test_past_the_limit_the_oldest_values_go_and_are_counted() -> None:
    values = Values(Clock(), limit=3)
    values.put({"a": b"1", "b": b"1", "c": b"1"})
    values.put({"a": b"2"})
    values.put({"d": b"1", "e": b"1"})
    assert [values.get(key) for key in "abcde"] == [b"2", None, None, b"1", b"1"]
    assert values.evicted_total == 2


def test_values_of_different_lives_expire_each_in_its_time() -> None:
    clock = Clock()
    values = Values(clock)
    values.put({"long": b"1"}, ttl_s=100)
    values.put({"short": b"1"}, ttl_s=10)
    clock.now += 10
    assert (values.get("long"), values.get("short")) == (b"1", None)
    values.put({"long": b"2"}, ttl_s=1)
    clock.now += 1
    assert values.get("long") is None


def test_past_the_bytes_the_values_that_would_expire_next_go() -> None:
    values = Values(Clock(), limit_bytes=100)
    values.put({"long": bytes(40)}, ttl_s=100)
    values.put({"short": bytes(40)}, ttl_s=10)
    values.put({"short": bytes(60)}, ttl_s=10)
    assert values.evicted_total == 0
    values.put({"new": bytes(60)}, ttl_s=50)
    assert (values.get("long"), values.get("short"), values.get("new")) == (bytes(40), None, bytes(60))
    assert values.evicted_total == 1


def test_values_renewed_for_ever_leave_no_trail() -> None:
    values = Values(Clock())
    values.put({"first": b"1"})
    for _ in range(10_000):
        values.put({"a": b"1"})
    assert len(values) == 2
    assert len(values._deadlines) < 2_000


def test_totals_are_bounded_and_a_new_one_waits_for_one_that_ends() -> None:
    clock = Clock()
    counters = Counters(clock, limit=2)
    assert counters.spend("a", 1, 10, ttl_s=10) == 1
    assert counters.spend("b", 1, 10, ttl_s=20) == 1
    assert counters.spend("c", 1, 10, ttl_s=10) is None
    assert counters.spend("a", 1, 10, ttl_s=10) == 2
    clock.now += 10
    assert counters.spend("c", 1, 10, ttl_s=10) == 1
    assert counters.spend("b", 1, 10, ttl_s=10) == 2
    assert len(counters) == 2


async def test_ends_of_one_url_meet_and_ends_of_others_do_not() -> None:
    near, far = Inbox(), Inbox()
    sender, receiver, stranger = open_bus("memory://here"), open_bus("memory://here"), open_bus("memory://there")
    receiver.on_messages(near.take)
    stranger.on_messages(far.take)
    for end in (sender, receiver, stranger):
        await end.start()
        await end.subscribe([BTC])
    await sender.publish([message()])
    assert near.messages == [message()]
    assert far.messages == []
    for end in (sender, receiver, stranger):
        await end.close()


async def test_a_broker_is_forgotten_with_its_last_end() -> None:
    end = open_bus("memory://passing")
    await end.start()
    await end.put({"a": b"1"})
    await end.close()
    del end
    gc.collect()
    assert len(shared_broker("memory://passing").values) == 0


async def test_a_closed_end_leaves_nothing_in_the_broker() -> None:
    broker = MemoryBroker()
    end = MemoryBus(broker)
    end.listen("demand", lambda _body: None)
    await end.subscribe([BTC])
    await end.start()
    assert broker.listeners("demand") == [end]
    assert broker.batches([message()]) == {end: [message()]}
    await end.close()
    assert broker.listeners("demand") == []
    assert broker.batches([message()]) == {}


async def test_messages_arrive_as_the_objects_that_were_published() -> None:
    inbox = Inbox()
    end = MemoryBus()
    end.on_messages(inbox.take)
    await end.start()
    await end.subscribe([BTC])
    sent = message()
    await end.publish([sent])
    assert inbox.messages[0] is sent
    await end.close()


def test_the_memory_bus_needs_no_redis_client() -> None:
    code = "import sys; from bus import open_bus; open_bus('memory://'); sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
