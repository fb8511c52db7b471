"""Settings of access: what is wrong stops the start with a sentence, and shows no secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from binance.settings import SettingsError, load_settings
from bus import open_bus
from server.replica import Replica
from server.settings import ReplicaSettings
from tests.server.access.minting import SECRET
from tests.server.conftest import replica_settings
from tests.support.processes import ROOT, Process


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"AUTH": "maybe"}, "AUTH='maybe' is not valid: must be 'off', 'optional' or 'required'"),
        ({"AUTH": "required"}, "AUTH=required needs AUTH_JWT_SECRET, AUTH_JWKS or API_KEYS_FILE"),
        ({"AUTH_JWT_SECRET": "x" * 31}, "AUTH_JWT_SECRET must have at least 32 bytes"),
        ({"OPERATORS": "prometheus"}, "OPERATORS='prometheus' is not valid: "),
    ],
)
def test_what_cannot_be_right_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(ReplicaSettings)
    assert str(caught.value).startswith(sentence)
    assert settings.get("AUTH_JWT_SECRET", "?") not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("API_KEYS_FILE", None, "API_KEYS_FILE cannot be used: "),
        ("API_KEYS_FILE", "[[key]]\nname = 'desk'\n", "API_KEYS_FILE cannot be used: "),
        ("AUTH_JWKS", None, "AUTH_JWKS cannot be used: "),
        ("AUTH_JWKS", '{"keys": []}', "AUTH_JWKS cannot be used: "),
        ("AUTH_JWKS", "https://id.example:port/", "AUTH_JWKS cannot be used: "),
    ],
)
async def test_a_file_of_keys_that_is_no_good_stops_the_start(
    tmp_path: Path, exchange: Process, name: str, text: str | None, sentence: str
) -> None:
    path = tmp_path / "keys"
    value = text if text is not None and text.startswith("https:") else str(path)
    if text is not None:
        path.write_text(text)
    bus = open_bus("memory://no-good")
    with pytest.raises(SettingsError, match=sentence):
        await _start_and_close(Replica(replica_settings(exchange, auth="required", **{name.lower(): value}), bus))
    await bus.close()


async def _start_and_close(replica: Replica) -> None:
    try:
        await replica.start()
    finally:
        await replica.close()


def test_the_start_says_so_in_one_sentence() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "app", "replica"],
        env={**os.environ, "PORT": "0", "HOST": "127.0.0.1", "AUTH": "required", "API_KEYS_FILE": "/no/such/file"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Cannot start: API_KEYS_FILE cannot be used: "), finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1


def test_the_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_JWT_SECRET", SECRET)
    settings = load_settings(ReplicaSettings)
    assert settings.auth_jwt_secret.get_secret_value() == SECRET
    assert SECRET not in f"{settings!r} {settings}"


def test_operators_are_on_this_machine_unless_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(ReplicaSettings).operators == ("127.0.0.0/8", "::1")
    monkeypatch.setenv("OPERATORS", "10.0.0.0/8, ::1")
    assert load_settings(ReplicaSettings).operators == ("10.0.0.0/8", "::1")
