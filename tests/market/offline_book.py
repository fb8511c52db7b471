"""Books computed the plain way, of recordings or of what a client received: code of its own, for comparison."""

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDINGS = ("ws/spot-btc-eth-20240808.ndjson.gz", "ws/futures-btc-eth-20240808.ndjson.gz")


class OfflineBook:
    """A book as a client keeps it: quantities by price, as long as the exchange writes each price in one way."""

    def __init__(self, update_id: int, bids: list[list[str]], asks: list[list[str]]) -> None:
        self.update_id = update_id
        self.bids = {price: quantity for price, quantity in bids}  # noqa: C416 # lists, not tuples
        self.asks = {price: quantity for price, quantity in asks}  # noqa: C416 # lists, not tuples

    def change(self, diff: dict[str, Any]) -> None:
        """Take over the levels of a `depthUpdate`."""
        for side, levels in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, quantity in levels:
                if float(quantity) == 0:
                    side.pop(price, None)
                else:
                    side[price] = quantity
        self.update_id = diff["u"]

    def levels(self) -> tuple[int, list[tuple[str, str]], list[tuple[str, str]]]:
        """Update id, bids and asks, best first."""
        bids = [(price, self.bids[price]) for price in sorted(self.bids, key=Decimal, reverse=True)]
        return self.update_id, bids, [(price, self.asks[price]) for price in sorted(self.asks, key=Decimal)]

    @property
    def is_crossed(self) -> bool:
        return bool(self.bids and self.asks) and max(map(Decimal, self.bids)) >= min(map(Decimal, self.asks))


def depth_lines(path: Path) -> Iterator[bytes]:
    """The lines of a recording that books are made of: depth updates and depth snapshots."""
    with gzip.open(path) as lines:
        for line in lines:
            connection, _, message = line.partition(b'"raw":')
            if b"@depth" in message[:60] or b"/depth?" in connection:
                yield line


def events(path: Path) -> Iterator[tuple[str, str, bool, Any]]:
    """What a recording says of books, in order: market, symbol, whether it is a snapshot, the message."""
    for line in depth_lines(path):
        entry = json.loads(line)
        if "/depth?" in entry["conn"]:
            yield entry["market"], parse_qs(urlsplit(entry["conn"]).query)["symbol"][0], True, entry["raw"]
        else:
            yield entry["market"], entry["raw"]["data"]["s"], False, entry["raw"]["data"]


def offline_books(path: Path) -> dict[str, OfflineBook]:
    """The books at the end of a recording by `market:symbol`, made by the words of Binance's pages."""
    books: dict[str, OfflineBook] = {}
    waiting: dict[str, list[dict[str, Any]]] = {}
    for market, symbol, is_snapshot, message in events(path):
        key = f"{market}:{symbol}"
        if is_snapshot:
            book = books[key] = OfflineBook(message["lastUpdateId"], message["bids"], message["asks"])
            oldest = book.update_id + (market == "spot")  # "drop u <= lastUpdateId" there, "u < lastUpdateId" here
            for diff in waiting.pop(key, []):
                if diff["u"] >= oldest:
                    book.change(diff)
        elif key in books:
            if message["u"] >= books[key].update_id + (market == "spot"):
                books[key].change(message)
        else:
            waiting.setdefault(key, []).append(message)
    return books


def client_book(bodies: list[dict[str, Any]]) -> OfflineBook:
    """The book of a client that received these messages of a book stream."""
    book: OfflineBook | None = None
    for body in bodies:
        if body["e"] == "bookSnapshot":
            book = OfflineBook(body["u"], body["b"], body["a"])
            assert not book.is_crossed
        else:
            assert book is not None, "a change before the first snapshot"
            assert body["u"] >= book.update_id
            follows = body.get("pu", body["U"] - 1) == book.update_id
            assert follows or body["U"] <= book.update_id + 1, "a change is missing"
            book.change(body)
    assert book is not None
    return book
