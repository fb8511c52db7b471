"""The ingestor's settings, read once from the environment."""

import os
import socket

from pydantic import Field

from binance.settings import DefaultSymbolsSettings, ExchangeSettings
from bus.settings import BusSettings


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class IngestorSettings(BusSettings, ExchangeSettings, DefaultSymbolsSettings):
    """What one ingestor carries, and under which name it announces itself."""

    symbols_per_worker: int = Field(default=100, ge=1, le=1_000, description="symbols that one worker carries at most")
    instance: str = Field(default_factory=_own_name, min_length=1, description="name of this process, unique")
