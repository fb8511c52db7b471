"""The settings that say who gets in."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from binance.settings import comma_separated
from server.access.operators import LOOPBACK
from server.addresses import Networks


class AccessSettings(BaseSettings):
    """Who gets in at a replica: docs/auth.md."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    operators: Annotated[tuple[str, ...], NoDecode] = Field(
        default=LOOPBACK, description="addresses or networks that may read /metrics and /cluster, separated by commas"
    )

    _split_operators = field_validator("operators", mode="before")(comma_separated)

    @field_validator("operators")
    @classmethod
    def _are_operators_networks(cls, operators: tuple[str, ...]) -> tuple[str, ...]:
        Networks(operators)
        return operators
