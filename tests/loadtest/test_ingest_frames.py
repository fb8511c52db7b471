"""Recorded frames sent again: the bytes of now in a frame that any client reads."""

import gzip
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from loadtest.bench.ingest_frames import frame_of, read_frames

NOW_US = 1_763_740_800_123_456
TRADE = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"s":"BTCUSDT","t":2,"p":"3.10","q":"4","T":5,"m":true}}'
DIFF = b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"U":2,"u":3,"b":[["1.5","0"]],"a":[]}}'


def received(data: bytes) -> list[Frame]:
    client = Protocol(CLIENT)
    client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)]


def test_times_become_the_moment_and_ids_its_microseconds() -> None:
    (frame,) = received(frame_of("btcusdt@trade", TRADE).at(NOW_US))
    assert frame.opcode is Opcode.TEXT
    assert frame.data == TRADE.replace(b'"E":1', b'"E":1763740800123').replace(b'"T":5', b'"T":1763740800123').replace(
        b'"t":2', b'"t":1763740800123456'
    )


def test_update_ids_of_a_diff_are_the_moment_too() -> None:
    (frame,) = received(frame_of("btcusdt@depth@100ms", DIFF).at(NOW_US))
    assert b'"U":1763740800123456,"u":1763740800123456,"b":[["1.5","0"]]' in bytes(frame.data)


@pytest.mark.parametrize("filler", [0, 37, 200, 70_000])
def test_frames_of_any_length_follow_one_another(filler: int) -> None:
    frame = frame_of("s", b'{"stream":"s","data":{"u":1,"x":"100%%%s"}}' % (b"%" * filler))
    texts = [bytes(one.data) for one in received(frame.at(NOW_US) + frame.at(NOW_US + 1))]
    assert [text[:50].partition(b'"u":')[2][:16] for text in texts] == [b"1763740800123456", b"1763740800123457"]
    assert all(text.endswith(b"%" * (filler + 1) + b'"}}') for text in texts)


def test_a_recording_is_read_in_order_without_what_is_no_stream(tmp_path: Path) -> None:
    path = tmp_path / "some.ndjson.gz"
    lines = [
        b'{"ts":1,"market":"spot","conn":"/stream","raw":%s}' % raw for raw in (TRADE, b'{"lastUpdateId":1}', DIFF)
    ]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    assert [frame.name for frame in read_frames([path])] == ["btcusdt@trade", "btcusdt@depth@100ms"]
