"""What the names of streams say: `<market>:<symbol>@<kind>` (docs/protocol.md, "Client to server")."""

from functools import lru_cache
from typing import Final

_EVENT_KINDS: Final = frozenset({"trade", "aggTrade", "depth", "book", "forceOrder"})


@lru_cache(maxsize=16_384)
def kind_of(stream: str) -> str:
    """The kind without its speed: `depth` of `spot:btcusdt@depth@100ms`, `kline_1m` of `spot:btcusdt@kline_1m`."""
    return stream.partition("@")[2].partition("@")[0]


def is_state(stream: str) -> bool:
    """Whether only the latest message of `stream` matters; of trades and changes of a book each one does."""
    return kind_of(stream) not in _EVENT_KINDS


def is_book(stream: str) -> bool:
    """Whether `stream` is a maintained order book, of which no change may be missing."""
    return kind_of(stream) == "book"


@lru_cache(maxsize=16_384)
def every_of(stream: str) -> str:
    """The stream of all symbols that `stream` is part of: `spot:*@trade` of `spot:btcusdt@trade`."""
    market, _, name = stream.partition(":")
    return f"{market}:*@{name.partition('@')[2]}"


def full_name(text: str) -> str:
    """The full name of a stream as programs may write it: of `BTCUSDT@trade` it is `spot:btcusdt@trade`.

    Only the server knows those of kinds that exist on futures alone and are named without their market.
    """
    symbol, at, kind = text.partition("@")
    return f"{'' if ':' in symbol else 'spot:'}{symbol.lower()}{at}{kind}"


def is_every(stream: str) -> bool:
    """Whether `stream` stands for that of every symbol."""
    return stream == every_of(stream)
