from hypothesis import given
from hypothesis import strategies as st

from ingestor.groups import split

_names = st.sets(st.text("abcdefgh", min_size=1, max_size=5), max_size=80)


@given(names=_names, limit=st.integers(1, 20))
def test_every_name_is_in_one_group_and_no_group_exceeds_the_limit(names: set[str], limit: int) -> None:
    groups = split(names, limit)
    assert sorted(name for group in groups.values() for name in group) == sorted(names)
    assert all(0 < len(group) <= limit for group in groups.values())


@given(names=_names)
def test_groups_depend_on_the_set_of_names_alone(names: set[str]) -> None:
    assert split(sorted(names), 7) == split(sorted(names, reverse=True), 7)


def _homes(groups: dict[int, frozenset[str]]) -> dict[str, int]:
    return {name: key for key, group in groups.items() for name in group}


@given(names=_names, arriving=st.text("abcdefgh", min_size=1, max_size=5))
def test_an_arrival_moves_nobody_outside_the_group_it_fills(names: set[str], arriving: str) -> None:
    names.discard(arriving)
    before, after = _homes(split(names, 7)), _homes(split([*names, arriving], 7))
    moved = {name for name in names if before[name] != after[name]}
    # Only a full group is halved, and those that keep its key stay where they are.
    assert len({before[name] for name in moved}) <= 1
    assert not moved or len(split(names, 7)[before[next(iter(moved))]]) == 7


def test_an_arrival_or_departure_far_from_the_limit_moves_nobody() -> None:
    names = [f"s{i}usdt" for i in range(60)]
    assert set(_homes(split(names, 100)).values()) == {0}
    assert set(_homes(split(names[:-1], 100)).values()) == {0}
    assert _homes(split([*names, "newusdt"], 100)).items() >= _homes(split(names, 100)).items()


def test_five_hundred_symbols_make_few_groups() -> None:
    assert 5 <= len(split([f"s{i}usdt" for i in range(500)], 100)) <= 10
