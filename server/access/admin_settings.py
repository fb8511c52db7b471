"""The settings of the Socket.IO admin namespace."""

from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from server.access.passwords import PasswordHash


class AdminSettings(BaseSettings):
    """Who may use the namespace `/admin`, and for what; off unless both user and password are set."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    admin_user: str = Field(default="", description="user of the Socket.IO admin UI; empty: there is none")
    admin_password_hash: str = Field(
        default="", description="its password's hash, as `python -m server.access.passwords` prints it"
    )
    admin_read_only: bool = Field(default=True, description="whether the admin UI may look, but not touch")

    @field_validator("admin_password_hash")
    @classmethod
    def _is_hash(cls, text: str) -> str:
        if text:
            PasswordHash.parse(text)
        return text

    @model_validator(mode="after")
    def _are_both_or_none(self) -> Self:
        if bool(self.admin_user) is not bool(self.admin_password_hash):
            raise ValueError("ADMIN_USER and ADMIN_PASSWORD_HASH are set together, or neither of them")
        return self
