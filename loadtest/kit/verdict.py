"""Whether a cluster held, in one sentence. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from loadtest.kit.artillery import Outcome
from loadtest.probe.probe import Findings

NAMED: Final = 3
"""Faults that the sentence names; more are counted."""
BUSY_MS: Final = 20.0
"""A probe whose own loop is later than this (p99) says so: its machine was busy."""


class Run(NamedTuple):
    """One scenario: how it went for Artillery's clients, and what the probe found meanwhile."""

    scenario: str
    outcome: Outcome
    findings: Findings


class Verdict(NamedTuple):
    """Whether the cluster held, as a sentence, and everything that was wrong."""

    sentence: str
    faults: tuple[str, ...]

    @property
    def held(self) -> bool:
        """Whether nothing was wrong."""
        return not self.faults


def judge(runs: Sequence[Run], limit_ms: float, broken: str = "") -> Verdict:
    """The verdict over all runs; `limit_ms` is what no door's p99 may exceed, from the exchange to the client.

    `broken` says which scenario could not run any more, and why, where one could not.
    """
    faults = (
        *([broken] if broken else []),
        *(f"in {run.scenario} {fault}" for run in runs for fault in faults_of(run, limit_ms)),
    )
    if faults:
        more = f", and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        return Verdict(f"Did not hold: {'; '.join(faults[:NAMED])}{more}.", faults)
    clients = sum(run.outcome.created + run.findings.clients for run in runs)
    where = f" in {len(runs)} scenarios" if len(runs) > 1 else ""
    p99_ms = max(run.findings.slowest.exchange.p99_ms for run in runs)
    return Verdict(f"Held: {clients:,} clients{where}, p99 {p99_ms:.0f} ms, nothing missed.", ())


def faults_of(run: Run, limit_ms: float) -> list[str]:
    """What was wrong in one run, each to stand behind "in <scenario>"."""
    outcome, findings = run.outcome, run.findings
    found = []
    if outcome.status is None:
        found.append("Artillery did not come to its end")
    if outcome.failed:
        error = max(outcome.errors.items(), key=lambda item: item[1], default=("unknown", 0))[0]
        found.append(f"{outcome.failed} of {outcome.created} clients failed ({error})")
    found += [f"{check.condition} did not hold" for check in outcome.checks if not check.held]
    if outcome.status and not found:
        found.append(f"Artillery ended with status {outcome.status}")
    if findings.missed:
        found.append(f"the probe missed {findings.missed} messages")
    found += [f"the probe found: {failure}" for failure in findings.failures]
    slowest = findings.slowest
    if slowest.exchange.p99_ms > limit_ms:
        lag_ms = findings.lag.p99_ms
        busy = f"; the machine was busy, the probe itself late by {lag_ms:.0f} ms" if lag_ms > BUSY_MS else ""
        found.append(
            f"p99 was {slowest.exchange.p99_ms:.0f} ms at the door {slowest.door} (limit {limit_ms:.0f} ms{busy})"
        )
    return found
