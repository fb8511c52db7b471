from hypothesis import given
from hypothesis import strategies as st

from market.messages import Message
from market.ring import Ring
from market.streams import StreamName

TRADES = StreamName.parse("btcusdt@trade")
SECOND_US = 1_000_000


def message(cursor: int, at_s: float = 0, size: int = 10) -> Message:
    return Message(TRADES, cursor, int(at_s * SECOND_US), b"x" * size)


@given(st.integers(1, 60), st.integers(0, 70))
def test_what_came_after_a_remembered_message_is_told_exactly(count: int, asked: int) -> None:
    ring = Ring()
    sent = [message(cursor) for cursor in range(1, count + 1)]
    for each in sent:
        ring.append(each)
    expected = sent[asked:] if 1 <= asked <= count else None
    assert ring.since(asked) == expected


def test_messages_are_forgotten_by_age() -> None:
    now = 0.0
    ring = Ring(seconds=10, clock=lambda: now)
    for at_s in range(20):
        now = float(at_s)
        ring.append(message(at_s))
    assert len(ring) == 11
    assert ring.since(8) is None
    assert [each.cursor for each in ring.since(17) or ()] == [18, 19]


def test_messages_of_ingestors_whose_clocks_are_apart_are_remembered_alike() -> None:
    ring = Ring(seconds=10)
    for cursor in range(20):
        ring.append(message(cursor, 3_600 * (cursor % 2)))
    assert [each.cursor for each in ring.since(0) or ()] == list(range(1, 20))


def test_what_was_remembered_elsewhere_is_forgotten_with_the_oldest_that_came_here() -> None:
    now = 0.0
    ring = Ring(seconds=10, clock=lambda: now)
    ring.append(message(3))
    now = 5.0
    ring.prepend([message(1), message(2)])
    assert [each.cursor for each in ring.since(1) or ()] == [2, 3]
    now = 11.0
    ring.append(message(4))
    assert (len(ring), ring.since(3)) == (1, None)


def test_messages_are_forgotten_by_size() -> None:
    ring = Ring(limit_bytes=10_000)
    for cursor in range(100):
        ring.append(message(cursor, size=1_000))
    assert 1 <= len(ring) <= 10


def test_where_two_messages_share_a_cursor_nothing_is_promised() -> None:
    ring = Ring()
    for cursor in (1, 2, 2, 3):
        ring.append(message(cursor))
    assert ring.since(2) is None
    assert [each.cursor for each in ring.since(1) or ()] == [2, 2, 3]
