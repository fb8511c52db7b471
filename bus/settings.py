"""Where the bus is: the settings every process shares."""

from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

SCHEMES: Final = (
    "memory://",
    *(f"{redis}{kind}://" for redis in ("redis", "rediss") for kind in ("", "+sentinel", "+cluster")),
)


class BusSettings(BaseSettings):
    """`BUS_URL`, or document 003's `REDIS_HOST` and 002's `REDIS_PORT` where no URL is given."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    bus_url: str = Field(
        default="", description="where the bus is: memory://, redis[s]://, redis[s]+sentinel://, redis[s]+cluster://"
    )
    redis_host: str = Field(default="", description="Redis host, when BUS_URL is not set")
    redis_port: int = Field(default=6379, ge=1, le=65_535, description="Redis port, when BUS_URL is not set")

    @field_validator("bus_url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if url and not url.startswith(SCHEMES):  # several are checked one by one when they are opened
            raise ValueError(f"must start with one of {', '.join(SCHEMES)}")
        return url

    @property
    def resolved_bus_url(self) -> str:
        """The URL to open: `bus_url`, else Redis on `redis_host`, else the memory bus."""
        if self.bus_url:
            return self.bus_url
        return f"redis://{self.redis_host}:{self.redis_port}/0" if self.redis_host else "memory://"
