"""The ingestor's settings, read once from the environment."""

import os
import socket
from pathlib import Path

from pydantic import Field, field_validator

from binance.settings import DefaultSymbolsSettings, ExchangeSettings, UpstreamSettings
from bus.settings import BusSettings


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class IngestorSettings(BusSettings, ExchangeSettings, UpstreamSettings, DefaultSymbolsSettings):
    """What one ingestor carries, and under which name it announces itself."""

    host: str = Field(default="0.0.0.0", description="address to tell its health on")  # noqa: S104 # a server in a container
    port: int = Field(default=0, ge=0, le=65_535, description="port to tell its health on (0 = any free one)")
    symbols_per_worker: int = Field(default=100, ge=1, le=1_000, description="symbols that one worker carries at most")
    feed_copies: int | None = Field(
        default=None, ge=1, le=8, description="ingestors that carry each symbol; default: 2, on the memory bus 1"
    )
    instance: str = Field(default_factory=_own_name, min_length=1, description="name of this process, unique")
    record: Path | None = Field(default=None, description="directory in which what is published is recorded")
    record_max_bytes: int = Field(
        default=1 << 30, ge=1 << 20, description="bytes that all ingestors' recordings in `RECORD` may take on disk"
    )

    @property
    def copies(self) -> int:
        """How many ingestors carry each symbol: nobody beyond this process reaches a memory bus."""
        if self.feed_copies is not None:
            return self.feed_copies
        return 1 if self.resolved_bus_url.startswith("memory://") else 2

    @field_validator("record")
    @classmethod
    def _can_be_written(cls, record: Path | None) -> Path | None:
        if record is not None:
            nearest = next(path for path in (record.absolute(), *record.absolute().parents) if path.exists())
            if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
                raise ValueError("must be a directory in which this process may write")
        return record
