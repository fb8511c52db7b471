"""What processes tell each other on the bus's topics: small JSON bodies, one struct each."""

from enum import StrEnum
from typing import Final

import msgspec

from market.figures import FeedFigures

DEMAND_TOPIC: Final = "demand"
"""Replica -> ingestors: which streams its clients want (`Demand`)."""
FEED_TOPIC: Final = "feed"
"""Ingestor -> replicas: what it carries and how its connections stand (`FeedStatus`)."""
CANARY_TOPIC: Final = "canary"
"""Replica -> itself: the proof that it still hears the bus (`Canary`)."""

RESUME_TOPIC: Final = "resume"
"""Replica -> ingestors: what came after this cursor? (`ResumeAsk`)."""
REFUSALS_TOPIC: Final = "refusals"
"""Ingestor -> replicas: which books it has no room for (`Refusals`)."""

REPAIR_TOPIC: Final = "repair"
"""Replica -> ingestors: what neither copy brought (`RepairAsk`)."""
REPAIRED_TOPIC: Final = "repaired"
"""Ingestor -> replicas: what it, or Binance's REST API, had of it (`Repaired`)."""

QUOTA_TOPIC: Final = "quotas"
"""Replica -> replicas: who uses much of what is limited for all of them together (server/access/elsewhere.py)."""

LEASE_S: Final = 6.0
"""How long an announcement holds without being repeated, in s."""
MAX_STREAMS_PER_REPLICA: Final = 16_384
"""Streams that one replica may want: 500 symbols of both markets in 16 kinds and intervals each."""
REPEAT_S: Final = 2.0
"""How often whole announcements are repeated, in s."""
MAX_REFUSALS: Final = 4_096
"""Streams that one announcement of refusals names: more than Binance has symbols of both markets."""


class Source(StrEnum):
    """Where the data comes from, as clients are told."""

    BINANCE = "binance"
    SIMULATED = "simulated"
    REPLAY = "replay"


class Demand(msgspec.Struct, frozen=True):
    """All streams (text form) that a replica wants now; replaces what it announced before.

    Sent at once when the set changes and every REPEAT_S as a lease of LEASE_S. An empty list ends
    the lease.
    """

    replica: str
    streams: list[str]


STALLED_NAMED: Final = 100
"""Streams that one `FeedStatus` names as stalled, at most."""


class UpstreamFigures(msgspec.Struct, frozen=True):
    """What happened to an ingestor's connections to the exchange since it started, counted by name."""

    opened: int = 0
    handovers: dict[str, int] = {}
    troubles: dict[str, int] = {}


class FeedStatus(msgspec.Struct, frozen=True):
    """How an ingestor stands; sent every REPEAT_S and at once when a connection comes or goes.

    `connected` is true while it has an open connection and none is lost (one that is just being opened
    is not); `last_message_ms` is
    when the exchange last sent it anything (ms since the epoch, 0 = never). `stalled` names streams
    (text form, STALLED_NAMED at most) that stay silent on a connection that is well. The rest says how its
    memory of event streams and its books stand.
    """

    ingestor: str
    source: Source
    connected: bool
    streams: int
    last_message_ms: int
    stalled: list[str] = []
    upstream: UpstreamFigures = UpstreamFigures()
    remembered: int = 0
    """Event streams whose past it remembers."""
    forgotten_total: int = 0
    """Pasts given up for want of room."""
    cut_total: int = 0
    """Answers about the past that were cut short."""
    books: int = 0
    """Books that it maintains."""
    books_refused: int = 0
    """Books that are wanted beyond those now."""
    recorded_total: int = 0
    """Published messages that it has recorded."""
    record_dropped_total: int = 0
    """Published messages that it should have recorded and did not."""
    figures: FeedFigures = FeedFigures()


class Refusals(msgspec.Struct, frozen=True):
    """Books (text form) that are wanted, and that an ingestor has no room for; at most MAX_REFUSALS.

    Sent at once when they change and every REPEAT_S while there are any. A book begins, with a
    snapshot, as soon as there is room.
    """

    streams: list[str]


class Canary(msgspec.Struct, frozen=True):
    """One heartbeat of a replica; only the replica that sent it listens for it."""

    replica: str
    sent_us: int


class ResumeAsk(msgspec.Struct, frozen=True):
    """A replica asks what it did not receive itself, by streams (text form).

    `since`: what came since a cursor; `books`: which books it lacks as a whole.
    """

    replica: str
    ask: int
    since: dict[str, int] = {}
    books: list[str] = []


class KeptMessage(msgspec.Struct, frozen=True, array_like=True):
    """One remembered message: cursor, receive time in us, and the exchange's payload as it was."""

    cursor: int
    received_us: int
    payload: msgspec.Raw


class ResumeAnswer(msgspec.Struct, frozen=True):
    """An ingestor's answer, by stream: the message with the cursor asked for and all that came after it.

    Streams whose past is not remembered that far are left out. `books` has the `bookSnapshot` of
    each book asked for that is maintained there; the changes that follow it are published.
    """

    ask: int
    streams: dict[str, list[KeptMessage]]
    books: dict[str, KeptMessage] = {}


class RepairAsk(msgspec.Struct, frozen=True):
    """A replica misses the messages `first` to `last` of a stream (text form), which come after the cursor `after`.

    `first` and `last` are trade ids, aggregate trade ids, or of klines open times in ms.
    """

    stream: str
    first: int
    last: int
    after: int


class Repaired(msgspec.Struct, frozen=True):
    """What there is of a `RepairAsk`, in order; `complete` says that nothing else ever was."""

    stream: str
    first: int
    last: int
    messages: list[KeptMessage]
    complete: bool


def resume_answers(replica: str) -> str:
    """The topic on which `replica` is answered."""
    return f"resume-answers:{replica}"


encode: Final = msgspec.json.Encoder().encode
