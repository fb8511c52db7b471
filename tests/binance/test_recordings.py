"""What a recording guarantees, whoever writes and reads it."""

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from binance import recordings as recordings_module
from binance.frames import wrap_payload
from binance.recording_writer import RecordingWriter
from binance.recordings import encode_line, lines, members, read
from market.streams import Market
from tests.support.processes import ROOT, wait_until

ENDLESS_WRITER = """
import sys, itertools
from pathlib import Path
from binance.recording_writer import RecordingWriter
from market.streams import Market

writer = RecordingWriter(Path(sys.argv[1]), "killed", rotate_bytes=10**9, rotate_s=3600)
for number in itertools.count():
    writer.write(number, Market.SPOT, "/stream", b'{"stream":"a@trade","data":{"t":%d}}' % number)
    if number % 100 == 99:
        writer.flush()
"""


def frame(number: int) -> bytes:
    return b'{"stream":"a@trade","data":{"t":%d}}' % number


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ndjson.gz"))


def ids(folder: Path) -> list[int]:
    return [json.loads(message.payload)["t"] for path in files(folder) for message in read(path)]


def test_files_rotate_by_size_and_lose_nothing(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path, "spot", rotate_bytes=200, rotate_s=3600) as writer:
        for number in range(50):
            writer.write(number, Market.SPOT, "/stream", frame(number))
            if number % 5 == 4:
                writer.flush()
    assert writer.files_total == len(files(tmp_path)) > 3
    assert {path.name[: len(writer.recording)] for path in files(tmp_path)} == {writer.recording}
    assert ids(tmp_path) == list(range(50))
    assert writer.lines_total == 50


def test_files_rotate_by_age(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path, "futures", rotate_bytes=10**9, rotate_s=0.0) as writer:
        for number in range(3):
            writer.write(number, Market.FUTURES, "/stream", frame(number))
            writer.flush()
    assert len(files(tmp_path)) == 3


def test_any_gzip_reader_reads_what_was_written_byte_for_byte(tmp_path: Path) -> None:
    payload = b'{"e":"trade","E":1,"s":"BTCUSDT","t":7, "p":"1.50000000","x":"\xc3\xa9"}'
    with RecordingWriter(tmp_path, "spot", rotate_bytes=10**9, rotate_s=3600) as writer:
        for number in range(3):
            writer.write(1_000 + number, Market.SPOT, "/stream", wrap_payload("btcusdt@trade", payload))
            writer.flush()
    (path,) = files(tmp_path)
    line = b'{"ts":%d,"market":"spot","conn":"/stream","raw":{"stream":"btcusdt@trade","data":' + payload + b"}}\n"
    assert gzip.decompress(path.read_bytes()) == b"".join(line % (1_000 + number) for number in range(3))
    assert subprocess.run(["gzip", "-t", str(path)], check=False).returncode == 0
    assert [(message.ts, message.payload) for message in read(path)] == [
        (1_000 + number, payload) for number in range(3)
    ]


def test_members_tell_their_times_and_where_reading_can_begin(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path, "spot", rotate_bytes=10**9, rotate_s=3600) as writer:
        for start in (100, 200, 300):
            for ts in (start + 5, start, start + 9):
                writer.write(ts, Market.SPOT, "/stream", frame(ts))
            writer.flush()
    (path,) = files(tmp_path)
    found = list(members(path))
    assert [(member.earliest_ms, member.latest_ms) for member in found] == [(100, 109), (200, 209), (300, 309)]
    assert found[-1].offset + found[-1].size == path.stat().st_size
    assert [message.ts for message in read(path, found[1].offset)] == [205, 200, 209, 305, 300, 309]
    assert list(members(path, found[2].offset)) == found[2:]


def test_a_killed_writer_leaves_a_file_that_reads_up_to_its_last_flush(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS_WRITER, str(tmp_path)], cwd=ROOT) as writer:
        try:
            wait_until(lambda: sum(path.stat().st_size for path in files(tmp_path)) > 50_000, "much is on disk")
        finally:
            os.kill(writer.pid, signal.SIGKILL)
    found = ids(tmp_path)
    assert len(found) >= 1_000
    assert found == list(range(len(found)))


def test_a_member_cut_in_its_middle_ends_the_file_at_the_last_whole_line(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path, "spot", rotate_bytes=10**9, rotate_s=3600) as writer:
        for number in range(200):
            writer.write(number, Market.SPOT, "/stream", frame(number))
            if number % 100 == 99:
                writer.flush()
    (path,) = files(tmp_path)
    first, second = members(path)
    for cut in (second.offset + 7, second.offset + second.size // 2, second.offset + second.size - 1):
        cut_short = tmp_path / "cut.gz"
        cut_short.write_bytes(path.read_bytes()[:cut])
        assert list(members(cut_short)) == [first]
        found = [json.loads(message.payload)["t"] for message in read(cut_short)]
        assert found[:100] == list(range(100))
        assert found == list(range(len(found)))


def test_a_disk_that_refuses_costs_what_was_gathered_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RecordingWriter(tmp_path, "spot", rotate_bytes=10**9, rotate_s=3600)
    writer.write(1, Market.SPOT, "/stream", frame(1))
    with monkeypatch.context() as broken:

        def refuse(_file: int, _data: bytes) -> int:
            raise OSError(28, "No space left on device")

        broken.setattr(os, "write", refuse)
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
    assert files(tmp_path) == []
    writer.write(2, Market.SPOT, "/stream", frame(2))
    writer.close()
    assert ids(tmp_path) == [2]


def test_a_message_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_line(1, Market.SPOT, "/stream", b'{"stream":"a",\n"data":{}}')


def test_broken_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "some.ndjson.gz"
    bad = [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"ts":1,"market":"moon","conn":"/","raw":1}',
        b'{"raw":{"stream":"\xff","data":1}}',
    ]
    good = encode_line(5, Market.SPOT, "/stream", frame(5))
    path.write_bytes(gzip.compress(b"\n".join(bad) + b"\n" + good + good.rstrip(b"\n")))
    assert [message.ts for message in read(path)] == [5, 5]


def test_an_endless_line_ends_the_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings_module, "MAX_LINE_BYTES", 1_000)
    path = tmp_path / "some.ndjson.gz"
    good = encode_line(5, Market.SPOT, "/stream", frame(5))
    path.write_bytes(gzip.compress(good + b"x" * 10_000 + b"\n" + good))
    assert list(lines(path)) == [good]
