"""The settings that say who gets in."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from binance.settings import comma_separated
from server.addresses import Networks

LOOPBACK: Final = ("127.0.0.0/8", "::1")
"""Where operators are unless `OPERATORS` says otherwise: on this machine."""
MIN_SECRET_BYTES: Final = 32
"""Of HS256's secret: as long as its hash (RFC 7518, 3.2)."""


class AccessSettings(BaseSettings):
    """Who gets in at a replica: docs/auth.md."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    auth: Literal["off", "optional", "required"] = Field(
        default="off", description="whether clients must show credentials; `optional`: may, and wrong ones are refused"
    )
    auth_jwt_secret: SecretStr = Field(default=SecretStr(""), description="secret of tokens signed with HS256")
    auth_jwks: str = Field(
        default="", description="URL or file with the public keys of tokens signed with RS256, ES256 or EdDSA"
    )
    auth_issuer: str = Field(default="", description="the only issuer (`iss`) of tokens")
    auth_audience: str = Field(default="", description="the audience (`aud`) that tokens must be for")
    api_keys_file: Path | None = Field(default=None, description="file with the hashes of API keys (TOML)")
    operators: Annotated[tuple[str, ...], NoDecode] = Field(
        default=LOOPBACK, description="addresses or networks that may read /metrics and /cluster, separated by commas"
    )

    _split_operators = field_validator("operators", mode="before")(comma_separated)

    @field_validator("operators")
    @classmethod
    def _are_operators_networks(cls, operators: tuple[str, ...]) -> tuple[str, ...]:
        Networks(operators)
        return operators

    @model_validator(mode="after")
    def _can_know_somebody(self) -> Self:
        """Rules that name their settings themselves, so that no secret is shown as a wrong value."""
        secret = self.auth_jwt_secret.get_secret_value()
        if secret and len(secret.encode()) < MIN_SECRET_BYTES:
            raise ValueError(f"AUTH_JWT_SECRET must have at least {MIN_SECRET_BYTES} bytes")
        if self.auth != "off" and not (secret or self.auth_jwks or self.api_keys_file):
            raise ValueError(f"AUTH={self.auth} needs AUTH_JWT_SECRET, AUTH_JWKS or API_KEYS_FILE")
        return self
