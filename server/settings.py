"""The settings of a replica, read once from the environment."""

import socket
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from binance.settings import ExchangeSettings
from bus.settings import BusSettings

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "ADAUSDT")
"""Document 002's default symbols."""


class ReplicaSettings(BusSettings, ExchangeSettings):
    """One replica; the README has the table."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104 # a server in a container
    port: int = Field(8080, ge=0, le=65_535, description="port to listen on (0 = any free one)")
    replica: str = Field("", description="name of the replica; default: host name and port")
    default_symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        DEFAULT_SYMBOLS, description="spot symbols whose ticker is always wanted, separated by commas"
    )
    update_interval: int = Field(500, ge=50, le=60_000, description="ms between document 003's ticks")
    flush_interval_ms: float = Field(0.0, ge=0, le=1000, description="ms to collect messages before a write (0 = none)")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="other origins whose pages may connect, separated by commas; `*` = all"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="addresses or networks of proxies whose X-Real-IP is believed, separated by commas"
    )
    log_format: Literal["console", "json"] = Field("console", description="`console` for people, `json` for machines")

    @field_validator("default_symbols", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def name(self) -> str:
        """The replica's name."""
        return self.replica or f"{socket.gethostname()}:{self.port}"
