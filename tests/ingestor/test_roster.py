"""The roster as pure state: several ingestors, a bus with delays, an exchange that takes its time."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.groups import GroupKey, groups_of
from ingestor.members import ANNOUNCE_S, LEASE_S, Phase, Presence
from ingestor.roster import LINGER_S, STAND_IN_S, Roster
from market.streams import Market, StreamName

TURN_S = 0.2
LATENCY_S = 0.6
"""From the exchange to an ingestor: what was sent before a subscription may come so much later by another one."""
SYMBOLS = [f"s{number}usdt" for number in range(24)]


def streams_of(symbols: Iterable[str]) -> frozenset[StreamName]:
    return frozenset(StreamName.parse(f"{symbol}@trade") for symbol in symbols)


@dataclass
class Ingestor:
    """One member: its roster, and since when the exchange has confirmed what it carries."""

    roster: Roster
    reaches_exchange: bool = True
    hears: bool = True
    stops: float | None = None
    is_running: bool = True
    confirmed: dict[GroupKey, dict[StreamName, float]] = field(default_factory=dict)
    ever: set[GroupKey] = field(default_factory=set)

    def delivers(self, now: float) -> set[StreamName]:
        if not self.is_running or self.stops is not None or not self.reaches_exchange:
            return set()
        return {
            stream for streams in self.confirmed.values() for stream, at in streams.items() if at <= now - LATENCY_S
        }


class World:
    """Members on one bus. Time passes in steps; delays of announcements and subscriptions are drawn at random."""

    def __init__(self, seed: int, copies: int, symbols: Iterable[str] = SYMBOLS, per_group: int = 5) -> None:
        self.now = 1_000.0
        self.members: dict[str, Ingestor] = {}
        self.copies = copies
        self.per_group = per_group
        self.wanted = streams_of(symbols)
        self.after_turn: list[Callable[[], None]] = []
        self._draw = random.Random(seed)  # noqa: S311 # repeats a run, guards nothing
        self._incarnations = itertools.count(1)
        self._order = itertools.count()
        self._flying: list[tuple[float, int, str, Presence]] = []
        self._announced: dict[str, tuple[float, object]] = {}

    @property
    def groups(self) -> dict[GroupKey, frozenset[StreamName]]:
        return groups_of(self.wanted, self.per_group)

    def join(self, name: str) -> Ingestor:
        made = Ingestor(Roster(name, next(self._incarnations), self.copies))
        made.roster.want(self.groups)
        self.members[name] = made
        self._announced.pop(name, None)
        return made

    def want(self, symbols: Iterable[str]) -> None:
        self.wanted = streams_of(symbols)
        for member in self.members.values():
            member.roster.want(self.groups)

    def kill(self, name: str) -> None:
        del self.members[name]

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += TURN_S
            self._deliver()
            for name, member in list(self.members.items()):
                if member.stops is None:
                    self._turn(name, member)
            for check in self.after_turn:
                check()

    def delivered(self) -> set[StreamName]:
        return {stream for member in self.members.values() for stream in member.delivers(self.now)}

    def carriers(self) -> dict[GroupKey, set[str]]:
        """Who carries all of each wanted group."""
        return {
            key: {
                name
                for name, member in self.members.items()
                if member.roster.carried.get(key, frozenset()) >= streams and member.delivers(self.now) >= streams
            }
            for key, streams in self.groups.items()
        }

    def maintainers(self) -> dict[GroupKey, list[str]]:
        return {
            key: [name for name, member in self.members.items() if key in member.roster.maintained]
            for key in self.groups
        }

    def _turn(self, name: str, member: Ingestor) -> None:
        roster, now = member.roster, self.now
        connected = set(member.confirmed) if member.reaches_exchange else set()
        settled = {key for key in connected if all(at <= now for at in member.confirmed[key].values())}
        roster.note(connected, settled, now)
        roster.turn(now)
        for key in list(member.confirmed):
            kept = roster.carried.get(key, frozenset())
            member.confirmed[key] = {s: at for s, at in member.confirmed[key].items() if s in kept}
        for key, streams in roster.carried.items():
            known = member.confirmed.setdefault(key, {})
            member.ever.add(key)
            for stream in streams - known.keys():
                known[stream] = now + self._draw.uniform(0.05, 0.6)
        member.confirmed = {key: streams for key, streams in member.confirmed.items() if streams}
        if roster.phase is Phase.LEAVING and roster.has_left:
            self._announce(name, roster)
            del self.members[name]
            return
        state = (roster.phase, roster.subscribed)
        at, told = self._announced.get(name, (0.0, None))
        if state != told or now - at >= ANNOUNCE_S:
            self._announced[name] = now, state
            self._announce(name, roster)

    def _announce(self, name: str, roster: Roster) -> None:
        if not self.members[name].hears:
            return
        presence = roster.presence()
        for hearer in self.members:
            # Late ones, too, and not in order.
            delay = self._draw.choice((0.0, 0.01, 0.05, 0.3))
            heapq.heappush(self._flying, (self.now + delay, next(self._order), hearer, presence))

    def _deliver(self) -> None:
        while self._flying and self._flying[0][0] <= self.now:
            _, _, hearer, presence = heapq.heappop(self._flying)
            member = self.members.get(hearer)
            if member is not None and member.hears and member.stops is None:
                known = presence.ingestor in member.roster.members.others
                if member.roster.hear(presence, self.now) or not known:
                    self._announced.pop(hearer, None)


def settled_world(seed: int, copies: int, *names: str) -> World:
    world = World(seed, copies)
    for name in names:
        world.join(name)
    world.run(10)
    return world


def assert_agreed(world: World) -> None:
    """Every group is carried by as many as can, all agree by whom, and one maintains it."""
    expected = min(world.copies, len(world.members))
    if not expected:
        return
    for key, carriers in world.carriers().items():
        assert len(carriers) == expected, (key, carriers)
        views = {member.roster.carriers(key, world.now) for member in world.members.values()}
        assert len(views) == 1
        assert carriers == set(views.pop())
    for member in world.members.values():
        assert member.roster.carried.keys() <= world.groups.keys()
        assert all(streams == world.groups[key] for key, streams in member.roster.carried.items())
    assert all(len(names) == 1 for names in world.maintainers().values())


seeds = st.integers(0, 2**32)


def test_who_is_alone_carries_everything() -> None:
    world = settled_world(1, 2, "a")
    assert_agreed(world)
    assert world.members["a"].roster.maintains(Market.SPOT, SYMBOLS[0])
    assert not world.members["a"].roster.maintains(Market.FUTURES, SYMBOLS[0])


def test_a_newcomer_among_others_carries_nothing_before_it_knows_what_is_wanted() -> None:
    world = settled_world(1, 1, "a")
    newcomer = world.join("b")
    world.run(2.0)
    assert newcomer.roster.phase is Phase.JOINING
    assert not newcomer.roster.carried
    world.run(10)
    assert newcomer.roster.carried
    assert_agreed(world)


@pytest.mark.parametrize("copies", [1, 2, 3])
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_death_moves_only_what_the_dead_one_carried(copies: int, seed: int) -> None:
    world = settled_world(seed, copies, "a", "b", "c", "d")
    before = world.carriers()
    world.kill("b")
    world.run(LEASE_S + 1 + LATENCY_S)
    after = world.carriers()
    for key, carriers in before.items():
        assert after[key] >= carriers - {"b"}
        assert len(after[key]) == copies
        assert "b" in carriers or after[key] == carriers
    world.run(10)
    assert_agreed(world)


@pytest.mark.parametrize("copies", [1, 2])
@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_a_newcomer_takes_its_share_and_nobody_else_takes_anything(copies: int, seed: int) -> None:
    world = settled_world(seed, copies, "a", "b")
    for member in world.members.values():
        member.ever = set(member.roster.carried)
    before = {name: set(member.ever) for name, member in world.members.items()}
    world.after_turn.append(lambda: all_delivered(world))
    world.join("c")
    world.run(20)
    assert_agreed(world)
    assert {name: world.members[name].ever for name in before} == before


def all_delivered(world: World) -> None:
    missing = world.wanted - world.delivered()
    assert not missing, missing


@given(seed=seeds, copies=st.integers(1, 3), steps=st.lists(st.sampled_from(["join", "leave", "want"]), max_size=8))
@settings(max_examples=40, deadline=None)
def test_nothing_is_ever_without_a_carrier_while_ingestors_come_and_go_as_planned(
    seed: int, copies: int, steps: list[str]
) -> None:
    world = settled_world(seed, copies, "a", "b")
    draw = random.Random(seed)  # noqa: S311 # repeats a run, guards nothing
    names = (f"n{number}" for number in itertools.count())
    steady = world.wanted

    def check() -> None:
        missing = steady - world.delivered()
        assert not missing, missing

    world.after_turn.append(check)
    for step in steps:
        staying = [name for name, member in world.members.items() if member.roster.phase is Phase.LIVE]
        if step == "join" and len(world.members) < 6:
            world.join(next(names))
        elif step == "leave" and len(staying) > 1:
            world.members[draw.choice(staying)].roster.leave()
        elif step == "want":
            # What was wanted all the time stays so; what is added may halve groups, and going join them again.
            world.want(SYMBOLS + [f"x{draw.randrange(100)}usdt" for _ in range(draw.randrange(40))])
        world.run(draw.choice((0.1, 0.5, 1.0, 3.0, 6.0)))
    world.run(25)
    assert_agreed(world)


@given(
    seed=seeds,
    copies=st.integers(1, 3),
    steps=st.lists(st.sampled_from(["join", "leave", "kill", "again", "deaf", "stop", "resume"]), max_size=10),
)
@settings(max_examples=40, deadline=None)
def test_whatever_happens_all_agree_in_the_end(seed: int, copies: int, steps: list[str]) -> None:
    world = settled_world(seed, copies, "a", "b", "c")
    draw = random.Random(seed)  # noqa: S311 # repeats a run, guards nothing
    names = (f"n{number}" for number in itertools.count())
    for step in steps:
        present = sorted(world.members)
        name = draw.choice(present) if present else ""
        if step == "join" and len(present) < 6:
            world.join(next(names))
        elif step == "leave" and present:
            world.members[name].roster.leave()
        elif step == "kill" and present:
            world.kill(name)
        elif step == "again" and present:  # the same name, at once
            world.join(name)
        elif step == "deaf" and present:
            world.members[name].hears = not world.members[name].hears
        elif step == "stop" and present:
            world.members[name].stops = world.now
        elif step == "resume":
            _resume_all(world)
        world.run(draw.choice((0.1, 1.0, 3.0, 8.0)))
    _resume_all(world)
    world.run(25)
    assert_agreed(world)


def _resume_all(world: World) -> None:
    for member in world.members.values():
        member.stops = None
        member.hears = True


def test_a_stopped_one_that_resumes_takes_nobody_for_dead() -> None:
    world = settled_world(3, 1, "a", "d", "e")
    before = set(world.members["a"].roster.carried)
    assert 0 < len(before) < len(world.groups)
    world.members["a"].ever.clear()
    world.members["a"].stops = world.now
    world.run(30)
    world.members["a"].stops = None
    world._deliver()
    world._turn("a", world.members["a"])
    assert set(world.members["a"].roster.carried) == before
    world.run(20)
    assert_agreed(world)
    assert world.members["a"].ever == before


def test_who_hears_nothing_keeps_what_it_carries_and_takes_nothing() -> None:
    world = settled_world(5, 1, "a", "b")
    deaf = world.members["a"]
    before = dict(deaf.roster.carried)
    deaf.hears = False
    world.run(30)
    assert deaf.roster.carried == before
    assert all("b" in carriers for carriers in world.carriers().values())
    deaf.hears = True
    world.after_turn.append(lambda: all_delivered(world))
    world.run(20)
    assert_agreed(world)


def test_one_that_does_not_reach_the_exchange_has_stand_ins() -> None:
    world = settled_world(7, 1, "a", "b")
    cut_off = world.members["a"]
    cut_off.reaches_exchange = False
    cut_off.confirmed.clear()
    world.run(STAND_IN_S + 4)
    assert all("b" in carriers for carriers in world.carriers().values())
    assert all(names == ["b"] for names in world.maintainers().values())
    assert cut_off.roster.carried, "it goes on trying"
    cut_off.reaches_exchange = True
    world.after_turn.append(lambda: all_delivered(world))
    world.run(20)
    assert_agreed(world)


def test_a_leaving_one_stays_until_another_one_has_everything() -> None:
    world = settled_world(9, 1, "a", "b")
    world.members["b"].reaches_exchange = False
    world.members["b"].confirmed.clear()
    world.members["a"].roster.leave()
    world.run(30)
    assert world.members["a"].delivers(world.now) == {
        stream for streams in world.members["a"].roster.carried.values() for stream in streams
    }
    world.members["b"].reaches_exchange = True
    world.run(LINGER_S + 2)
    assert set(world.members) == {"b"}
    all_delivered(world)


def test_the_last_one_leaves_at_once() -> None:
    world = settled_world(9, 2, "a")
    world.members["a"].roster.leave()
    assert world.members["a"].roster.has_left
