"""How names are split into groups of limited size: the same on every ingestor, and as still as can be."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

from market.streams import Market, StreamName

_BITS: Final = 64


class GroupKey(NamedTuple):
    """Identifies one group of symbols of a market; as text `spot:8000000000000000`."""

    market: Market
    start: int
    """The lower end of the hashes of its symbols."""

    def __str__(self) -> str:
        return f"{self.market}:{self.start:016x}"

    @classmethod
    def parse(cls, text: str) -> "GroupKey":
        """The key that `str` wrote. Raises ValueError for anything else."""
        market, _, start = text.partition(":")
        return cls(Market(market), int(start, 16))


def groups_of(streams: Iterable[StreamName], symbols_per_group: int) -> dict[GroupKey, frozenset[StreamName]]:
    """The streams by group: each group has at most `symbols_per_group` symbols of one market."""
    by_market: dict[Market, dict[str, list[StreamName]]] = {}
    for stream in streams:
        by_market.setdefault(stream.market, {}).setdefault(stream.symbol, []).append(stream)
    return {
        GroupKey(market, start): frozenset(stream for symbol in symbols for stream in by_symbol[symbol])
        for market, by_symbol in by_market.items()
        for start, symbols in split(by_symbol, symbols_per_group).items()
    }


def split(names: Iterable[str], limit: int) -> dict[int, frozenset[str]]:
    """Split `names` into groups of at most `limit`; the keys identify the groups.

    The groups depend on the set of names alone, so that ingestors that want the same agree on them
    without talking. They are the buckets of a trie over the names' hashes ("extendible hashing",
    Fagin et al. 1979): a name that comes or goes moves no other, except where its bucket overflows
    and is halved, or fits together with its other half again. The half that keeps the hash's lower
    part keeps the group's key, so that only the other half moves.
    """
    groups: dict[int, frozenset[str]] = {}
    # (lower end of the bucket's hashes, its depth in bits, its names)
    buckets = [(0, 0, {name: _hash(name) for name in names})]
    while buckets:
        start, bits, members = buckets.pop()
        if len(members) <= limit or bits == _BITS:
            if members:
                groups[start] = frozenset(members)
            continue
        middle = start + (1 << (_BITS - bits - 1))
        lower = {name: hashed for name, hashed in members.items() if hashed < middle}
        upper = {name: hashed for name, hashed in members.items() if hashed >= middle}
        buckets += [(start, bits + 1, lower), (middle, bits + 1, upper)]
    return groups


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=_BITS // 8).digest())
