"""Which exchange is behind a process, and where: the settings that processes share, and how they are read."""

import re
from typing import Annotated, Final, NamedTuple, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from market.announcements import Source
from market.streams import Kind, Market, StreamName
from market.venue import Venue

DEFAULT_SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT", "ADAUSDT")
"""Document 002's default symbols."""

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


class SettingsError(ValueError):
    """A setting that makes a start impossible; the text is one sentence that names the variable."""


_CREDENTIALS: Final = re.compile(r"://.*@", re.DOTALL)
"""Up to the last @: a password may hold any character."""

_PLAIN: Final = {
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}
"""Sentences for pydantic's types of errors; those of our own validators are sentences already."""


def load_settings(kind: type[SettingsT]) -> SettingsT:
    """The settings of one process, read from its environment. Raises SettingsError."""
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        reason = _reason(first)
        if not first["loc"]:  # a rule over several settings says itself which
            raise SettingsError(reason) from error
        name = str(first["loc"][0]).upper()
        field = kind.model_fields.get(str(first["loc"][0]))
        # What a field keeps out of its own repr is a secret, or a URL that may hold one.
        shown = _redacted(first["input"]) if field is not None and not field.repr else repr(first["input"])
        shown = _CREDENTIALS.sub("://...@", shown)
        raise SettingsError(f"{name}={shown} is not valid: {reason}") from error


def _redacted(value: object) -> str:
    """Of a URL its scheme and, where they are told from a password, its hosts; of anything else nothing."""
    scheme, found, rest = str(value).partition("://")
    if not found:
        return "..."
    _, at, hosts = rest.rpartition("@")
    return repr(f"{scheme}://...{at}{hosts.partition('?')[0] if at else ''}")


def _reason(error: ErrorDetails) -> str:
    """What would be right, to stand behind "is not valid:"."""
    plain = _PLAIN.get(error["type"])
    if plain is None:
        return str(error["msg"]).removeprefix("Value error, ")
    limits = {name: str(limit).removesuffix(".0") for name, limit in error.get("ctx", {}).items()}
    return plain.format(**limits)


def comma_separated(value: object) -> object:
    """A list setting as it stands in the environment, split at commas; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class Endpoints(NamedTuple):
    """Base URLs of one exchange, without a trailing slash; futures routes are added by binance/routes.py."""

    spot_ws: str
    futures_ws: str
    spot_rest: str
    futures_rest: str


BINANCE = Endpoints(
    spot_ws="wss://stream.binance.com:9443",
    futures_ws="wss://fstream.binance.com",
    spot_rest="https://api.binance.com",
    futures_rest="https://fapi.binance.com",
)


def stand_in(url: str) -> Endpoints:
    """The endpoints of an exchange stand-in whose one base URL is `url` (`http://127.0.0.1:9000`)."""
    base = url.rstrip("/")
    sockets = base.replace("http", "ws", 1)
    return Endpoints(sockets, sockets, base, base)


class ExchangeSettings(BaseSettings):
    """`EXCHANGE` says what plays the exchanges, `EXCHANGE_URL` where a stand-in listens, `VENUES` which they are."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    exchange: str = Field(default="simulate", description="`simulate`, `binance`, or `replay:FILE` for a recording")
    exchange_url: str = Field(
        default="http://127.0.0.1:9100", description="where the stand-in listens (unused with `binance`)"
    )
    venues: Annotated[tuple[Venue, ...], NoDecode] = Field(
        default=(Venue.BINANCE,), description="exchanges that are served, separated by commas: `binance`, `bybit`"
    )
    bybit_url: str = Field(
        default="", description="where something else than `EXCHANGE` plays Bybit; default: `EXCHANGE_URL`/bybit"
    )

    @field_validator("exchange_url", "bybit_url")
    @classmethod
    def _are_addresses(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be http://host or https://host, with a port and a path if need be")
        return url

    _split_venues = field_validator("venues", mode="before")(comma_separated)

    @field_validator("venues")
    @classmethod
    def _with_binance(cls, venues: tuple[Venue, ...]) -> tuple[Venue, ...]:
        if Venue.BINANCE not in venues:
            raise ValueError("must name binance, whose symbols are the default ones")
        return venues

    @model_validator(mode="after")
    def _somebody_plays_bybit(self) -> Self:
        if Venue.BYBIT in self.venues and self.source is Source.REPLAY and not self.bybit_url:
            raise ValueError("VENUES names bybit, which no recording has: say with BYBIT_URL what plays it")
        return self

    @field_validator("exchange")
    @classmethod
    def _known_exchange(cls, value: str) -> str:
        if value in ("simulate", "binance") or value.startswith("replay:"):
            return value
        raise ValueError("must be simulate, binance or replay:FILE")

    @property
    def source(self) -> Source:
        """What clients are told of the data's origin."""
        if self.exchange == "binance":
            return Source.BINANCE
        return Source.SIMULATED if self.exchange == "simulate" else Source.REPLAY

    @property
    def bybit_stand_in(self) -> str | None:
        """Base URL of what plays Bybit; None = Bybit itself."""
        if self.bybit_url:
            return self.bybit_url
        return None if self.exchange == "binance" else f"{self.exchange_url.rstrip('/')}/bybit"

    @property
    def endpoints(self) -> Endpoints:
        """Where to connect."""
        return BINANCE if self.exchange == "binance" else stand_in(self.exchange_url)


class UpstreamSettings(BaseSettings):
    """`CONNECTION_LIFETIME_S`: Binance closes its connections after 24 hours, we replace them before."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    connection_lifetime_s: float = Field(
        default=82_800.0, ge=1, description="seconds after which a connection to the exchange is replaced at the latest"
    )


class DefaultSymbolsSettings(BaseSettings):
    """`DEFAULT_SYMBOLS`: the ingestor always carries their spot tickers, and replicas list them."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    default_symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=DEFAULT_SYMBOLS, description="spot symbols whose ticker is always wanted, separated by commas"
    )

    _split = field_validator("default_symbols", mode="before")(comma_separated)

    @field_validator("default_symbols")
    @classmethod
    def _are_symbols(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(StreamName.of(Market.SPOT, symbol, Kind.TICKER).symbol.upper() for symbol in symbols)

    @property
    def default_tickers(self) -> tuple[StreamName, ...]:
        """The ticker streams of the default symbols."""
        return tuple(StreamName.of(Market.SPOT, symbol, Kind.TICKER) for symbol in self.default_symbols)
