"""An order book, kept up to date by the events of a book stream. Pure."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import NamedTuple

from .events import Event, Gap, Message


class Level(NamedTuple):
    """A price and the quantity that is offered there."""

    price: Decimal
    quantity: Decimal


class OrderBook:
    """The book of one stream `<market>:<symbol>@book`: hand `apply` whatever the subscription yields.

    It is unknown (`is_known`) before its first snapshot and behind a gap, until the next one.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.update_id: int | None = None
        """`u` of the last snapshot or change; None while the book is unknown."""
        self._bids = _Side()
        self._asks = _Side()

    @property
    def is_known(self) -> bool:
        """Whether the book is complete."""
        return self.update_id is not None

    def apply(self, event: Event) -> bool:
        """Take an event; whether it changed the book. Those of other streams are not looked at."""
        if isinstance(event, Gap) and event.stream == self.stream:
            self.update_id = None
            return True
        if not isinstance(event, Message) or event.stream != self.stream:
            return False
        data = event.data
        if data["e"] == "bookSnapshot":
            self._bids, self._asks = _Side(), _Side()
        elif self.update_id is None or data["u"] <= self.update_id:
            return False  # a change of a book that is not known, or one that the snapshot has already
        self._bids.set_levels(data["b"])
        self._asks.set_levels(data["a"])
        self.update_id = data["u"]
        return True

    def bids(self, depth: int | None = None) -> list[Level]:
        """The best `depth` bids, or all of them, highest first; none while the book is unknown."""
        return list(islice(self._bids.descending(), depth)) if self.is_known else []

    def asks(self, depth: int | None = None) -> list[Level]:
        """The best `depth` asks, or all of them, lowest first; none while the book is unknown."""
        return list(islice(self._asks.ascending(), depth)) if self.is_known else []


class _Side:
    """Levels of one side; its prices in ascending order."""

    def __init__(self) -> None:
        self._prices: list[Decimal] = []
        self._quantities: dict[Decimal, Decimal] = {}

    def set_levels(self, levels: Sequence[Sequence[str]]) -> None:
        for text, amount in levels:
            price, quantity = Decimal(text), Decimal(amount)
            is_there = price in self._quantities
            if quantity:
                self._quantities[price] = quantity
                if not is_there:
                    insort(self._prices, price)
            elif is_there:
                del self._quantities[price]
                del self._prices[bisect_left(self._prices, price)]

    def ascending(self) -> Iterator[Level]:
        return (Level(price, self._quantities[price]) for price in self._prices)

    def descending(self) -> Iterator[Level]:
        return (Level(price, self._quantities[price]) for price in reversed(self._prices))
