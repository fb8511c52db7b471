"""How names are split into groups of limited size: the same on every ingestor, and as still as can be."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

_BITS: Final = 64


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
