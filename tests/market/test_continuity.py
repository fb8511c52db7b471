import gzip
import json
from pathlib import Path

import pytest

from market.continuity import (
    CandleState,
    candle_of,
    follows,
    is_sequenced,
    is_unordered,
    missing_candles,
    past_before,
    unbroken,
)
from market.cursors import cursor_of
from market.messages import Message
from market.streams import StreamName

TRADES = StreamName.parse("btcusdt@trade")
LIQUIDATIONS = StreamName.parse("!forceOrder@arr")
MINUTE = 60_000


def message(cursor: int, received_us: int = 0, payload: bytes = b"{}") -> Message:
    return Message(TRADES, cursor, received_us, payload)


@pytest.mark.parametrize("name", ["spot-btc-eth-20240808", "futures-btc-eth-20240808"])
def test_recorded_sessions_follow_each_other_without_a_break(recordings: Path, name: str) -> None:
    last: dict[str, int] = {}
    checked = 0
    with gzip.open(recordings / "ws" / f"{name}.ndjson.gz") as lines:
        for line in lines:
            raw = json.loads(line)["raw"]
            body = json.loads(raw) if isinstance(raw, str) else raw
            if "stream" not in body:
                continue  # a REST snapshot
            stream = StreamName.parse(f"{name.partition('-')[0]}:{body['stream']}")
            if not is_sequenced(stream):
                continue
            payload = json.dumps(body["data"], separators=(",", ":")).encode()
            made = Message(stream, cursor_of(stream, payload), 0, payload)
            if body["stream"] in last:
                assert follows(stream, made, last[body["stream"]]), payload[:100]
                assert not follows(stream, made, last[body["stream"]] - 5), payload[:100]
                checked += 1
            last[body["stream"]] = made.cursor
            if checked >= 8_000:
                break
    assert checked > 3_000


def test_which_streams_tell_of_their_order() -> None:
    for text in ("btcusdt@trade", "btcusdt@aggTrade", "btcusdt@depth@100ms", "futures:btcusdt@depth"):
        assert is_sequenced(StreamName.parse(text))
    for text in ("btcusdt@ticker", "btcusdt@depth5", "btcusdt@forceOrder", "btcusdt@book", "btcusdt@kline_1m"):
        assert not is_sequenced(StreamName.parse(text))
    for text in ("!forceOrder@arr", "btcusdt@forceOrder", "!bookTicker"):
        assert is_unordered(StreamName.parse(text))
    for text in ("btcusdt@bookTicker", "!miniTicker@arr", "btcusdt@trade"):
        assert not is_unordered(StreamName.parse(text))


def test_a_sequence_is_unbroken_where_each_is_the_next_one() -> None:
    assert unbroken(TRADES, [message(n) for n in (3, 4, 5)])
    assert not unbroken(TRADES, [message(n) for n in (3, 5)])
    assert not unbroken(TRADES, [message(n) for n in (3, 3, 4)])
    assert unbroken(LIQUIDATIONS, [message(n) for n in (9, 3)])


def test_the_update_ids_are_found_wherever_they_stand() -> None:
    depth = StreamName.parse("futures:btcusdt@depth")
    for body in (b'{"pu":7,"U":9,"u":9}', b'{"x":"%b","pu":7}' % (b"y" * 500), b'{ "pu" : 7 }'):
        made = Message(depth, 9, 0, body)
        assert follows(depth, made, 7)
        assert not follows(depth, made, 6)


def test_a_past_that_two_ingestors_received_at_different_times_is_cut_where_it_meets() -> None:
    past = [message(n, received_us=1_000 + 10 * n) for n in range(1, 6)]
    oldest = message(4, received_us=1_005)  # received sooner, by the other ingestor
    assert past_before(TRADES, past, oldest) == past[:3]
    assert past_before(TRADES, past[:3], oldest) == past[:3]
    assert past_before(TRADES, past, None) == past


def test_a_past_that_does_not_lead_up_to_what_is_known_is_none() -> None:
    past = [message(n) for n in (1, 2)]
    assert list(past_before(TRADES, past, message(4))) == []
    assert list(past_before(TRADES, [message(1), message(3)], message(4))) == []


def test_the_state_of_a_candle_is_read_from_whatever_has_one() -> None:
    assert candle_of(b'{"e":"kline","k":{"t":60000,"T":119999, "x":true}}') == CandleState(60_000, closed=True)
    for body in (b"{}", b"", b'{"k":{"t":"1"}}', b"\xff"):
        assert candle_of(body) is None


def test_candles_are_missing_until_they_were_seen_closed() -> None:
    def missing(known: tuple[int, bool], new: int, option: str = "1m") -> list[int]:
        opens = missing_candles(option, CandleState(*known), CandleState(new, closed=False))
        return [at // MINUTE for at in opens]

    assert missing((0, True), MINUTE) == []
    assert missing((0, False), 0) == []
    assert missing((0, False), MINUTE) == [0]
    assert missing((0, False), 3 * MINUTE) == [0, 1, 2]
    assert missing((0, True), 3 * MINUTE) == [1, 2]
    assert len(missing((0, True), 10**12)) == 1_000
    day = 24 * 60
    shifted = [at * day - 8 * 60 for at in range(3)]  # days of Beijing begin at 16:00 UTC
    assert missing((shifted[0] * MINUTE, False), shifted[2] * MINUTE, "1d@+08:00") == shifted[:2]
