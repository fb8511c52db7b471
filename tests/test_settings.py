"""A wrong setting stops the start of every process with one sentence that names the variable."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from binance.settings import SettingsError, load_settings
from bus.settings import BusSettings
from server.settings import ReplicaSettings
from tests.support.processes import ROOT, free_port, tickcast, wait_until


@pytest.mark.parametrize(
    ("role", "variable", "value"),
    [
        ("run", "PORT", "eighty"),
        ("run", "EXCHANGE", "kraken"),
        ("replica", "UPDATE_INTERVAL", "0"),
        ("replica", "TRUSTED_PROXIES", "nginx"),
        ("replica", "BUS_URL", "amqp://localhost"),
        ("replica", "BUS_URL", "nats://localhost/4"),
        ("replica", "LOG_FORMAT", "xml"),
        ("ingestor", "DEFAULT_SYMBOLS", "BTC/USDT"),
        ("ingestor", "SYMBOLS_PER_WORKER", "many"),
        ("ingestor", "RECORD", "/dev/null/recordings"),
        ("run", "RECORD_MAX_BYTES", "1000"),
        ("replica", "VENUES", "bybit"),
        ("ingestor", "VENUES", "binance,kraken"),
        ("exchange", "SIM_SYMBOLS", "501"),
        ("exchange", "EXCHANGE", "replay:/no/such/file"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence(role: str, variable: str, value: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "app", role],
        env={**os.environ, variable: value},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert finished.returncode != 0
    assert variable in finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1, finished.stderr


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PORT", "abc", "PORT='abc' is not valid: must be a whole number"),
        ("PORT", "99999", "PORT='99999' is not valid: must be at most 65535"),
        ("UPDATE_INTERVAL", "1", "UPDATE_INTERVAL='1' is not valid: must be at least 50"),
        ("SLOW_CONSUMER_S", "0", "SLOW_CONSUMER_S='0' is not valid: must be more than 0"),
        ("FLUSH_INTERVAL_MS", "soon", "FLUSH_INTERVAL_MS='soon' is not valid: must be a number"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT='xml' is not valid: must be 'console' or 'json'"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL='loud' is not valid: must be 'debug', 'info', 'warning' or 'error'"),
        ("TRACE_SAMPLE", "2", "TRACE_SAMPLE='2' is not valid: must be at most 1"),
        ("EXCHANGE", "foo", "EXCHANGE='foo' is not valid: must be simulate, binance or replay:FILE"),
    ],
)
def test_the_sentence_says_in_plain_words_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(ReplicaSettings)
    assert str(caught.value) == sentence


def test_a_log_that_is_no_terminal_has_no_colours_and_a_taken_port_is_named(tmp_path: Path) -> None:
    port = free_port()
    with tickcast("exchange", port, tmp_path, {"SIM_SYMBOLS": "1"}) as first:
        wait_until(lambda: "exchange is open" in first.log.read_text(), "the log has a line")
        assert "\x1b" not in first.log.read_text()
        second = subprocess.run(
            [sys.executable, "-m", "app", "exchange"],
            env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert second.returncode != 0
    assert "the port is taken; PORT=... chooses another" in second.stderr
    assert str(port) in second.stderr


def test_a_wrong_bus_url_is_shown_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_URL", "redis://me:open-sesame@a:1,b:2")
    with pytest.raises(SettingsError, match=r"BUS_URL='redis://\.\.\.@a:1,b:2' is not valid: several hosts") as caught:
        load_settings(BusSettings)
    assert "sesame" not in str(caught.value)


def test_bybit_beside_a_recording_needs_somebody_to_play_it() -> None:
    def start(**env: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "from binance.settings import *; load_settings(ExchangeSettings)"],
            env={**os.environ, "EXCHANGE": "replay:/some/file", "VENUES": "binance,bybit", **env},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    assert "VENUES names bybit" in start().stderr
    assert start(BYBIT_URL="http://127.0.0.1:9100/bybit").returncode == 0
