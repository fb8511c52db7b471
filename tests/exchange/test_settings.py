import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from exchange.settings import ExchangeServerSettings, SettingsError, load_settings
from tests.support.processes import ROOT, Process, free_port, wait_until


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_SYMBOLS", "7")
    monkeypatch.setenv("SIM_TRADES_PER_SECOND", "0.5")
    monkeypatch.setenv("PORT", "0")
    settings = load_settings()
    assert (settings.sim_symbols, settings.sim_trades_per_second, settings.port) == (7, 0.5, 0)
    assert settings.recording is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIM_SYMBOLS", "501"),
        ("SIM_SYMBOLS", "many"),
        ("SIM_TRADES_PER_SECOND", "0"),
        ("PORT", "70000"),
        ("REPLAY_SPEED", "-1"),
        ("EXCHANGE", "kraken"),
        ("EXCHANGE", "binance"),
        ("EXCHANGE", "replay:/nowhere/at/all.gz"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}"):
        load_settings()


def test_a_recording_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.touch()
    assert ExchangeServerSettings.model_validate({"exchange": f"replay:{path}"}).recording == path


def test_a_start_with_a_wrong_setting_ends_with_one_sentence() -> None:
    command = [sys.executable, "-m", "exchange", "serve"]
    environment = {**os.environ, "SIM_SYMBOLS": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("SIM_SYMBOLS: ")
    assert done.stderr.count("\n") == 1


def test_the_process_serves_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "exchange", "serve"]
    log = tmp_path / "exchange.log"
    with Process(command, port, log, {"PORT": str(port), "SIM_SYMBOLS": "2"}) as process:
        os.kill(process.pid, signal.SIGTERM)
        child = process._child
        assert child is not None
        wait_until(lambda: child.poll() is not None, "the process ends")
        assert child.returncode == 0
    assert "Traceback" not in log.read_text()
