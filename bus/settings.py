"""Where the bus is, and how to get in: the settings every process shares."""

import re
from functools import cached_property
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.nats_servers import Servers
from bus.tls import BusTls

REDIS_SCHEMES: Final = tuple(
    f"{redis}{kind}://" for redis in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")
)
NATS_SCHEMES: Final = ("nats://", "tls://")
SCHEMES: Final = ("memory://", *REDIS_SCHEMES, *NATS_SCHEMES)
_TRUSTING_SCHEMES: Final = ("rediss", *NATS_SCHEMES)


def split_urls(text: str) -> list[str]:
    """The URLs of several servers in a text where commas separate them: a comma may also stand between hosts."""
    return re.split(r",(?=[a-z+]+://)", text) if text else []


def read_secret(path: Path) -> str:
    """The secret that a file holds, without the line's end. Raises ValueError for a file that holds none."""
    try:
        secret = path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("must be a file that this process may read") from error
    if not secret:
        raise ValueError("must be a file that is not empty")
    return secret


class BusSettings(BaseSettings):
    """`BUS_URL`, or document 003's `REDIS_HOST` and 002's `REDIS_PORT` where no URL is given; and how to get in."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    bus_url: str = Field(
        default="",
        repr=False,
        description="where the bus is: memory://, redis[s][+sentinel|+cluster]://, nats://, tls://; several share it",
    )
    redis_host: str = Field(default="", description="Redis host, when BUS_URL is not set")
    redis_port: int = Field(default=6379, ge=1, le=65_535, description="Redis port, when BUS_URL is not set")
    bus_password_file: Path | None = Field(
        default=None, description="file with the password of the users that `BUS_URL` names without one"
    )
    bus_ca: Path | None = Field(
        default=None, description="certificates (PEM) to trust instead of the system's on encrypted connections"
    )
    bus_cert: Path | None = Field(default=None, description="client certificate (PEM), where the bus asks for one")
    bus_key: Path | None = Field(default=None, description="key (PEM) of the client certificate")

    @field_validator("bus_url")
    @classmethod
    def _can_be_opened(cls, text: str) -> str:
        for url in split_urls(text):
            if not url.startswith(SCHEMES):
                raise ValueError(f"must start with one of {', '.join(SCHEMES)}")
            if url.startswith(NATS_SCHEMES):
                Servers(url)
            elif url.startswith(REDIS_SCHEMES):
                # Whoever runs on the memory bus needs no Redis client installed.
                from bus.redis_url import RedisUrl  # noqa: PLC0415

                RedisUrl(url)
        return text

    @field_validator("bus_password_file")
    @classmethod
    def _holds_a_password(cls, path: Path | None) -> Path | None:
        if path is not None:
            read_secret(path)
        return path

    @field_validator("bus_ca")
    @classmethod
    def _holds_certificates(cls, path: Path | None) -> Path | None:
        if path is not None:
            try:
                BusTls(path).context()
            except OSError as error:
                raise ValueError("must be a file with certificates in PEM") from error
        return path

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.bus_cert is None) is not (self.bus_key is None):
            raise ValueError("BUS_CERT and BUS_KEY are set together or not at all")
        encrypted = all(url.startswith(_TRUSTING_SCHEMES) for url in split_urls(self.bus_url)) and self.bus_url
        if (self.bus_ca or self.bus_cert) and not encrypted:
            raise ValueError("BUS_CA and BUS_CERT want a BUS_URL that is encrypted: rediss:// or tls://")
        try:
            self.bus_tls.context()
        except OSError as error:
            raise ValueError("BUS_CERT and BUS_KEY must be a certificate and its key in PEM") from error
        if self.bus_password_file is not None and not any(_lacks_password(url) for url in split_urls(self.bus_url)):
            raise ValueError("BUS_PASSWORD_FILE wants a BUS_URL that names a user and no password")
        return self

    @cached_property
    def resolved_bus_url(self) -> str:
        """The URL to open, with its password: `bus_url`, else Redis on `redis_host`, else the memory bus."""
        if self.bus_url:
            if self.bus_password_file is None:
                return self.bus_url
            password = read_secret(self.bus_password_file)
            return ",".join(_with_password(url, password) for url in split_urls(self.bus_url))
        return f"redis://{self.redis_host}:{self.redis_port}/0" if self.redis_host else "memory://"

    @property
    def bus_tls(self) -> BusTls:
        """How encrypted connections to the bus are trusted."""
        return BusTls(self.bus_ca, self.bus_cert, self.bus_key)


def _lacks_password(url: str) -> bool:
    user, at, _ = urlsplit(url).netloc.rpartition("@")
    return bool(at) and ":" not in user


def _with_password(url: str, password: str) -> str:
    """`url` with `password` for a user that has none."""
    if not _lacks_password(url):
        return url
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{hosts}").geturl()
