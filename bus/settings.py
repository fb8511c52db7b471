"""Where the bus is: the settings every process shares."""

import re
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.nats_servers import Servers

REDIS_SCHEMES: Final = tuple(
    f"{redis}{kind}://" for redis in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")
)
NATS_SCHEMES: Final = ("nats://", "tls://")
SCHEMES: Final = ("memory://", *REDIS_SCHEMES, *NATS_SCHEMES)


def split_urls(text: str) -> list[str]:
    """The URLs of several servers in a text where commas separate them: a comma may also stand between hosts."""
    return re.split(r",(?=[a-z+]+://)", text) if text else []


class BusSettings(BaseSettings):
    """`BUS_URL`, or document 003's `REDIS_HOST` and 002's `REDIS_PORT` where no URL is given."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    bus_url: str = Field(
        default="",
        description="where the bus is: memory://, redis[s][+sentinel|+cluster]://, nats://, tls://; several share it",
    )
    redis_host: str = Field(default="", description="Redis host, when BUS_URL is not set")
    redis_port: int = Field(default=6379, ge=1, le=65_535, description="Redis port, when BUS_URL is not set")

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

    @property
    def resolved_bus_url(self) -> str:
        """The URL to open: `bus_url`, else Redis on `redis_host`, else the memory bus."""
        if self.bus_url:
            return self.bus_url
        return f"redis://{self.redis_host}:{self.redis_port}/0" if self.redis_host else "memory://"
