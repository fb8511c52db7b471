"""Every setting of every process refuses what it cannot mean, in one sentence that names the variable."""

import math
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Union, get_args, get_origin

import annotated_types
import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from binance.settings import SettingsError, load_settings
from deploy.cluster import ClusterSettings
from deploy.rolling import RollingSettings
from exchange.settings import ExchangeServerSettings
from ingestor.settings import IngestorSettings
from loadtest.kit.__main__ import LoadTestSettings
from loadtest.rolling.__main__ import RollingLoad
from server.settings import ReplicaSettings
from tests.support.processes import ROOT

PROCESSES = (
    ReplicaSettings,
    IngestorSettings,
    ExchangeServerSettings,
    ClusterSettings,
    RollingSettings,
    RollingLoad,
    LoadTestSettings,
)


class Wrong(NamedTuple):
    """One value that one setting must refuse."""

    settings: type[BaseSettings]
    variable: str
    value: str


def without_none(annotation: object) -> object:
    """The type of a setting that may be left out."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = [each for each in get_args(annotation) if each is not type(None)]
    return annotation


def wrong_values(field: FieldInfo) -> Iterator[str]:
    """Values that a setting cannot mean: by its type, and by its bounds."""
    kind = without_none(field.annotation)
    if kind in (int, float, bool) or get_origin(kind) is Literal:
        yield "nonsense"
    step = 1 if kind is int else 0.001
    for bound in field.metadata:
        match bound:
            case annotated_types.Ge(ge=limit):
                yield f"{limit - step:g}"  # type: ignore[operator] # a number
            case annotated_types.Le(le=limit):
                yield f"{limit + step:.3f}" if kind is float else f"{limit + step}"  # type: ignore[operator] # same
            case annotated_types.Gt(gt=limit):
                yield f"{limit}"
    if kind is float:
        yield f"{math.nan}"


EVERY = [
    Wrong(settings, name.upper(), value)
    for settings in PROCESSES
    for name, field in settings.model_fields.items()
    for value in wrong_values(field)
]
CHOSEN = [
    Wrong(ReplicaSettings, "EXCHANGE_URL", "localhost:9100"),
    Wrong(ReplicaSettings, "EXCHANGE_URL", "ftp://localhost"),
    Wrong(IngestorSettings, "BYBIT_URL", "bybit"),
    Wrong(ReplicaSettings, "BUS_URL", "localhost:6379"),
    Wrong(ReplicaSettings, "VENUES", "kraken"),
    Wrong(ReplicaSettings, "EXCHANGE", "replay"),
    Wrong(ReplicaSettings, "DEFAULT_SYMBOLS", "BTC/USDT"),
    Wrong(ReplicaSettings, "TRUSTED_PROXIES", "nginx"),
    Wrong(ReplicaSettings, "CORS_ORIGINS", "example.com"),
    Wrong(ReplicaSettings, "CORS_ORIGINS", "https://example.com/path"),
    Wrong(ClusterSettings, "NGINX_TLS_CERT", "/no/such/file.pem"),
    Wrong(ClusterSettings, "NGINX_TLS_KEY", str(Path(__file__))),
    Wrong(LoadTestSettings, "SCENARIO", "hurricane"),
    Wrong(LoadTestSettings, "URL", "localhost:8080"),
]


def test_there_are_settings_of_every_process_among_them() -> None:
    assert {wrong.settings for wrong in EVERY} == set(PROCESSES)


@pytest.mark.parametrize("wrong", EVERY + CHOSEN, ids=lambda wrong: f"{wrong.variable}={wrong.value}")
def test_a_value_that_a_setting_cannot_mean_is_refused_in_one_sentence(
    wrong: Wrong, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(wrong.variable, wrong.value)
    with pytest.raises(SettingsError) as refused:
        load_settings(wrong.settings)
    assert wrong.variable in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "https://example.com,http://localhost:3000"),
        ("EXCHANGE_URL", "https://exchange.example:9100/base"),
    ],
)
def test_what_a_setting_can_mean_is_taken(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    load_settings(ReplicaSettings)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.1"])
def test_an_address_that_is_not_this_machine_s_stops_the_start_with_one_sentence(host: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "app", "replica"],
        env={**os.environ, "HOST": host, "PORT": "0"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert len(finished.stderr.strip().splitlines()) == 1, finished.stderr
    assert finished.stderr.startswith("Cannot start: ")
    assert "HOST" in finished.stderr
