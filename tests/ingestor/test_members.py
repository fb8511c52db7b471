import pytest

from ingestor.members import DEAF_S, LEASE_S, MAX_GROUPS, MAX_MEMBERS, Members, Phase, Presence


def presence(name: str, incarnation: int, number: int, **groups: str) -> Presence:
    return Presence(name, incarnation, number, Phase.LIVE, groups)


def test_late_announcements_are_ignored() -> None:
    members = Members("me", 1)
    assert members.hear(presence("you", 5, 2), 0.0)
    for late in (presence("you", 5, 1), presence("you", 5, 2), presence("you", 4, 99)):
        assert not members.hear(late, 1.0)
    assert (members.others["you"].heard, members.ignored_total) == (0.0, 3)
    assert members.hear(presence("you", 6, 1), 2.0)


def test_one_whose_clock_was_set_back_before_it_started_again_is_heard_once_its_earlier_lease_has_ended() -> None:
    members = Members("me", 1)
    members.hear(presence("you", 5, 2), 0.0)
    for number in range(1, 5):
        members.hear(presence("me", 1, number), float(number))
    assert not members.hear(presence("you", 4, 1), 1.5)
    members.expire(1.1 + LEASE_S)
    assert members.hear(presence("you", 4, 2), 1.2 + LEASE_S)


def test_members_and_groups_are_bounded_and_nonsense_is_refused() -> None:
    members = Members("me", 1)
    for number in range(MAX_MEMBERS + 3):
        members.hear(presence(f"m{number}", 1, 1), 0.0)
    assert (len(members.others), members.ignored_total) == (MAX_MEMBERS, 3)
    many = {f"spot:{number:016x}": "x" for number in range(MAX_GROUPS + 1)}
    assert not members.hear(presence("m1", 1, 2, **many), 0.0)
    with pytest.raises(ValueError, match="nowhere"):
        members.hear(presence("m1", 1, 3, **{"nowhere:1": "x"}), 0.0)


def test_another_process_of_the_same_name_is_counted() -> None:
    members = Members("me", 1)
    members.hear(presence("me", 2, 1), 0.0)
    assert (members.clashes_total, members.first_echo) == (1, None)


def test_a_lease_ends_unless_it_is_we_who_hear_nothing() -> None:
    members = Members("me", 1)
    members.hear(presence("me", 1, 1), 0.0)
    members.hear(presence("you", 1, 1), 0.0)
    members.expire(LEASE_S + 1)
    assert "you" in members.others, "nor have we heard ourselves"
    members.hear(presence("me", 1, 2), LEASE_S + 2)
    members.expire(LEASE_S + 2)
    assert "you" in members.others, "its lease begins anew"
    now = LEASE_S + 2
    while now < 2 * LEASE_S + 3:
        now += DEAF_S / 2
        members.hear(presence("me", 1, 3), now)
        members.expire(now)
    assert members.others == {}
