"""How much one client, address or subject may use up: settings of a replica; docs/quotas.md has the table."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class QuotaSettings(BaseSettings):
    """The limits of one replica. An address is one of IPv4, or a /64 of IPv6; a rate's burst is ten seconds' worth."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    connections_per_address: int = Field(default=4000, ge=1, description="connections of one address at a replica")
    handshakes_per_second: float = Field(
        default=500.0, gt=0, le=1_000_000, description="connections that one address may open a second"
    )
    streams_per_address: int = Field(
        default=100_000, ge=1, description="streams that all connections of one address may subscribe to together"
    )
    commands_per_second: float = Field(
        default=50.0, gt=0, le=1_000_000, description="commands of one connection a second"
    )
    requests_per_minute: int = Field(
        default=300, ge=1, description="REST requests of one address a minute, at all replicas together"
    )
    request_timeout_s: float = Field(
        default=10.0, gt=0, le=3600, description="s in which a client must finish the request or message that it began"
    )
    quotas_without_bus: Literal["open", "closed"] = Field(
        default="open",
        description="while the bus is away, what replicas count together is counted alone (open) or refused (closed)",
    )
