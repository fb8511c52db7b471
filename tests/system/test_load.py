"""The Artillery file, as it ships, through Nginx and the whole cluster."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.system.cluster import Cluster


@pytest.mark.timeout(120)
def test_artillery_finishes_without_an_error(tmp_path: Path) -> None:
    with Cluster(tmp_path, env={"SIM_SYMBOLS": "8"}) as cluster:
        finished = subprocess.run(
            ["node_modules/.bin/artillery", "run", "--target", cluster.url, "loadtest/socketio.yml"],
            cwd=ROOT,
            env={**os.environ, "ARTILLERY_DISABLE_TELEMETRY": "true"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    assert finished.returncode == 0, finished.stdout[-3000:]
    assert "vusers.failed: " in finished.stdout
    assert "errors." not in finished.stdout
