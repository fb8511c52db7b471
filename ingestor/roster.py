"""Who carries which group of symbols: every ingestor decides for itself, and all decide alike. Pure.

The members of the roster are ranked anew for each group by a hash of group and member ("rendezvous
hashing", Thaler and Ravishankar 1998): the first `copies` of the ranking carry it. So a member that
comes or goes moves only the groups in whose first places it stands.

Nothing is dropped before it is held elsewhere: whoever loses a stream (to another ingestor, or to
another group of its own) carries it on until those who carry it from now on have announced that
they are subscribed, and a moment longer.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from hashlib import blake2b
from typing import Final, TypeAlias

from ingestor.groups import GroupKey
from ingestor.members import Carried, Members, Phase, Presence
from market.streams import Market, StreamName

ALONE_S: Final = 0.25
"""How long a newcomer listens before it takes it that nobody else is there, in s."""
LISTEN_S: Final = 2.5
"""How long a newcomer among others listens: by then every replica has repeated what it wants."""
LINGER_S: Final = 1.0
"""How much longer than needed a stream is carried: what was sent before a successor's subscription may still come."""
HAND_OVER_S: Final = 10.0
"""After this long a successor need not have all streams of a group, which may change for ever."""
STAND_IN_S: Final = 5.0
"""A carrier without connection for this long is cut off: the next in the ranking stands in for it."""

Groups: TypeAlias = Mapping[GroupKey, frozenset[StreamName]]


class Roster:
    """One ingestor's view: the groups that it carries, and those that it alone maintains.

    Call `want`, `note` and `hear` with what is new, then `turn`, then act on `carried`. `now` is
    `time.monotonic()` in s.
    """

    def __init__(self, name: str, incarnation: int, copies: int) -> None:
        self.phase = Phase.JOINING
        self.carried: dict[GroupKey, frozenset[StreamName]] = {}
        """What to carry now, each group over connections of its own."""
        self.maintained: frozenset[GroupKey] = frozenset()
        self.members = Members(name, incarnation)
        self._name = name
        self._incarnation = incarnation
        self._copies = copies
        self._number = 0
        self._groups: Groups = {}
        self._digests: dict[GroupKey, str] = {}
        self._homes: dict[tuple[Market, str], GroupKey] = {}
        self._own: dict[GroupKey, Carried] = {}
        self._missing_since: dict[tuple[GroupKey, str], float] = {}
        self._held_since: dict[GroupKey, float] = {}

    @property
    def has_left(self) -> bool:
        """Whether a leaving one may go: others carry everything, or there are no others."""
        stay = any(member.phase is not Phase.LEAVING for member in self.members.others.values())
        return self.phase is Phase.LEAVING and (not self.carried or not stay)

    @property
    def subscribed(self) -> dict[GroupKey, str]:
        """The groups that this one has subscribed to, each with its streams' digest: what others are told."""
        return {key: carried.digest for key, carried in self._own.items()}

    def maintains(self, market: Market, symbol: str) -> bool:
        """Whether this ingestor is the one that keeps books and repairs and polls over REST for `symbol`.

        At most moments that is one ingestor; while it changes there are two, so that there is always one.
        """
        return self._homes.get((market, symbol)) in self.maintained

    def want(self, groups: Groups) -> None:
        """What all ingestors together shall carry from now on."""
        maintained = {_symbol(stream) for key in self.maintained for stream in self._groups[key]}
        self._digests = {
            key: self._digests[key] if streams == self._groups.get(key) else _digest(streams)
            for key, streams in groups.items()
        }
        self._groups = groups
        self._homes = {_symbol(stream): key for key, streams in groups.items() for stream in streams}
        self.maintained = frozenset(self._homes[symbol] for symbol in maintained if symbol in self._homes)

    def note(self, connected: AbstractSet[GroupKey], settled: AbstractSet[GroupKey], now: float) -> None:
        """What of `carried` has its connections, and what of it is subscribed to completely."""
        own: dict[GroupKey, Carried] = {}
        for key in connected & self._groups.keys():
            known = self._own.get(key)
            if key in settled and self._groups[key] <= self.carried.get(key, frozenset()):
                digest = self._digests[key]
                own[key] = known if known is not None and known.digest == digest else Carried(digest, now)
            elif known is not None:
                own[key] = known
        self._own = own

    def hear(self, presence: Presence, now: float) -> bool:
        """Take over an announcement; true = of a newcomer, who is to be answered. Raises ValueError for nonsense."""
        return self.members.hear(presence, now)

    def leave(self) -> None:
        """Take on nothing more; what is carried goes to others."""
        self.phase = Phase.LEAVING

    def presence(self) -> Presence:
        """The next announcement."""
        self._number += 1
        groups = {str(key): digest for key, digest in self.subscribed.items()}
        return Presence(self._name, self._incarnation, self._number, self.phase, groups)

    def turn(self, now: float) -> bool:
        """Decide anew; true = `carried` or `maintained` has changed."""
        self.members.expire(now)
        if self.phase is Phase.JOINING:
            self._join(now)
        live = self._live()
        carriers = {key: self._carriers(key, live, now) for key in self._groups}
        self._missing_since = {
            (key, name): self._missing_since.get((key, name), now)
            for key, names in carriers.items()
            for name in names
            if key not in self._carried_by(name)
        }
        before = self.carried, self.maintained
        self.carried = self._carry(carriers, now)
        self.maintained = frozenset(key for key, names in carriers.items() if self._is_maintainer(key, names, now))
        return (self.carried, self.maintained) != before

    def carriers(self, key: GroupKey, now: float) -> tuple[str, ...]:
        """Who carries a group, by rank."""
        return self._carriers(key, self._live(), now)

    def _join(self, now: float) -> None:
        echo = self.members.first_echo
        if echo is None:
            return
        is_alone = all(member.phase is not Phase.LIVE for member in self.members.others.values())
        if now - echo >= (ALONE_S if is_alone else LISTEN_S):
            self.phase = Phase.LIVE

    def _live(self) -> tuple[str, ...]:
        live = [name for name, member in self.members.others.items() if member.phase is Phase.LIVE]
        return tuple(sorted([*live, self._name] if self.phase is Phase.LIVE else live))

    def _carried_by(self, name: str) -> Mapping[GroupKey, Carried]:
        if name == self._name:
            return self._own
        member = self.members.others.get(name)
        return member.groups if member is not None else {}

    def _carriers(self, key: GroupKey, live: tuple[str, ...], now: float) -> tuple[str, ...]:
        """The first in the ranking, and as many more as of these are cut off."""
        ranked = _ranking(key, live)
        cut_off = sum(self._is_cut_off(key, name, now) for name in ranked[: self._copies])
        return ranked[: self._copies + cut_off]

    def _is_cut_off(self, key: GroupKey, name: str, now: float) -> bool:
        return now - self._missing_since.get((key, name), now) > STAND_IN_S

    def _carry(self, carriers: Mapping[GroupKey, tuple[str, ...]], now: float) -> dict[GroupKey, frozenset[StreamName]]:
        """The groups that fall to this one, and of what it has carried whatever nobody has taken over yet."""
        carried = {key: streams for key, streams in self._groups.items() if self._name in carriers[key]}
        held: dict[GroupKey, bool] = {}
        for key, streams in self.carried.items():
            own = carried.get(key, frozenset())
            if streams is own:
                continue
            kept = {stream for stream in streams - own if self._is_held(stream, carriers, held, now)}
            if kept:
                carried[key] = own | kept
        self._held_since = {key: self._held_since[key] for key, is_held in held.items() if is_held}
        return carried

    def _is_held(
        self,
        stream: StreamName,
        carriers: Mapping[GroupKey, tuple[str, ...]],
        held: dict[GroupKey, bool],
        now: float,
    ) -> bool:
        home = self._homes.get(_symbol(stream))
        if home is None or stream not in self._groups[home]:
            return False
        if home not in held:
            self._held_since.setdefault(home, now)
            held[home] = not self._is_handed_over(home, carriers[home], now)
        return held[home]

    def _is_handed_over(self, key: GroupKey, carriers: tuple[str, ...], now: float) -> bool:
        """Whether a group is carried where it belongs, so that whoever carried any of it before may let go."""
        awaited = (self._name,) if self._name in carriers else carriers
        taken = {name for name in awaited if self._has_taken(key, name, now)}
        return bool(taken) and all(name in taken or self._is_cut_off(key, name, now) for name in awaited)

    def _has_taken(self, key: GroupKey, name: str, now: float) -> bool:
        carried = self._carried_by(name).get(key)
        if carried is None:
            return False
        # From when we began to wait, at least: it may just be letting go because it has not heard yet that we do.
        held_since = self._held_since[key]
        if now - max(carried.since, held_since) < LINGER_S:
            return False
        return carried.digest == self._digests[key] or now - held_since > HAND_OVER_S

    def _is_maintainer(self, key: GroupKey, carriers: tuple[str, ...], now: float) -> bool:
        able = [name for name in carriers if not self._is_cut_off(key, name, now)]
        first = next(iter(able or carriers), None)
        if first == self._name:
            return True
        if key not in self.maintained or key not in self.carried:
            return False
        taken = self._carried_by(first).get(key) if first is not None else None
        return taken is None or now - taken.since < LINGER_S


@lru_cache(maxsize=16_384)
def _ranking(key: GroupKey, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: _weight(key, name), reverse=True))


def _weight(key: GroupKey, name: str) -> bytes:
    return blake2b(f"{key} {name}".encode(), digest_size=16).digest()


def _symbol(stream: StreamName) -> tuple[Market, str]:
    return stream.market, stream.symbol


def _digest(streams: Iterable[StreamName]) -> str:
    names = "\n".join(sorted(str(stream) for stream in streams))
    return blake2b(names.encode(), digest_size=8).hexdigest()
