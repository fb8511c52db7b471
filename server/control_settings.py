"""Whose control requests a replica obeys: `CONTROL_KEY` and what goes with it."""

from functools import cached_property
from pathlib import Path
from typing import Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.settings import read_secret

KEY_MIN_BYTES: Final = 32
"""As long as what HMAC-SHA256 makes of it: less can be guessed sooner than a signature (RFC 2104, section 3)."""
_TOO_SHORT: Final = f"must have {KEY_MIN_BYTES} bytes at least; `openssl rand -hex 32` makes one"


class ControlSettings(BaseSettings):
    """`CONTROL_KEY` or `CONTROL_KEY_FILE` signs the control plane; `CONTROL_SIGNED=false` lets others pass."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    control_key: str = Field(default="", repr=False, description="key that all replicas and emitters share, 32 bytes")
    control_key_file: Path | None = Field(default=None, description="file with that key instead")
    control_signed: bool | None = Field(
        default=None, description="whether unsigned control requests are dropped; default: where there is a key"
    )

    @field_validator("control_key")
    @classmethod
    def _is_long_enough(cls, key: str) -> str:
        if key and len(key.encode()) < KEY_MIN_BYTES:
            raise ValueError(_TOO_SHORT)
        return key

    @field_validator("control_key_file")
    @classmethod
    def _holds_a_key(cls, path: Path | None) -> Path | None:
        if path is not None and len(read_secret(path).encode()) < KEY_MIN_BYTES:
            raise ValueError(f"the key in it {_TOO_SHORT}")
        return path

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.control_key and self.control_key_file is not None:
            raise ValueError("CONTROL_KEY and CONTROL_KEY_FILE are the same key: set one of them")
        if self.control_signed and not self.control_secret:
            raise ValueError("CONTROL_SIGNED=true wants a key: CONTROL_KEY or CONTROL_KEY_FILE")
        return self

    @cached_property
    def control_secret(self) -> bytes:
        """The key; empty without one."""
        return (self.control_key if self.control_key_file is None else read_secret(self.control_key_file)).encode()

    @property
    def takes_unsigned(self) -> bool:
        """Whether a control request needs no signature."""
        return not self.control_secret if self.control_signed is None else not self.control_signed
