"""The report counts what happened, and its last line can be read by scripts."""

import math

from loadtest.probe.sequences import Tally
from tests.system.chaos.report import Result, Sight, Verdict


def verdict(*failures: str, evidence: str = "pid 1 gone", back_s: float = 1.25, lost: int = 0) -> Verdict:
    tally = Tally(received=10, lost=lost, announced=lost)
    return Verdict("a fault", 0.0, evidence, tally, [Sight("one", 0.5, back_s, 1)], 0.01, failures)


def test_the_last_line_adds_up_what_all_clients_saw() -> None:
    result = Result(7, 2, 1, [verdict(lost=3), verdict(back_s=2.5)], [])
    assert result.ok
    assert result.last_line == (
        "CHAOS faults=2 clients=1 sent=23 lost=3 doubled=0 undetected_gaps=0 slowest_return_s=2.50"
    )


def test_a_run_fails_where_a_fault_did_not_happen_or_a_client_saw_what_it_must_not() -> None:
    assert not Result(7, 2, 1, [verdict()], []).ok
    assert not Result(7, 1, 1, [verdict(evidence="")], []).ok
    assert not Result(7, 1, 1, [verdict("one: 2 doubled")], []).ok
    assert not Result(7, 1, 1, [verdict()], ["a hostile client came through"]).ok


def test_the_file_has_each_fault_with_its_evidence_and_each_client_s_silence() -> None:
    (fault,) = Result(7, 1, 1, [verdict(back_s=math.inf)], []).as_json()["faults"]
    assert (fault["fault"], fault["evidence"], fault["at"]) == ("a fault", "pid 1 gone", "1970-01-01T00:00:00Z")
    assert fault["clients"] == {"one": {"silence_s": 0.5, "back_s": None, "disconnects": 1}}
