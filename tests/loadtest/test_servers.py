"""Every server on a stage of its own with five clients: what is published arrives, at each of them, once."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from loadtest.bench import stage as stages
from loadtest.bench.frames import Parser
from loadtest.bench.metronome import Pace
from loadtest.bench.processes import ROOT, BenchError
from loadtest.bench.servers import CONTESTANTS, NODE, TICKCAST, Contestant, Launch
from loadtest.bench.stage import SLOW, Ground, Setup, Stage

pytestmark = pytest.mark.long
CLIENTS = 5
QUIET_S = 0.5
BY_NAME = {contestant.name: contestant for contestant in CONTESTANTS}


def deliver(stage: Stage, updates: int) -> int:
    """Publish so many updates; how many messages arrive before a while brings none."""
    stage._children["publisher"].tell(b"%d\n" % updates)
    total, quiet_since = 0, time.monotonic()
    while time.monotonic() - quiet_since < QUIET_S:
        if more := stage._children["receiver"].ask("take")["messages"]:
            total, quiet_since = total + more, time.monotonic()
        time.sleep(0.02)
    return total


@pytest.mark.parametrize("contestant", CONTESTANTS, ids=lambda contestant: contestant.name)
def test_a_server_delivers_every_update_to_every_client_once(ground: Ground, contestant: Contestant) -> None:
    with Stage(ground, contestant, Setup()) as stage:
        stage.connect(CLIENTS)
        sample = stage.measure(Pace(50), 0.5)
        assert sample.delivered > 0
        assert sample.lost_clients == 0
        assert sample.rss_mb > 10
        deliver(stage, 0)
        assert deliver(stage, 20) == 20 * CLIENTS


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        (TICKCAST, Setup(polling=True)),
        (NODE, Setup(polling=True)),
        (TICKCAST, Setup(through_nginx=True)),
        (NODE, Setup(parser=Parser.MSGPACK)),
    ],
)
def test_other_ways_to_a_server_deliver_the_same(ground: Ground, name: str, setup: Setup) -> None:
    with Stage(ground, BY_NAME[name], setup) as stage:
        stage.connect(CLIENTS)
        assert deliver(stage, 20) == 20 * CLIENTS


def test_frozen_clients_stay_connected_and_are_not_measured(ground: Ground) -> None:
    with Stage(ground, BY_NAME[NODE], Setup()) as stage:
        stage.connect(CLIENTS)
        stage.connect(2, SLOW)
        stage.freeze_slow()
        assert deliver(stage, 20) == 20 * CLIENTS


def test_connecting_is_charged_to_the_server(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "IDLE_SETTLE_S", 0.1)
    with Stage(ground, BY_NAME[NODE], Setup(streams=1)) as stage:
        stage.connect(CLIENTS)
        cost = stage.connect_idle(100, 2)
    assert cost.clients == 200
    assert list(cost.memory_bytes) == [0, 100, 200]
    assert cost.cpu.total_s > 0
    assert cost.connects_per_s > 0


def test_a_server_that_does_not_start_is_an_error_that_says_why(ground: Ground) -> None:
    broken = BY_NAME[NODE]._replace(launch=lambda *_: Launch(("node", "-e", "throw new Error('broken')"), {}))
    with pytest.raises(BenchError, match="server ended at once"), Stage(ground, broken, Setup()):
        pass


def test_ctrl_c_ends_everything_that_was_started() -> None:
    command = [sys.executable, "-m", "loadtest.bench"]
    with subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "QUICK": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as bench:
        parent = psutil.Process(bench.pid)
        deadline = time.monotonic() + 30
        while len(children := parent.children(recursive=True)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(children) >= 2
        bench.send_signal(signal.SIGINT)
        _, errors = bench.communicate(timeout=20)
    assert bench.returncode == 130, errors
    assert b"Ended early" in errors
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
