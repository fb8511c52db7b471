"""The plan of a run is the same for the same seed, and holds what it promises."""

from collections import Counter

import pytest

from tests.system.chaos.faults import fault_of
from tests.system.chaos.links import Trouble
from tests.system.chaos.plan import BUS_LINKS, DURATIONS_S, PROCESSES, Upstream, What, Whole, plan

SEEDS = range(20)


@pytest.mark.parametrize("quick", [True, False])
def test_the_same_seed_gives_the_same_plan_and_another_one_another(*, quick: bool) -> None:
    assert plan(7, quick=quick) == plan(7, quick=quick)
    assert plan(7, quick=quick) != plan(8, quick=quick)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_whole_run_has_every_fault_once(seed: int) -> None:
    steps = plan(seed, quick=False)
    assert Counter(step.name for step in steps).most_common(1)[0][1] == 1
    for what in (What.KILL, What.FREEZE):
        assert {step.target for step in steps if step.what is what} == {*PROCESSES}
    links = {(step.target, step.variant) for step in steps if step.what is What.LINK}
    assert links == {(link, trouble) for link in BUS_LINKS for trouble in Trouble} | {("feed", Trouble.DELAY)}
    assert {step.variant for step in steps if step.what is What.EXCHANGE} == {*Upstream}
    assert {step.variant for step in steps if step.what is What.CLUSTER} == {*Whole}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quick_run_kills_everything_freezes_the_bus_and_rolls(seed: int) -> None:
    steps = plan(seed, quick=True)
    assert {step.target for step in steps if step.what is What.KILL} == {*PROCESSES}
    assert "bus" in {step.target for step in steps if step.what is What.FREEZE}
    assert [step.variant for step in steps if step.what is What.CLUSTER] == [Whole.ROLLING]
    assert sum(step.what is What.LINK and step.target in BUS_LINKS for step in steps) == 3
    assert len(steps) < 20


def test_what_lasts_lasts_as_long_as_it_should() -> None:
    low, high = DURATIONS_S
    assert all(low <= step.seconds <= high for step in plan(1, quick=False))


def test_every_step_is_a_fault_with_a_name_of_its_own() -> None:
    faults = [fault_of(step) for step in plan(1, quick=False)]
    assert len({fault.name for fault in faults}) == len(faults)
