"""Which ingestors live: what they announce, each announcement a lease. Pure; the caller brings the clock.

`now` is `time.monotonic()` in s: clocks of different machines are never compared, and no jump of
the wall's clock matters.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from ingestor.groups import GroupKey

ANNOUNCE_S: Final = 1.0
"""How often an ingestor announces itself, in s."""
LEASE_S: Final = 3.0
"""How long an ingestor counts as alive without announcing itself, in s."""
DEAF_S: Final = 1.5
"""Who has not heard its own announcement for this long hears nobody, and takes nobody for dead."""
MAX_MEMBERS: Final = 64
MAX_GROUPS: Final = 8_192
"""Groups that one announcement may name."""


class Phase(StrEnum):
    """Where an ingestor stands in its life."""

    JOINING = "joining"
    """It listens who is there and what is wanted, and carries nothing yet."""
    LIVE = "live"
    LEAVING = "leaving"
    """It takes on nothing more and goes once others carry what it carries."""


class Presence(msgspec.Struct, frozen=True):
    """What one ingestor announces, every ANNOUNCE_S and at once when something of it changes.

    `incarnation` grows from start to start of a process of that name, `number` from announcement to
    announcement. `groups` are those whose streams it has subscribed to (GroupKey as text), each with
    a digest of the streams.
    """

    ingestor: str
    incarnation: int
    number: int
    phase: Phase
    groups: dict[str, str]


class Carried(msgspec.Struct, frozen=True):
    """A group that a member has subscribed to: with which streams, and since when we know of it."""

    digest: str
    since: float


class Member(msgspec.Struct):
    """What was last heard of one ingestor."""

    incarnation: int
    number: int
    phase: Phase
    heard: float
    groups: dict[GroupKey, Carried]


class Members:
    """The other ingestors, by name, as long as their leases last.

    Whether a silence is theirs or ours tells our own announcement, which comes back over the bus as
    everybody else's does: while it does not, no lease ends, and when it does again after a while,
    all leases begin anew.
    """

    def __init__(self, name: str, incarnation: int) -> None:
        self.others: dict[str, Member] = {}
        self.first_echo: float | None = None
        """When our own announcement first came back."""
        self.ignored_total = 0
        """Announcements that were late, or of more members or groups than there may be."""
        self.clashes_total = 0
        """Announcements of another process under our own name."""
        self._name = name
        self._incarnation = incarnation
        self._last_echo = float("-inf")

    def is_deaf(self, now: float) -> bool:
        """Whether the bus has not brought our own announcement for DEAF_S."""
        return now - self._last_echo > DEAF_S

    def hear(self, presence: Presence, now: float) -> bool:
        """Take over one announcement; true = of an ingestor that was not known. Raises ValueError for nonsense."""
        if presence.ingestor == self._name:
            self._hear_echo(presence, now)
            return False
        known = self.others.get(presence.ingestor)
        if known is not None and (presence.incarnation, presence.number) <= (known.incarnation, known.number):
            self.ignored_total += 1
            return False
        if len(presence.groups) > MAX_GROUPS or (known is None and len(self.others) >= MAX_MEMBERS):
            self.ignored_total += 1
            return False
        is_new = known is None or known.incarnation != presence.incarnation
        before = known.groups if known is not None and not is_new else {}
        self.others[presence.ingestor] = Member(
            presence.incarnation, presence.number, presence.phase, now, _parse_groups(presence.groups, before, now)
        )
        return is_new

    def expire(self, now: float) -> None:
        """Forget whose lease has ended, unless it is we who hear nothing."""
        if not self.is_deaf(now):
            self.others = {name: member for name, member in self.others.items() if now - member.heard <= LEASE_S}

    def _hear_echo(self, presence: Presence, now: float) -> None:
        if presence.incarnation != self._incarnation:
            self.clashes_total += 1
            return
        if self.is_deaf(now):
            for member in self.others.values():
                member.heard = now
        if self.first_echo is None:
            self.first_echo = now
        self._last_echo = now


def _parse_groups(texts: Mapping[str, str], before: Mapping[GroupKey, Carried], now: float) -> dict[GroupKey, Carried]:
    groups: dict[GroupKey, Carried] = {}
    for text, digest in texts.items():
        key = GroupKey.parse(text)
        known = before.get(key)
        groups[key] = known if known is not None and known.digest == digest else Carried(digest, now)
    return groups
