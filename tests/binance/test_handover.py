import pytest
from hypothesis import given
from hypothesis import strategies as st

from binance import handover as module
from binance.handover import LONGEST_OVERLAP_S, OVERLAP_S, Handover
from market.streams import StreamName

A, B = StreamName.parse("btcusdt@trade"), StreamName.parse("ethusdt@trade")


def _payload(number: int) -> bytes:
    return b'{"t":%d}' % number


class _Play:
    """One handover; what is passed on, in order."""

    def __init__(self) -> None:
        self.handover = Handover()
        self.passed: list[tuple[StreamName, bytes]] = []

    def old(self, stream: StreamName, number: int) -> None:
        self.handover.note_old(stream, _payload(number))
        self.passed.append((stream, _payload(number)))

    def new(self, stream: StreamName, number: int) -> None:
        self.handover.hold(stream, _payload(number), number)

    def cut(self) -> list[tuple[StreamName, bytes]]:
        self.passed += [(stream, payload) for stream, payload, _ in self.handover.cut()]
        return self.passed


def test_the_successor_goes_on_exactly_where_the_predecessor_stopped() -> None:
    play = _Play()
    for number in (1, 2, 3):
        play.old(A, number)
    for number in (2, 3, 4, 5):
        play.new(A, number)
    assert play.cut() == [(A, _payload(number)) for number in range(1, 6)]


def test_each_stream_has_its_own_cut() -> None:
    play = _Play()
    play.old(A, 1)
    play.old(B, 7)
    for stream, number in ((A, 1), (B, 6), (A, 2), (B, 7), (B, 8)):
        play.new(stream, number)
    assert play.cut()[2:] == [(A, _payload(2)), (B, _payload(8))]


def test_a_stream_that_only_the_successor_delivers_is_passed_on_whole() -> None:
    play = _Play()
    play.new(A, 1)
    play.new(A, 2)
    assert play.cut() == [(A, _payload(1)), (A, _payload(2))]


def test_a_predecessor_that_is_ahead_costs_second_copies_and_no_message() -> None:
    play = _Play()
    for number in (1, 2, 3):
        play.old(A, number)
    play.new(A, 2)
    assert play.cut() == [(A, _payload(number)) for number in (1, 2, 3, 2)]


def test_what_is_held_is_bounded_and_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 3)
    play = _Play()
    for number in range(5):
        play.new(A, number)
    assert play.handover.let_go_total == 2
    assert play.cut() == [(A, _payload(number)) for number in (2, 3, 4)]


def test_nothing_is_over_before_the_successor_has_all_streams_and_time_has_passed() -> None:
    handover = Handover()
    assert not handover.is_complete(100.0, settled=False, caught_up=True)
    assert not handover.is_complete(101.0, settled=True, caught_up=True)
    assert not handover.is_complete(101.0 + OVERLAP_S / 2, settled=True, caught_up=True)
    assert handover.is_complete(101.0 + OVERLAP_S, settled=True, caught_up=True)


def test_a_successor_must_deliver_what_the_predecessor_delivers_for_a_bounded_time() -> None:
    handover = Handover()
    handover.note_old(B, _payload(1))
    handover.is_complete(0.0, settled=True, caught_up=True)
    handover.note_old(A, _payload(1))
    assert not handover.is_complete(OVERLAP_S + 1, settled=True, caught_up=True)
    handover.hold(A, _payload(1), 0)
    assert handover.is_complete(OVERLAP_S + 1, settled=True, caught_up=True)
    silent = Handover()
    silent.is_complete(0.0, settled=True, caught_up=True)
    silent.note_old(A, _payload(1))
    assert not silent.is_complete(LONGEST_OVERLAP_S - 1, settled=True, caught_up=True)
    assert silent.is_complete(LONGEST_OVERLAP_S, settled=True, caught_up=True)


def test_a_predecessor_that_lags_is_waited_for() -> None:
    handover = Handover()
    handover.is_complete(0.0, settled=True, caught_up=False)
    assert not handover.is_complete(LONGEST_OVERLAP_S - 1, settled=True, caught_up=False)
    assert handover.is_complete(LONGEST_OVERLAP_S - 1, settled=True, caught_up=True)
    assert handover.is_complete(LONGEST_OVERLAP_S, settled=True, caught_up=False)


@given(
    joins=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    order=st.lists(st.sampled_from([(A, "old"), (A, "new"), (B, "old"), (B, "new")]), max_size=80),
)
def test_any_interleaving_of_the_two_copies_loses_nothing_and_keeps_the_order(
    joins: tuple[int, int], order: list[tuple[StreamName, str]]
) -> None:
    play = _Play()
    # Before the successor joined a stream, the predecessor had delivered up to `joins`, or will yet.
    position = {(A, "old"): 1, (B, "old"): 1, (A, "new"): joins[0], (B, "new"): joins[1]}
    for stream, which in order:
        (play.old if which == "old" else play.new)(stream, position[stream, which])
        position[stream, which] += 1
    passed = play.cut()
    for stream, joined in ((A, joins[0]), (B, joins[1])):
        old_end, new_end = position[stream, "old"], position[stream, "new"]
        if old_end < joined:
            continue  # a real overlap ends later: the predecessor has not come to where the successor joined
        kept: list[bytes] = []
        for number in (payload for of, payload in passed if of == stream):
            if not kept or number not in kept:
                kept.append(number)
        assert kept == [_payload(number) for number in range(1, max(old_end, new_end))]
        if old_end <= new_end:
            assert len(kept) == sum(of == stream for of, _ in passed)  # no second copies at all
