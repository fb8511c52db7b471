"""A rolling restart of a whole cluster under clients, as `python -m loadtest.rolling` does it with 2,000 of them."""

import re
import sys

import pytest

from tests.support.processes import run_to_end


@pytest.mark.long
@pytest.mark.timeout(240)
def test_no_client_of_a_rolling_restart_fails_to_subscribe_or_misses_or_doubles_a_message() -> None:
    # So short a drain is a burst: the planning of it is tested in tests/server/test_drain.py.
    load = {"CLIENTS": "120", "STOCK": "9", "DRAIN_SECONDS": "2", "MAX_BURST_PERCENT": "100"}
    finished = run_to_end([sys.executable, "-m", "loadtest.rolling"], load, 180)
    said = finished.stdout + finished.stderr
    assert finished.returncode == 0, said
    restarted = re.findall(r"^(\w+): ready after", said, re.MULTILINE)
    assert restarted == ["app1", "app2", "ingestor1", "ingestor2"]
    last = finished.stdout.splitlines()[-1]
    assert re.match(
        r"ROLLING clients=129 returned=\d+ failed_connects=0 failed_subscribes=0 lost=0 doubled=0 ",
        last,
    ), said
    figures = {
        name: dict(re.findall(r"(\w+)=([\d.]+)", line))
        for name, line in re.findall(r"^(lean|stock): (.*)", said, re.MULTILINE)
    }
    for name, count in (("lean", 120), ("stock", 9)):
        # Each client is at a replica that ends at least once, and is told before.
        assert int(figures[name]["returns"]) >= count
        assert figures[name]["told"] == figures[name]["cuts"] == figures[name]["returns"]
        assert int(figures[name]["received"]) > count
