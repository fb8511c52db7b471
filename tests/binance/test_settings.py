import pytest

from binance.settings import SettingsError, UpstreamSettings, load_settings
from binance.upstream import LIFETIME_S


def test_connections_are_replaced_an_hour_before_the_exchange_closes_them() -> None:
    assert load_settings(UpstreamSettings).connection_lifetime_s == LIFETIME_S == 23 * 3600


@pytest.mark.parametrize("value", ["0", "soon"])
def test_a_wrong_lifetime_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CONNECTION_LIFETIME_S", value)
    with pytest.raises(SettingsError, match="CONNECTION_LIFETIME_S"):
        load_settings(UpstreamSettings)
