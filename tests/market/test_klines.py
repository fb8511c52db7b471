import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.intervals import SPOT_INTERVALS, next_open_time, open_time
from market.klines import (
    BLOCK_ROWS,
    LATEST_MS,
    PROOF_ROWS,
    Row,
    Stretch,
    block_number,
    block_start,
    decode_rows,
    encode_rows,
)

MINUTE_MS = 60_000
INTERVALS = st.sampled_from(sorted(SPOT_INTERVALS))


def rows(*opens_ms: int) -> tuple[Row, ...]:
    return tuple(Row(open_ms, b'[%d,"1.0"]' % open_ms) for open_ms in opens_ms)


@given(INTERVALS, st.integers(0, LATEST_MS))
def test_every_moment_belongs_to_the_one_block_that_surrounds_it(interval: str, at_ms: int) -> None:
    number = block_number(interval, at_ms)
    assert number >= 0
    assert block_start(interval, number) <= at_ms < block_start(interval, number + 1)


@given(INTERVALS, st.integers(0, LATEST_MS))
def test_a_candle_is_in_one_block_and_a_block_has_room_for_its_candles(interval: str, at_ms: int) -> None:
    number = block_number(interval, at_ms)
    start_ms = block_start(interval, number)
    assert open_time(interval, start_ms) == start_ms
    opens_ms = start_ms
    for _ in range(BLOCK_ROWS):
        opens_ms = next_open_time(interval, opens_ms)
    assert opens_ms == block_start(interval, number + 1)


@pytest.mark.parametrize("body", [b"[]", b'[[1,"2"]]', b'[[1,"2",3],[4,"5",6]]'])
def test_rows_keep_the_bytes_of_the_exchange(body: bytes) -> None:
    assert encode_rows(decode_rows(body)) == body


def test_blanks_between_rows_do_no_harm() -> None:
    assert decode_rows(b'[ [1, "2"],\n [4, "5"] ]') == (Row(1, b'[1, "2"]'), Row(4, b'[4, "5"]'))


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[[]]", b'[["x",1]]', b"[[1,2]", b'{"code":-1121}', b"\xff"])
def test_what_is_no_answer_to_klines_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # msgspec's or int's, whatever the body lacks
        decode_rows(body)


def test_a_block_is_closed_when_a_candle_after_its_successor_has_opened() -> None:
    end_ms = BLOCK_ROWS * MINUTE_MS
    opens_ms = range(0, end_ms + PROOF_ROWS * MINUTE_MS, MINUTE_MS)
    block = Stretch.of_block("1m", 0, rows(*opens_ms))
    assert (len(block.rows), block.later_ms, block.closed) == (BLOCK_ROWS, end_ms, True)
    assert not Stretch.of_block("1m", 0, rows(*opens_ms[:-1])).closed
    still_open = Stretch.of_block("1m", 0, rows(*opens_ms[:-2]))
    assert (still_open.later_ms, still_open.closed) == (None, False)


def test_a_block_with_gaps_is_closed_by_any_later_candle() -> None:
    later_ms = 7 * BLOCK_ROWS * MINUTE_MS
    block = Stretch.of_block("1m", 0, rows(0, 5 * MINUTE_MS, later_ms))
    assert (block.rows, block.later_ms, block.closed) == (rows(0, 5 * MINUTE_MS), later_ms, True)
    empty = Stretch.of_block("1m", 3, rows(later_ms))
    assert (empty.rows, empty.later_ms, empty.closed) == ((), later_ms, True)


@given(st.lists(st.integers(0, LATEST_MS), unique=True), st.none() | st.integers(0, LATEST_MS))
def test_a_closed_stretch_survives_its_encoding(opens_ms: list[int], later_ms: int | None) -> None:
    stretch = Stretch(rows(*sorted(opens_ms)), later_ms, closed=True)
    assert Stretch.decode(stretch.encode()) == stretch


@pytest.mark.parametrize("body", [b"", b"[]", b"[1]", b'["x",[]]', b"[1,[2]]"])
def test_what_is_no_stretch_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # msgspec's or int's, whatever the body lacks
        Stretch.decode(body)
