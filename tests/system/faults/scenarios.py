"""The faults: what dies, falls silent or refuses, and what of it may cost anybody a message."""

import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import kill
from typing import Final

from redis.crc import key_slot

from market.streams import StreamName
from tests.bus.redis_cluster import SLOTS
from tests.support.processes import wait_until
from tests.system.faults.clients import STREAMS, TRADES, SocketIoListener
from tests.system.faults.ground import INGESTORS, Fault, Ground

DEPTH: Final = frozenset({"spot:btcusdt@depth@100ms"})
"""Binance's REST API has trades and candles of the past, but no changes of a book."""
ANYTHING: Final = frozenset(STREAMS)
"""Nor is there anybody who could ask for them in time."""
SKEW_S: Final = 3_600
_SKEWED: Final = """
import runpy, sys, time
shift, now, now_ns = float(sys.argv.pop(1)), time.time, time.time_ns
time.time = lambda: now() + shift
time.time_ns = lambda: now_ns() + int(shift * 1e9)
sys.argv[0] = "app"
runpy.run_module("app", run_name="__main__")
"""
"""Our own process with another wall clock."""


def _kill_either(ground: Ground, seconds: float) -> None:
    for name in INGESTORS:
        ground.kill(name)
        time.sleep(seconds)
        ground.start(name)
        ground.recover()


def _kill_both(ground: Ground, seconds: float) -> None:
    for name in INGESTORS:
        ground.kill(name)
    time.sleep(seconds)
    with ThreadPoolExecutor() as starting:
        for started in [starting.submit(ground.start, name) for name in INGESTORS]:
            started.result()


def _freeze_ingestor(ground: Ground, seconds: float) -> None:
    _freeze(ground, INGESTORS[0], seconds)


def _restart_bus(ground: Ground, seconds: float) -> None:
    ground.kill(ground.cluster.bus)
    time.sleep(seconds)
    ground.start(ground.cluster.bus)


def _freeze_bus(ground: Ground, seconds: float) -> None:
    _freeze(ground, ground.cluster.bus, seconds)


def _drop(ground: Ground, seconds: float) -> None:
    ground.cluster.control("drop", {})
    time.sleep(seconds)


def _silence(ground: Ground, seconds: float) -> None:
    ground.cluster.control("silence", {"streams": "*", "seconds": seconds})
    time.sleep(seconds)


def _stall(ground: Ground, seconds: float) -> None:
    ground.cluster.control("stall", {"seconds": seconds})
    time.sleep(seconds)


def _shutdown(ground: Ground, seconds: float) -> None:
    before = ground.handovers("shutdown")
    ground.cluster.control("shutdown", {"delay_s": seconds})
    wait_until(lambda: ground.handovers("shutdown") > before, "successors take over", timeout_s=seconds + 20)
    time.sleep(seconds)


def _rotate(ground: Ground, seconds: float) -> None:
    """Watch connections being replaced for their age (`CONNECTION_LIFETIME_S`)."""
    before = ground.handovers("age")
    time.sleep(seconds)
    wait_until(lambda: ground.handovers("age") > before, "a connection is replaced", timeout_s=60)


def _refuse_successors(ground: Ground, seconds: float) -> None:
    """Connections are to be replaced while the exchange takes no new ones."""
    _refuse(ground, seconds)
    ground.cluster.control("shutdown", {"delay_s": seconds + 12})
    before = ground.handovers("shutdown")
    wait_until(lambda: ground.handovers("shutdown") > before, "successors take over", timeout_s=seconds + 30)


def _refuse_all(ground: Ground, seconds: float) -> None:
    """Connections are lost while the exchange takes no new ones."""
    _refuse(ground, seconds)
    ground.cluster.control("drop", {})
    time.sleep(seconds)


def _skew(ground: Ground, seconds: float) -> None:
    """One ingestor's clock is an hour ahead, then an hour behind."""
    for shift_s in (SKEW_S, -SKEW_S):
        with _skewed(ground, shift_s):
            time.sleep(seconds)


@contextmanager
def _skewed(ground: Ground, shift_s: float) -> Iterator[None]:
    """The second ingestor is another process meanwhile, whose clock is `shift_s` ahead."""
    process = ground.cluster.processes[INGESTORS[1]]
    true = process.command
    for command in ([sys.executable, "-c", _SKEWED, str(shift_s), *true[3:]], true):
        process.stop()
        process.command = command
        process.start()
        ground.recover()
        if command is not true:
            yield


def _kill_replica(ground: Ground, seconds: float) -> None:
    """Clients of one replica go on with the other one."""
    replica = next(client.replica for client in ground.clients if isinstance(client, SocketIoListener))
    ground.kill(replica)
    time.sleep(seconds)
    ground.start(replica)


def _lose_node(ground: Ground, seconds: float) -> None:
    """The node of a Redis Cluster that has the trades is away for a while."""
    node = ground.nodes[key_slot(StreamName.parse(TRADES).channel.encode()) * len(ground.nodes) // SLOTS]
    node.kill()
    time.sleep(seconds)
    node.start()


def _kill_replica_with_skew(ground: Ground, seconds: float) -> None:
    with _skewed(ground, SKEW_S):
        time.sleep(seconds)
        _kill_replica(ground, seconds)


def _refuse(ground: Ground, seconds: float) -> None:
    for door in ("websocket", "rest"):
        ground.cluster.control("refuse", {"status": 429, "door": door, "retry_after": 1, "seconds": seconds})


def _freeze(ground: Ground, name: str, seconds: float) -> None:
    """Stop a process without ending it: its connections stay, and nothing moves."""
    pid = ground.cluster.processes[name].pid
    kill(pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        kill(pid, signal.SIGCONT)


INGESTORS_KILLED: Final = Fault("either ingestor killed, in turn", _kill_either)
BOTH_KILLED: Final = Fault("both ingestors killed at once", _kill_both, ANYTHING)
INGESTOR_FROZEN: Final = Fault("an ingestor frozen", _freeze_ingestor)
BUS_RESTARTED: Final = Fault("the bus killed and restarted", _restart_bus)
BUS_FROZEN: Final = Fault("the bus frozen", _freeze_bus)
DROPPED: Final = Fault("the exchange drops all connections", _drop, DEPTH)
SILENT: Final = Fault("the exchange says nothing", _silence, DEPTH)
STALLED: Final = Fault("the exchange's connections half open", _stall, DEPTH)
NODE_LOST: Final = Fault("a node of the Redis Cluster lost", _lose_node)
SHUT_DOWN: Final = Fault("serverShutdown", _shutdown)
ROTATED: Final = Fault("connections replaced for their age", _rotate)
REFUSED: Final = Fault("429 to handshakes and REST, then lost", _refuse_all, ANYTHING)
SUCCESSORS_REFUSED: Final = Fault("429 to handshakes during serverShutdown", _refuse_successors)
REPLICA_KILLED: Final = Fault("a replica killed", _kill_replica, cuts_clients=True)
CLOCKS_APART: Final = Fault("an ingestor's clock an hour off", _skew)
CLOCKS_APART_AND_REPLICA_KILLED: Final = Fault(
    "the same, and a replica killed", _kill_replica_with_skew, cuts_clients=True
)

ON_REDIS: Final = (
    INGESTORS_KILLED,
    BOTH_KILLED,
    INGESTOR_FROZEN,
    BUS_RESTARTED,
    BUS_FROZEN,
    DROPPED,
    SILENT,
    STALLED,
    SHUT_DOWN,
    REFUSED,
    SUCCESSORS_REFUSED,
    REPLICA_KILLED,
    CLOCKS_APART,
    CLOCKS_APART_AND_REPLICA_KILLED,
)
"""What one cluster undergoes in a row."""
ON_NATS: Final = (INGESTORS_KILLED, BOTH_KILLED, BUS_RESTARTED, BUS_FROZEN)
