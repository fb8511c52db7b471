"""Which exchange is behind a process, and where: the settings that ingestor, replica and exchange share."""

from typing import NamedTuple

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from market.announcements import Source


class Endpoints(NamedTuple):
    """Base URLs of one exchange, without a trailing slash; futures routes are added by binance/routes.py."""

    spot_ws: str
    futures_ws: str
    spot_rest: str
    futures_rest: str


BINANCE = Endpoints(
    spot_ws="wss://stream.binance.com:9443",
    futures_ws="wss://fstream.binance.com",
    spot_rest="https://api.binance.com",
    futures_rest="https://fapi.binance.com",
)


def stand_in(url: str) -> Endpoints:
    """The endpoints of an exchange stand-in whose one base URL is `url` (`http://127.0.0.1:9000`)."""
    base = url.rstrip("/")
    sockets = base.replace("http", "ws", 1)
    return Endpoints(sockets, sockets, base, base)


class ExchangeSettings(BaseSettings):
    """`EXCHANGE` says what plays Binance, `EXCHANGE_URL` where a stand-in listens."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    exchange: str = Field("simulate", description="`simulate`, `binance`, or `replay:FILE` for a recording")
    exchange_url: str = Field("http://127.0.0.1:9100", description="where the stand-in listens (unused with `binance`)")

    @field_validator("exchange")
    @classmethod
    def _known_exchange(cls, value: str) -> str:
        if value in ("simulate", "binance") or value.startswith("replay:"):
            return value
        raise ValueError("must be simulate, binance or replay:FILE")

    @property
    def source(self) -> Source:
        """What clients are told of the data's origin."""
        if self.exchange == "binance":
            return Source.BINANCE
        return Source.SIMULATED if self.exchange == "simulate" else Source.REPLAY

    @property
    def endpoints(self) -> Endpoints:
        """Where to connect."""
        return BINANCE if self.exchange == "binance" else stand_in(self.exchange_url)
