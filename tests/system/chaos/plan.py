"""Which faults a run has, and in which order: pure, the same for the same seed."""

import random
from enum import StrEnum
from typing import Final, NamedTuple

from tests.system.chaos.links import Trouble

REPLICAS: Final = ("app1", "app2")
INGESTORS: Final = ("ingestor1", "ingestor2")
PROCESSES: Final = (*REPLICAS, *INGESTORS, "nginx", "bus", "exchange")
"""The processes of `make cluster`; `bus` is Redis or NATS."""
BUS_LINKS: Final = ("replicas", "ingestors")
"""Who reaches the bus by a link that can be cut."""
FEED: Final = "feed"
"""The link between the ingestors and the exchange."""
DURATIONS_S: Final = (2.0, 4.0)
"""How long what lasts lasts, at least and at most."""


class What(StrEnum):
    """Kinds of faults."""

    KILL = "SIGKILL"
    FREEZE = "SIGSTOP, SIGCONT"
    LINK = "link"
    EXCHANGE = "exchange"
    CLUSTER = "cluster"


class Upstream(StrEnum):
    """What the exchange does wrong."""

    DROP = "drops all connections"
    CLOSE = "closes all connections"
    SILENCE = "says nothing"
    STALL = "leaves its connections half open"
    GARBAGE = "sends garbage"
    SHUTDOWN = "announces serverShutdown"
    NO_SUCCESSORS = "announces serverShutdown, 429 to successors"
    GAP = "leaves messages out"
    TOO_MANY = "drops all connections, 429 to new ones"
    TEAPOT = "drops all connections, 418 to REST"


class Whole(StrEnum):
    """What happens to several processes."""

    FEEDLESS = "both ingestors killed at once"
    ROLLING = "rolling restart of the replicas"
    AHEAD = "an ingestor's clock an hour ahead, a replica killed"
    BEHIND = "an ingestor's clock an hour behind, a replica killed"


class Step(NamedTuple):
    """One fault: what, to whom, for how long (where it lasts), and which variant of it."""

    what: What
    target: str
    seconds: float
    variant: str = ""

    @property
    def name(self) -> str:
        """What a person reads."""
        words = {
            What.LINK: f"link of {self.target}: {self.variant}",
            What.EXCHANGE: f"the exchange {self.variant}",
            What.CLUSTER: self.variant,
        }
        return words.get(self.what, f"{self.what} of {self.target}")


def plan(seed: int, *, quick: bool) -> list[Step]:
    """The faults of a run in their order. Quick: every process killed once, and of every other kind a few."""
    draw = random.Random(seed)  # noqa: S311 # a plan is no secret
    kills = _steps(draw, What.KILL, PROCESSES)
    freezes = _steps(draw, What.FREEZE, PROCESSES)
    links = [step for trouble in Trouble for step in _steps(draw, What.LINK, BUS_LINKS, trouble)]
    upstream = [step for variant in Upstream for step in _steps(draw, What.EXCHANGE, ("exchange",), variant)]
    upstream += _steps(draw, What.LINK, (FEED,), Trouble.DELAY)
    cluster = [step for variant in Whole for step in _steps(draw, What.CLUSTER, ("cluster",), variant)]
    if quick:
        bus_freeze = [step for step in freezes if step.target == "bus"]
        freezes = bus_freeze + draw.sample([step for step in freezes if step not in bus_freeze], 2)
        short = [step for step in upstream if step.variant != Upstream.NO_SUCCESSORS]
        links, upstream = draw.sample(links, 3), draw.sample(short, 3)
        cluster = [step for step in cluster if step.variant == Whole.ROLLING]
    steps = [*kills, *freezes, *links, *upstream, *cluster]
    draw.shuffle(steps)
    return steps


def _steps(draw: random.Random, what: What, targets: tuple[str, ...], variant: str = "") -> list[Step]:
    low, high = DURATIONS_S
    return [Step(what, target, round(draw.uniform(low, high), 1), variant) for target in targets]
