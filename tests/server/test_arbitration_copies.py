"""Any interleaving of two copies, each lossy, delayed and in order, gives one sequence that lacks what both lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from market.messages import Message
from market.streams import StreamName
from server.arbiter import Figures
from server.arbitration import arbiter_of

LENGTH = 40
MINUTE = 60_000
OPEN = 1_723_161_240_000
PER_CANDLE = 4

COPIES = st.tuples(
    st.sets(st.integers(0, LENGTH - 1), max_size=LENGTH // 3),
    st.sets(st.integers(0, LENGTH - 1), max_size=LENGTH // 3),
)
"""Which messages each of two copies has lost."""
TURNS = st.lists(st.booleans(), min_size=2 * LENGTH, max_size=2 * LENGTH)
"""Whose message comes next."""


def trade(at: int, copy: int) -> Message:
    return Message(StreamName.parse("btcusdt@trade"), 1_000 + at, copy, b'{"t":%d}' % (1_000 + at))


def spot_depth(at: int, copy: int) -> Message:
    body = b'{"e":"depthUpdate","U":%d,"u":%d,"b":[],"a":[]}' % (3 * at + 1, 3 * at + 3)
    return Message(StreamName.parse("btcusdt@depth"), 3 * at + 3, copy, body)


def futures_depth(at: int, copy: int) -> Message:
    body = b'{"e":"depthUpdate","U":%d,"u":%d,"pu":%d,"b":[],"a":[]}' % (9 * at + 5, 9 * at + 9, 9 * at)
    return Message(StreamName.parse("futures:btcusdt@depth"), 9 * at + 9, copy, body)


def kline(at: int, copy: int) -> Message:
    candle, part = divmod(at, PER_CANDLE)
    opened = OPEN + candle * MINUTE
    closed = part == PER_CANDLE - 1
    event_ms = opened + (MINUTE if closed else 1 + part * 2_000)
    body = b'{"e":"kline","E":%d,"k":{"t":%d,"T":%d,"x":%b}}' % (
        event_ms,
        opened,
        opened + MINUTE - 1,
        b"true" if closed else b"false",
    )
    return Message(StreamName.parse("btcusdt@kline_1m"), event_ms, copy, body)


def interleaved(lost: tuple[set[int], set[int]], turns: list[bool]) -> list[tuple[int, int]]:
    """What arrives: (index, copy), each copy in its order."""
    left = [[at for at in range(LENGTH) if at not in lost[copy]] for copy in (0, 1)]
    arrived = []
    for second in turns:
        copy = int(second)
        if left[copy]:
            arrived.append((left[copy].pop(0), copy))
    return arrived + [(at, copy) for copy in (0, 1) for at in left[copy]]


@settings(max_examples=400, deadline=None)
@given(lost=COPIES, turns=TURNS, which=st.sampled_from([trade, spot_depth, futures_depth]))
def test_two_copies_of_a_sequence_make_one_that_lacks_only_what_both_lost(
    lost: tuple[set[int], set[int]], turns: list[bool], which: object
) -> None:
    assert callable(which)
    arrived = interleaved(lost, turns)
    figures = Figures()
    arbiter = arbiter_of(which(0, 0).stream, figures, lambda: None, lambda: 0.0)
    handed_on = [message.cursor for at, copy in arrived for message in arbiter.take(which(at, copy))]
    gaps = 0
    while arbiter.hole is not None:  # both copies are through: what is missing now is lost
        gaps += 1
        handed_on += [message.cursor for message in arbiter.pass_over()]
    begin = arrived[0][0]
    both_lost = {at for at in lost[0] & lost[1] if at > begin}
    received = sorted({at for at, _ in arrived if at >= begin})
    assert handed_on == [which(at, 0).cursor for at in received]
    assert gaps == len({at for at in both_lost if at - 1 not in both_lost and at < received[-1]})


@settings(max_examples=400, deadline=None)
@given(lost=COPIES, turns=TURNS)
def test_two_copies_of_klines_show_every_close_that_either_brought_and_never_go_back(
    lost: tuple[set[int], set[int]], turns: list[bool]
) -> None:
    arrived = interleaved(lost, turns)
    arbiter = arbiter_of(kline(0, 0).stream, Figures(), lambda: None, lambda: 0.0)
    handed_on = [message for at, copy in arrived for message in arbiter.take(kline(at, copy))]
    while arbiter.hole is not None:
        handed_on += arbiter.pass_over()
    cursors = [message.cursor for message in handed_on]
    assert cursors == sorted(set(cursors))
    closes = [at for at in range(LENGTH) if at % PER_CANDLE == PER_CANDLE - 1 and at >= arrived[0][0]]
    expected = {kline(at, 0).cursor for at in closes if at not in lost[0] & lost[1]}
    assert {message.cursor for message in handed_on if b"true" in message.payload} == expected
