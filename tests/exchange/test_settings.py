import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from binance.settings import SettingsError, load_settings
from exchange.settings import ExchangeServerSettings
from tests.support.processes import ROOT, Process, free_port, wait_until


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_SYMBOLS", "7")
    monkeypatch.setenv("SIM_TRADES_PER_SECOND", "0.5")
    monkeypatch.setenv("PORT", "0")
    settings = load_settings(ExchangeServerSettings)
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
        load_settings(ExchangeServerSettings)


def test_a_recording_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.touch()
    assert ExchangeServerSettings.model_validate({"exchange": f"replay:{path}"}).recording == path


def test_a_taken_port_and_an_empty_recording_end_the_start_with_one_sentence(tmp_path: Path) -> None:
    empty = tmp_path / "plain.txt"
    empty.write_text("no recording")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for environment, text in (
            ({"PORT": port}, "Cannot start: "),
            ({"EXCHANGE": f"replay:{empty}"}, "Cannot start: EXCHANGE names a file"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "app", "exchange"],
                cwd=ROOT,
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            assert done.returncode == 1
            assert done.stderr.startswith(text)
            assert done.stderr.count("\n") == 1


def test_the_process_serves_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "app", "exchange"]
    log = tmp_path / "exchange.log"
    with Process(command, port, log, {"PORT": str(port), "SIM_SYMBOLS": "2"}) as process:
        os.kill(process.pid, signal.SIGTERM)
        child = process._child
        assert child is not None
        wait_until(lambda: child.poll() is not None, "the process ends")
        assert child.returncode == 0
    assert "Traceback" not in log.read_text()
