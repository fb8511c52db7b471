"""What a run of faults found, for a person and for a machine. Pure."""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from loadtest.probe.sequences import Tally


class Sight(NamedTuple):
    """What one client saw of a fault."""

    client: str
    silence_s: float
    """The longest time in which nothing came of one of its lively streams."""
    back_s: float
    """How long after the kill, or after the end of what lasted, all of them spoke for good."""
    disconnects: int


class Verdict(NamedTuple):
    """What all clients together saw of one fault."""

    fault: str
    at: float
    """When it began, in s since the epoch."""
    evidence: str
    """By what it is known that it really happened; empty if it did not."""
    tally: Tally
    sights: Sequence[Sight]
    lag_s: float
    """How late the loop was that measured all of this, at most."""
    failures: Sequence[str]
    """What no client may see, or that it did not happen."""
    losses: Sequence[str] = ()
    """What clients lost that somebody had; they were told."""

    @property
    def silence_s(self) -> float:
        """The longest silence of any client."""
        return max((sight.silence_s for sight in self.sights), default=0.0)

    @property
    def back_s(self) -> float:
        """How long the slowest client took to be back."""
        return max((sight.back_s for sight in self.sights), default=0.0)

    @property
    def line(self) -> str:
        """One line for a person to read."""
        tally = self.tally
        return (
            f"{time.strftime('%H:%M:%S', time.gmtime(self.at))} {self.fault:<46} sent {tally.sent:>6} "
            f"lost {tally.lost:>5} (undetected {tally.undetected}) doubled {tally.doubled} "
            f"disordered {tally.disordered} silence {self.silence_s:4.1f} s back {self.back_s:4.1f} s "
            f"lag {self.lag_s:4.2f} s {'FAILED' if self.failures else 'ok'}"
        )


class Result(NamedTuple):
    """A whole run; `planned` is how many faults there were to be, `clients` how many watched each of them."""

    seed: int
    planned: int
    clients: int
    verdicts: Sequence[Verdict]
    failures: Sequence[str]
    """What went wrong besides the faults."""

    @property
    def tally(self) -> Tally:
        """The figures of all faults together."""
        total = Tally()
        for verdict in self.verdicts:
            total.add(verdict.tally)
        return total

    @property
    def happened(self) -> int:
        """How many faults really happened."""
        return sum(bool(verdict.evidence) for verdict in self.verdicts)

    @property
    def ok(self) -> bool:
        """Whether every planned fault happened and no client saw what none may see."""
        return (
            self.happened == self.planned
            and not self.failures
            and not any(verdict.failures for verdict in self.verdicts)
        )

    @property
    def last_line(self) -> str:
        """The line that scripts read."""
        tally = self.tally
        slowest_s = max((verdict.back_s for verdict in self.verdicts), default=math.inf)
        return (
            f"CHAOS faults={self.happened} clients={self.clients} sent={tally.sent} lost={tally.lost} "
            f"doubled={tally.doubled} undetected_gaps={tally.undetected} slowest_return_s={slowest_s:.2f}"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file; a client that was never back has `back_s: null`."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "planned": self.planned,
            "clients": self.clients,
            "failures": list(self.failures),
            "line": self.last_line,
            "faults": [_as_json(verdict) for verdict in self.verdicts],
        }


def _as_json(verdict: Verdict) -> dict[str, Any]:
    tally = verdict.tally
    return {
        "fault": verdict.fault,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(verdict.at)),
        "evidence": verdict.evidence,
        "sent": tally.sent,
        **vars(tally),
        "checker_lag_s": verdict.lag_s,
        "clients": {
            sight.client: {
                "silence_s": round(sight.silence_s, 3),
                "back_s": round(sight.back_s, 3) if math.isfinite(sight.back_s) else None,
                "disconnects": sight.disconnects,
            }
            for sight in verdict.sights
        },
        "failures": list(verdict.failures),
        "losses": list(verdict.losses),
    }
