import gzip
from pathlib import Path

import msgspec
import pytest

from binance.frames import Control, Reply, ServerShutdown, is_void_trade, parse_control, slice_frame


class _Line(msgspec.Struct):
    conn: str
    raw: msgspec.Raw


class _Combined(msgspec.Struct):
    stream: str
    data: msgspec.Raw


def test_a_frame_is_sliced_into_name_and_payload() -> None:
    payload = b'{"e":"trade","s":"BTCUSDT","x":[{"data":1}]}'
    assert slice_frame(b'{"stream":"btcusdt@trade","data":' + payload + b"}") == (b"btcusdt@trade", payload)


@pytest.mark.parametrize(
    "frame",
    [
        b'{"data":{"a":1},"stream":"x@trade"}',
        b'{ "stream" : "x@trade" , "data" : {"a":1} }',
        b'{"stream":"x@trade","data":{"a":1}}\n',
        b'{"stream":"\\u0078@trade","data":{"a":1}}',
        b'{"stream":"x@trade","data":{"a":1},"n":1}',
    ],
)
def test_unusual_shapes_are_decoded(frame: bytes) -> None:
    assert slice_frame(frame) == (b"x@trade", b'{"a":1}')


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{}",
        b"}}",
        b"[]",
        b'{"result":null,"id":1}',
        b'{"stream":"x}}',
        b'{"stream":"a"b","data":{}}',
        b'{"stream":1,"data":{}}',
        b'\xff\xfe{"stream":"',
    ],
)
def test_what_is_no_combined_frame_is_told_apart(frame: bytes) -> None:
    assert slice_frame(frame) is None


@pytest.mark.parametrize(
    ("frame", "control"),
    [
        (b'{"result":null,"id":1}', Reply(1)),
        (b'{"result":["a@trade"],"id":"x"}', Reply("x")),
        (b'{"error":{"code":2,"msg":"no"},"id":4}', Reply(4, (2, "no"))),
        (b'{"error":{"code":3,"msg":"Invalid JSON"},"id":null}', Reply(None, (3, "Invalid JSON"))),
        (b'{"code":2,"msg":"no","id":4}', Reply(4, (2, "no"))),
        (b'{"e":"serverShutdown","E":1770123456789}', ServerShutdown()),
        (b'{"e":"trade","E":1770123456789}', None),
        (b"{", None),
        (b"[1]", None),
        (b"\xff", None),
    ],
)
def test_control_frames_are_understood_in_every_documented_shape(frame: bytes, control: Control | None) -> None:
    assert parse_control(frame) == control


def test_void_trades_are_recognised() -> None:
    assert is_void_trade(b'{"e":"trade","t":1,"p":"0","q":"0","X":"NA","m":true}')
    assert not is_void_trade(b'{"e":"trade","t":1,"p":"1","q":"1","X":"MARKET","m":true}')


def test_every_recorded_frame_is_sliced_byte_for_byte(recordings: Path) -> None:
    decode_line, decode = msgspec.json.Decoder(_Line).decode, msgspec.json.Decoder(_Combined).decode
    compared = 0
    for path in sorted((recordings / "ws").glob("*.ndjson.gz")):
        with gzip.open(path, "rb") as lines:
            for text in lines:
                line = decode_line(text)
                frame = bytes(line.raw)
                if line.conn.startswith(("/api/", "/fapi/")) or not frame.startswith(b'{"stream"'):
                    continue
                expected = decode(frame)
                assert slice_frame(frame) == (expected.stream.encode(), bytes(expected.data))
                compared += 1
    assert compared > 200_000
