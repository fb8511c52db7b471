"""An order book: sorted levels on two sides, and the changes since they were last taken."""

from bisect import bisect_left
from typing import Final, NamedTuple, TypeAlias

Levels: TypeAlias = list[tuple[int, int]]
"""Price and quantity of levels, in the units of a symbol's spec."""

BID: Final = 1
ASK: Final = -1


class Top(NamedTuple):
    """Best bid and ask with their quantities, in units; `update_id` tells when."""

    update_id: int
    bid: int
    bid_quantity: int
    ask: int
    ask_quantity: int


class Diff(NamedTuple):
    """Changed levels between two update ids; quantity 0 deletes."""

    first_id: int
    last_id: int
    previous_id: int
    bids: dict[int, int]
    asks: dict[int, int]


class BookSide:
    """One side; `sign` is BID or ASK. The best price is the last of the sorted keys, price times sign."""

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self._keys: list[int] = []
        self._quantities: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best(self) -> int | None:
        """Best price, or None where the side is empty."""
        return self._keys[-1] * self.sign if self._keys else None

    @property
    def worst(self) -> int | None:
        """Price farthest from the other side, or None where the side is empty."""
        return self._keys[0] * self.sign if self._keys else None

    def quantity(self, price: int) -> int:
        """What is offered at `price`; 0 where nothing is."""
        return self._quantities.get(price, 0)

    def price_at(self, place: int) -> int | None:
        """Price of the level at `place` from the best (0), or None beyond the worst."""
        return self._keys[-1 - place] * self.sign if place < len(self._keys) else None

    def set(self, price: int, quantity: int) -> None:
        """Set a level; 0 deletes it, and deleting what is not there is normal."""
        key = price * self.sign
        if quantity:
            if price not in self._quantities:
                self._keys.insert(bisect_left(self._keys, key), key)
            self._quantities[price] = quantity
        elif self._quantities.pop(price, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def top(self, count: int) -> Levels:
        """The best `count` levels, best first."""
        keys = self._keys[: -count - 1 : -1]
        return [(key * self.sign, self._quantities[key * self.sign]) for key in keys]


class Book:
    """Both sides and the id of the last change."""

    def __init__(self, update_id: int = 0) -> None:
        self.update_id = update_id
        self.bids = BookSide(BID)
        self.asks = BookSide(ASK)
        self._taken_id = update_id
        self._changed: dict[int, dict[int, int]] = {BID: {}, ASK: {}}

    @property
    def top(self) -> Top | None:
        """Best bid and ask, or None while a side is empty."""
        bid, ask = self.bids.best, self.asks.best
        if bid is None or ask is None:
            return None
        return Top(self.update_id, bid, self.bids.quantity(bid), ask, self.asks.quantity(ask))

    def set(self, side: BookSide, price: int, quantity: int) -> None:
        """Change one level, under an update id of its own."""
        side.set(price, quantity)
        self.update_id += 1
        self._changed[side.sign][price] = quantity

    def apply(self, update_id: int, bids: Levels, asks: Levels) -> None:
        """Take over the levels of an exchange's diff that ends with `update_id`."""
        for price, quantity in bids:
            self.bids.set(price, quantity)
        for price, quantity in asks:
            self.asks.set(price, quantity)
        self.update_id = update_id

    def take_diff(self) -> Diff | None:
        """The levels `set` since the last call, or None where there were none."""
        if self.update_id == self._taken_id:
            return None
        diff = Diff(self._taken_id + 1, self.update_id, self._taken_id, self._changed[BID], self._changed[ASK])
        self._changed = {BID: {}, ASK: {}}
        self._taken_id = self.update_id
        return diff
