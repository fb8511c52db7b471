"""The ingestor's settings, read once from the environment."""

import os
import socket
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from binance.settings import ExchangeSettings
from bus.settings import BusSettings
from market.streams import Kind, Market, StreamName


def _own_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class IngestorSettings(BusSettings, ExchangeSettings):
    """What one ingestor carries, and under which name it announces itself."""

    symbols_per_worker: int = Field(default=100, ge=1, le=1_000, description="symbols that one worker carries at most")
    default_symbols: Annotated[list[str], NoDecode] = Field(
        default=["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "ADAUSDT"],
        description="spot symbols whose prices are always streamed, separated by commas",
    )
    instance: str = Field(default_factory=_own_name, min_length=1, description="name of this process, unique")

    @field_validator("default_symbols", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:  # noqa: ANN401 # pydantic hands over whatever was given
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("default_symbols")
    @classmethod
    def _valid_symbols(cls, symbols: list[str]) -> list[str]:
        for symbol in symbols:
            StreamName.of(Market.SPOT, symbol, Kind.TICKER)
        return [symbol.upper() for symbol in symbols]
