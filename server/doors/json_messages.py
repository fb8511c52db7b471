"""The messages of JSON clients as they come, and the values in them, each read as its clients write it. Pure."""

from typing import Any, Final

import msgspec

from market.errors import Code, MarketError
from market.streams import Market


class ClientMessage(msgspec.Struct, rename="camel"):
    """A message as it came, before anything but its being a JSON object was checked."""

    type: Any = None
    stream_type: Any = None
    raw_streams: Any = None
    symbols: Any = None
    symbol: Any = None
    asset: Any = None
    options: Any = None
    interval: Any = None
    market: Any = None
    is_futures: Any = None
    limit: Any = None
    start_time: Any = None
    end_time: Any = None
    throttle: Any = None
    snapshot: Any = None
    since: Any = None
    recording: Any = None
    speed: Any = None
    id: Any = None
    token: Any = None

    @property
    def is_upper(self) -> bool:
        """Whether document 004's client wrote it."""
        return isinstance(self.type, str) and self.type.isupper()


_decode: Final = msgspec.json.Decoder(ClientMessage).decode


def read_message(data: str | bytes) -> ClientMessage:
    """The message in `data`. Raises MarketError (bad_request) for what is no JSON object."""
    try:
        message: ClientMessage = _decode(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, no object; nested too deeply
        raise bad_request("Invalid message format") from None
    return message


def names_in(value: object, wrong: str, empty: str, limit: int) -> list[str]:
    """The names in a list, or in a string alone. Raises MarketError (bad_request, too_many_streams)."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise bad_request(wrong)
    if not names:
        raise bad_request(empty)
    if len(names) > limit:
        raise MarketError(Code.TOO_MANY_STREAMS, f"At most {limit} streams a client, {len(names)} asked for")
    return names


def options_of(message: ClientMessage) -> dict[str, str | int]:
    """The options; some clients put `interval` beside them. Raises MarketError (bad_request)."""
    options: dict[str, str | int] = convert(message.options, dict[str, str | int], "Invalid options") or {}
    if message.interval is not None:
        options.setdefault("interval", convert(message.interval, str, "Invalid interval"))
    return options


def market_of(value: object) -> Market | None:
    """The market, None where none is named. Raises MarketError (bad_request)."""
    market: Market | None = convert(value, Market, "market must be spot, futures or bybit")
    return market


def whole_number(value: object, name: str) -> int | None:
    """A number, also one that a client sends as text. Raises MarketError (bad_request)."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number: int = convert(value, int, f"{name} must be a whole number", strict=False)
    if not 0 <= number < 1 << 53:
        raise bad_request(f"{name} must be a whole number")
    return number


def convert(value: object, kind: Any, wrong: str, *, strict: bool = True) -> Any:  # noqa: ANN401 # an instance of `kind`
    """A value as `kind`, None where there is none. Raises MarketError (bad_request) that says `wrong`."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        raise bad_request(wrong) from None


def shown(value: object) -> str:
    """A client's value in a refusal; JavaScript, in which the original was written, calls a missing one undefined."""
    return value[:40] if isinstance(value, str) else "undefined"


def bad_request(message: str) -> MarketError:
    """The refusal of a message that is not as it should be."""
    return MarketError(Code.BAD_REQUEST, message)
