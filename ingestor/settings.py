"""The ingestor's settings, read once from the environment."""

import os
import socket
from pathlib import Path

from pydantic import Field, field_validator

from binance.settings import DefaultSymbolsSettings, ExchangeSettings
from bus.settings import BusSettings


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class IngestorSettings(BusSettings, ExchangeSettings, DefaultSymbolsSettings):
    """What one ingestor carries, and under which name it announces itself."""

    symbols_per_worker: int = Field(default=100, ge=1, le=1_000, description="symbols that one worker carries at most")
    instance: str = Field(default_factory=_own_name, min_length=1, description="name of this process, unique")
    record: Path | None = Field(default=None, description="directory in which what is published is recorded")
    record_max_bytes: int = Field(
        default=1 << 30, ge=1 << 20, description="bytes that all ingestors' recordings in `RECORD` may take on disk"
    )

    @field_validator("record")
    @classmethod
    def _can_be_written(cls, record: Path | None) -> Path | None:
        if record is not None:
            nearest = next(path for path in (record.absolute(), *record.absolute().parents) if path.exists())
            if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
                raise ValueError("must be a directory in which this process may write")
        return record
