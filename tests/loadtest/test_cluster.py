"""How the kit's commands end, and the ports of the clusters that they start."""

import signal
import sys
from pathlib import Path

import pytest

from loadtest.cluster import settings
from tests.support.processes import run_to_end

WORK = """
import asyncio, os, sys
from loadtest.cluster import until_told

async def press():
    os.kill(os.getpid(), int(sys.argv[1]))
    for _ in range(10):
        await asyncio.sleep(0)  # the loop looks for signals each time

async def work():
    try:
        await press()
        print("not told")
    finally:
        await press()
        print("ended")

try:
    asyncio.run(until_told(work()))
except asyncio.CancelledError:
    print("told")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_interrupt_the_end_of_what_was_started(number: signal.Signals) -> None:
    ended = run_to_end([sys.executable, "-c", WORK, str(int(number))], {}, limit_s=30)
    assert ended.stdout == "ended\ntold\n", ended.stderr


def test_a_cluster_s_ports_lie_below_those_that_outgoing_connections_are_given() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = []
    for _ in range(20):
        env = settings()
        ports += [int(env["PORT"]), int(env["REPLICA_PORT"]), int(env["REPLICA_PORT"]) + 1]
    assert max(ports) < first
    assert len(set(ports)) == len(ports), "another one each time: nobody listens there yet"
