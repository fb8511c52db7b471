"""What the exchange process reads from its environment."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from binance.entrances import PING_S, PONG_S
from binance.settings import ExchangeSettings
from exchange.symbols import MAX_SYMBOLS
from market.streams import Market

_REPLAY = "replay:"


class ExchangeServerSettings(ExchangeSettings):
    """Where to listen and what to serve; each field is the environment variable of its name in capitals."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(9100, ge=0, le=65_535, description="port to listen on; 0 = any free one")
    sim_symbols: int = Field(20, ge=1, le=MAX_SYMBOLS, description="simulated symbols of each market")
    sim_seed: int = Field(1, ge=0, description="seed of the simulated market: same seed, same market")
    sim_trades_per_second: float = Field(4.0, ge=0.01, le=1_000, description="simulated trades a second and symbol")
    replay_speed: float = Field(1.0, gt=0, le=10_000, description="how many times as fast a recording is replayed")
    replay_loop: bool = Field(default=True, description="whether a recording begins again at its end")
    spot_ping_s: float = Field(PING_S[Market.SPOT], gt=0, description="seconds between two pings on spot connections")
    spot_pong_s: float = Field(
        PONG_S[Market.SPOT], gt=0, description="seconds within which a spot client must answer a ping"
    )
    futures_ping_s: float = Field(
        PING_S[Market.FUTURES], gt=0, description="seconds between two pings on futures connections"
    )
    futures_pong_s: float = Field(
        PONG_S[Market.FUTURES], gt=0, description="seconds within which a futures client must answer a ping"
    )
    exchange_lifetime_s: float = Field(
        86_400.0, gt=0, description="seconds after which the stand-in closes a connection, as Binance does"
    )
    connection_attempts: int = Field(300, ge=1, description="spot connections that one address may open in 5 minutes")

    @model_validator(mode="after")
    def _recording_exists(self) -> Self:
        if self.exchange == "binance":
            raise ValueError("EXCHANGE must be simulate or replay:FILE: the stand-in cannot be Binance itself")
        if self.recording is not None and not self.recording.is_file():
            raise ValueError(f"EXCHANGE names a recording that does not exist: {self.recording}")
        return self

    @property
    def recording(self) -> Path | None:
        """The file to replay, or None in simulation."""
        return Path(self.exchange.removeprefix(_REPLAY)) if self.exchange.startswith(_REPLAY) else None
