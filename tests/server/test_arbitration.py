"""The arbiters themselves: copies in, one sequence out."""

from collections.abc import Sequence

import pytest

from market.messages import Message
from market.streams import StreamName
from server.arbiter import EPOCH_S, MAX_HELD, Figures, Hole
from server.arbitration import RECENT_S, arbiter_of

MINUTE = 60_000
OPEN = 1_723_161_240_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Stream:
    """One stream's arbiter, and everything that it has handed on."""

    def __init__(self, text: str) -> None:
        self.name = StreamName.parse(text)
        self.figures = Figures()
        self.clock = Clock()
        self.epochs = 0
        self.arbiter = arbiter_of(self.name, self.figures, self._note_epoch, self.clock)
        self.out: list[Message] = []

    def _note_epoch(self) -> None:
        self.epochs += 1

    @property
    def cursors(self) -> list[int]:
        return [message.cursor for message in self.out]

    def message(self, cursor: int, payload: bytes = b"", received_us: int = 1) -> Message:
        return Message(self.name, cursor, received_us, payload)

    def take(self, *messages: Message) -> None:
        for message in messages:
            self.out += self.arbiter.take(message)

    def take_ids(self, *cursors: int) -> None:
        self.take(*map(self.message, cursors))

    def missing(self) -> Hole | None:
        return self.arbiter.hole

    def pass_over(self) -> None:
        self.out += self.arbiter.pass_over()


def depth(stream: Stream, first: int, last: int, previous: int = 0) -> Message:
    levels = b'"b":[["1","2"]],"a":[]'
    before = b'"pu":%d,' % previous if previous else b""
    body = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":%d,"u":%d,%b%b}' % (first, last, before, levels)
    return stream.message(last, body)


def kline(stream: Stream, event_ms: int, open_ms: int, *, closed: bool = False, text: bytes = b"1") -> Message:
    body = b'{"e":"kline","E":%d,"s":"BTCUSDT","k":{"t":%d,"T":%d,"c":"%b","x":%b}}'
    end = b"true" if closed else b"false"
    return stream.message(event_ms, body % (event_ms, open_ms, open_ms + MINUTE - 1, text, end))


@pytest.mark.parametrize("text", ["btcusdt@trade", "btcusdt@aggTrade", "futures:btcusdt@aggTrade", "btcusdt@ticker"])
def test_the_first_copy_of_a_message_wins(text: str) -> None:
    stream = Stream(text)
    for cursor in range(5, 10):
        stream.take(stream.message(cursor, b"x%d" % cursor, 1), stream.message(cursor, b"x%d" % cursor, 2))
    assert [(message.cursor, message.received_us) for message in stream.out] == [(n, 1) for n in range(5, 10)]
    assert stream.figures.duplicates_total == 5


def test_a_copy_that_is_behind_is_dropped_as_a_whole() -> None:
    stream = Stream("btcusdt@trade")
    stream.take_ids(1, 2, 3, 4, 1, 2, 3, 5, 4, 5, 6)
    assert stream.cursors == [1, 2, 3, 4, 5, 6]


def test_different_payloads_of_one_event_time_all_come_once() -> None:
    stream = Stream("futures:!markPrice@arr")
    bodies = [b"[1]", b"[2]", b"[1]", b"[2]", b"[3]", b"[2]", b"[1]"]
    stream.take(*(stream.message(7, body) for body in bodies))
    assert [message.payload for message in stream.out] == [b"[1]", b"[2]", b"[3]"]
    stream.take(stream.message(8, b"[1]"))
    assert stream.cursors == [7, 7, 7, 8]


def test_an_older_state_is_late() -> None:
    stream = Stream("btcusdt@bookTicker")
    stream.take_ids(5, 4, 6, 5)
    assert stream.cursors == [5, 6]
    assert stream.figures.late_total == 2


def test_a_trade_that_leaves_a_hole_waits_for_the_other_copy() -> None:
    stream = Stream("btcusdt@trade")
    stream.take_ids(1, 2, 5, 6, 9)
    assert stream.cursors == [1, 2]
    assert stream.missing() == (3, 4, 2, 2, 4)
    stream.take_ids(3, 4)
    assert stream.cursors == [1, 2, 3, 4, 5, 6]
    assert stream.missing() == (7, 8, 6, 2, 8)
    stream.take_ids(8, 7)
    assert stream.cursors == list(range(1, 10))
    assert stream.missing() is None
    assert stream.figures.held_total == 4


def test_a_hole_that_stays_is_passed_over_and_what_comes_of_it_then_is_late() -> None:
    stream = Stream("btcusdt@aggTrade")
    stream.take_ids(1, 3, 4, 6)
    stream.pass_over()
    assert stream.cursors == [1, 3, 4]
    stream.pass_over()
    stream.take_ids(5, 7)
    assert stream.cursors == [1, 3, 4, 6, 7]
    assert stream.figures.late_total == 1
    stream.pass_over()  # there is no hole any more
    assert stream.cursors == [1, 3, 4, 6, 7]


def test_a_repair_fills_a_hole_and_counts_what_it_brought() -> None:
    stream = Stream("btcusdt@aggTrade")
    stream.take_ids(1, 5)
    stream.take_ids(2)
    stream.out += stream.arbiter.fill([stream.message(n, b"repaired") for n in (2, 3, 4)])
    assert stream.cursors == [1, 2, 3, 4, 5]
    assert stream.figures.repaired_total == 2
    assert stream.arbiter.fill([stream.message(6)]) == []  # nothing was missing


def test_a_message_that_waits_in_two_forms_is_handed_on_once() -> None:
    stream = Stream("btcusdt@trade")
    stream.take_ids(1, 5)
    stream.out += stream.arbiter.fill([stream.message(n, b"repaired") for n in (3, 5)])
    stream.pass_over()
    stream.pass_over()
    assert stream.cursors == [1, 3, 5]
    assert stream.missing() is None


def test_depth_that_waits_and_is_overtaken_is_dropped() -> None:
    stream = Stream("btcusdt@depth@100ms")
    stream.take(depth(stream, 1, 10), depth(stream, 31, 40), depth(stream, 11, 45), depth(stream, 46, 50))
    assert stream.cursors == [10, 45, 50]
    assert stream.missing() is None


def test_what_waits_is_bounded() -> None:
    stream = Stream("btcusdt@trade")
    stream.take_ids(1, *range(3, 2 * MAX_HELD))
    assert stream.arbiter.is_full
    stream.pass_over()
    assert stream.cursors == [1, *range(3, MAX_HELD + 3)]


def test_spot_depth_follows_by_its_first_update_id() -> None:
    stream = Stream("btcusdt@depth@100ms")
    stream.take(depth(stream, 1, 10), depth(stream, 11, 20), depth(stream, 31, 40), depth(stream, 15, 25))
    assert stream.cursors == [10, 20, 25]
    assert stream.missing() == (26, 30, 25, 5, 30)
    stream.take(depth(stream, 21, 30))
    assert stream.cursors == [10, 20, 25, 30, 40]


def test_futures_depth_follows_by_the_update_id_before() -> None:
    stream = Stream("futures:btcusdt@depth@100ms")
    stream.take(depth(stream, 3, 10, 1), depth(stream, 14, 20, 10), depth(stream, 33, 40, 30))
    assert stream.cursors == [10, 20]
    stream.take(depth(stream, 25, 30, 20))
    assert stream.cursors == [10, 20, 30, 40]


def test_the_ids_of_futures_executions_that_are_no_trades_are_not_missed() -> None:
    stream = Stream("futures:btcusdt@trade")
    stream.take_ids(1, 2, 4, 7, 11)
    assert stream.cursors == [1, 2, 4, 7]
    assert stream.missing() is not None


def test_liquidations_come_in_the_order_in_which_they_come_each_once() -> None:
    stream = Stream("!forceOrder@arr")
    bodies = [(9, b"a"), (8, b"b"), (9, b"a"), (9, b"c"), (8, b"b"), (7, b"d")]
    stream.take(*(stream.message(cursor, body) for cursor, body in bodies))
    assert [message.payload for message in stream.out] == [b"a", b"b", b"c", b"d"]
    stream.clock.now += RECENT_S
    stream.take(stream.message(9, b"a"))
    assert [message.payload for message in stream.out][4:] == [b"a"]  # a replay that began anew


def test_a_candle_waits_until_the_one_before_was_seen_closed() -> None:
    stream = Stream("btcusdt@kline_1m")
    close = kline(stream, OPEN + MINUTE, OPEN, closed=True)
    stream.take(
        kline(stream, OPEN + 2_000, OPEN),
        kline(stream, OPEN + 4_000, OPEN),
        kline(stream, OPEN + MINUTE + 2_000, OPEN + MINUTE),
        kline(stream, OPEN + MINUTE + 4_000, OPEN + MINUTE),
    )
    assert len(stream.out) == 2
    assert stream.missing() == (OPEN, OPEN, OPEN + 4_000, 1, OPEN + MINUTE + 1_999)
    stream.take(close)
    assert stream.cursors == [OPEN + n for n in (2_000, 4_000, MINUTE, MINUTE + 2_000, MINUTE + 4_000)]
    assert stream.out[2] is close
    stream.take(close, kline(stream, OPEN + 4_000, OPEN))
    assert len(stream.out) == 5


def test_a_candle_whose_other_copy_went_past_it_while_it_was_held_comes_once() -> None:
    stream = Stream("btcusdt@kline_1m")
    # Over REST a candle is seen open before the end of the one before it, which has a later event time, comes.
    close = kline(stream, OPEN + 2 * MINUTE + 30, OPEN + MINUTE, closed=True)
    stream.take(
        kline(stream, OPEN + 1, OPEN),
        kline(stream, OPEN + MINUTE + 1, OPEN + MINUTE),
        kline(stream, OPEN + 2 * MINUTE + 1, OPEN + 2 * MINUTE),
        close,
        kline(stream, OPEN + MINUTE, OPEN, closed=True),
        close,
        close,
    )
    assert stream.cursors == [OPEN + 1, OPEN + MINUTE, OPEN + MINUTE + 1, OPEN + 2 * MINUTE + 30]


def test_nothing_more_comes_of_a_candle_that_was_seen_closed() -> None:
    stream = Stream("btcusdt@kline_1m")
    polled = kline(stream, OPEN + MINUTE, OPEN, closed=True, text=b"poll")
    streamed = kline(stream, OPEN + MINUTE + 30, OPEN, closed=True)
    tied = kline(stream, OPEN + MINUTE, OPEN, closed=True)
    stream.take(kline(stream, OPEN + 2_000, OPEN), polled, tied, streamed, kline(stream, OPEN + MINUTE + 40, OPEN))
    stream.take(kline(stream, OPEN + MINUTE + 50, OPEN + MINUTE))
    assert stream.cursors == [OPEN + 2_000, OPEN + MINUTE, OPEN + MINUTE + 50]


def test_every_candle_that_was_left_out_is_missed() -> None:
    stream = Stream("btcusdt@kline_1m")
    stream.take(kline(stream, OPEN + MINUTE, OPEN, closed=True))
    stream.take(kline(stream, OPEN + 4 * MINUTE + 1, OPEN + 4 * MINUTE))
    assert stream.missing() == (OPEN + MINUTE, OPEN + 3 * MINUTE, OPEN + MINUTE, 3, OPEN + 4 * MINUTE)
    repaired = [kline(stream, OPEN + n * MINUTE, OPEN + (n - 1) * MINUTE, closed=True) for n in (2, 3, 4)]
    stream.out += stream.arbiter.fill(repaired)
    assert stream.cursors == [OPEN + MINUTE * n for n in (1, 2, 3, 4)] + [OPEN + 4 * MINUTE + 1]
    assert stream.figures.repaired_total == 3


def test_a_candle_older_than_the_latest_is_late_whatever_its_event_time() -> None:
    stream = Stream("btcusdt@kline_1m")
    stream.take(kline(stream, OPEN + MINUTE + 1, OPEN + MINUTE), kline(stream, OPEN + MINUTE + 9, OPEN, closed=True))
    assert len(stream.out) == 1
    assert stream.figures.late_total == 1


@pytest.mark.parametrize("text", ["btcusdt@trade", "btcusdt@miniTicker"])
def test_ids_that_begin_anew_are_followed_after_a_while(text: str) -> None:
    stream = Stream(text)
    stream.take_ids(100, 101)
    for cursor in range(1, 10):
        stream.take_ids(cursor)
        stream.clock.now += EPOCH_S / 6
    assert stream.cursors == [100, 101, 7, 8, 9]
    assert (stream.epochs, stream.figures.epochs_total) == (1, 1)


def test_a_copy_that_catches_up_in_a_burst_is_no_new_epoch() -> None:
    stream = Stream("btcusdt@trade")
    stream.take_ids(*range(1, 200))
    stream.clock.now += 60  # the other copy was stopped; the first one died meanwhile
    stream.take_ids(*range(50, 205))
    assert stream.cursors == list(range(1, 205))
    assert stream.epochs == 0


@pytest.mark.parametrize("text", ["btcusdt@trade", "btcusdt@miniTicker"])
def test_a_copy_that_goes_on_where_it_was_before_a_pause_of_the_bus_is_no_new_epoch(text: str) -> None:
    stream = Stream(text)
    stream.take_ids(*range(90, 101))
    stream.take_ids(95)
    stream.clock.now += 0.1
    stream.take_ids(96)
    stream.clock.now += 60
    stream.take_ids(97, 98, 99, 100, 101)
    assert stream.cursors == list(range(90, 102))
    assert stream.epochs == 0


def test_payloads_that_tell_nothing_of_their_place_are_handed_on_by_cursor() -> None:
    for text in ("btcusdt@depth", "futures:btcusdt@depth", "btcusdt@kline_1m", "btcusdt@trade"):
        stream = Stream(text)
        bodies: Sequence[bytes] = (b"{}", b"", b"bad", b'{"k":{"t":"x"}}')
        stream.take(*(stream.message(n, body) for n, body in enumerate(bodies, start=1)))
        assert stream.cursors == [1, 2, 3, 4]
