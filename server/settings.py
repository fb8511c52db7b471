"""The settings of a replica, read once from the environment."""

import socket
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import NoDecode

from binance.settings import DefaultSymbolsSettings, ExchangeSettings, comma_separated
from bus.settings import BusSettings
from server.access.admin_settings import AdminSettings
from server.access.quota_settings import QuotaSettings
from server.access.settings import AccessSettings
from server.addresses import ProxyPolicy
from server.backlog import BUFFER_BYTES
from server.control_settings import ControlSettings
from server.delivery import LAG_LIMIT_S
from telemetry.settings import TelemetrySettings


class ReplicaSettings(
    BusSettings,
    ControlSettings,
    ExchangeSettings,
    DefaultSymbolsSettings,
    AccessSettings,
    AdminSettings,
    QuotaSettings,
    TelemetrySettings,
):
    """One replica; docs/settings.md has the table."""

    host: str = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104 # a server in a container
    port: int = Field(default=8080, ge=0, le=65_535, description="port to listen on (0 = any free one)")
    replica: str = Field(default="", description="name of the replica; default: host name and port")
    update_interval: int = Field(default=500, ge=50, le=60_000, description="ms between document 003's ticks")
    flush_interval_ms: float = Field(
        default=0.0, ge=0, le=1000, description="ms to collect messages before a write (0 = none)"
    )
    client_buffer_bytes: int = Field(
        default=BUFFER_BYTES, ge=0, le=1 << 30, description="bytes of events that a lagging client may be owed"
    )
    slow_consumer_s: float = Field(default=LAG_LIMIT_S, gt=0, description="s after which a client that lags is let go")
    drain_seconds: float = Field(
        default=10.0, ge=0, le=600, description="s over which clients are sent elsewhere at SIGTERM (0 = at once)"
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="other origins whose pages may connect, separated by commas; `*` = all"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="addresses or networks of proxies whose X-Real-IP is believed, separated by commas"
    )
    recordings: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("RECORDINGS", "RECORD"),
        description="directory of the recordings that clients may replay; default: `RECORD`",
    )

    _split_lists = field_validator("cors_origins", "trusted_proxies", mode="before")(comma_separated)

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if origin != "*" and (not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}"):
                raise ValueError("must be `*` or origins as browsers send them: https://host[:port], nothing behind it")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        ProxyPolicy(proxies)
        return proxies

    @property
    def name(self) -> str:
        """The replica's name."""
        return self.replica or f"{socket.gethostname()}:{self.port}"
