import pytest
from pydantic import ValidationError

from binance.settings import load_settings
from ingestor.settings import IngestorSettings


def test_defaults_are_those_of_the_seed_documents() -> None:
    settings = IngestorSettings.model_validate({})
    assert settings.default_symbols == ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "ADAUSDT")
    assert settings.symbols_per_worker == 100
    assert settings.instance


def test_symbols_are_read_from_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEFAULT_SYMBOLS", "btcusdt, ethusdt,")
    assert IngestorSettings.model_validate({}).default_symbols == ("BTCUSDT", "ETHUSDT")


@pytest.mark.parametrize(
    ("name", "value"), [("DEFAULT_SYMBOLS", "BTC/USDT"), ("SYMBOLS_PER_WORKER", "0"), ("SYMBOLS_PER_WORKER", "many")]
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        IngestorSettings.model_validate({})
    assert caught.value.errors()[0]["loc"][0] == name.lower()


@pytest.mark.parametrize(
    ("environment", "copies"),
    [
        ({}, 1),
        ({"BUS_URL": "redis://somewhere"}, 2),
        ({"REDIS_HOST": "somewhere"}, 2),
        ({"BUS_URL": "nats://somewhere"}, 2),
        ({"BUS_URL": "redis://somewhere", "FEED_COPIES": "1"}, 1),
        ({"FEED_COPIES": "3"}, 3),
    ],
)
def test_a_symbol_is_carried_twice_wherever_another_ingestor_can_be(
    environment: dict[str, str], copies: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert load_settings(IngestorSettings).copies == copies
