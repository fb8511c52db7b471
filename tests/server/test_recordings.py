"""Which recordings there are, and reading streams of them in a range of time."""

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from market.errors import Code, MarketError
from market.klines import LATEST_MS
from market.messages import Message
from market.streams import StreamName
from server.replay import reader as reader_module
from server.replay.reader import RecordingReader, Selection
from server.replay.recordings import Recordings
from tests.server.stored import START, Row, mixed, store, trades
from tests.support.processes import RECORDINGS

BTC = StreamName.parse("btcusdt@trade")


@pytest.fixture(scope="session")
def real() -> Path:
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}: this test reads real ones")
    return RECORDINGS


@pytest.fixture
async def recordings(tmp_path: Path) -> AsyncIterator[Recordings]:
    made = Recordings(tmp_path)
    yield made
    await made.close()


async def read(recordings: Recordings, recording_id: str, selection: Selection) -> list[Message]:
    reader = RecordingReader(recordings, await recordings.find(recording_id), selection)
    found: list[Message] = []
    while (messages := await reader.step()) is not None:
        found += messages
    reader.close()
    return found


def selection(*names: str, start_ms: int = 0, end_ms: int = LATEST_MS) -> Selection:
    return Selection(frozenset(map(StreamName.parse, names)), start_ms, end_ms)


async def test_recordings_are_listed_with_their_times_and_streams_the_latest_first(
    recordings: Recordings, tmp_path: Path
) -> None:
    early = store(tmp_path, "spot", mixed(trades(100), trades(100, symbol="ethusdt")))
    later = [row._replace(ts=row.ts + 10_000) for row in trades(100)]
    late = store(tmp_path, "bus-one", later, rotate_bytes=1, flush_every=10)
    first, second = await recordings.list()
    assert first.body == {
        "id": late,
        "startTime": START + 10_010,
        "endTime": START + 11_000,
        "bytes": sum(path.stat().st_size for path in tmp_path.glob("bus-*")),  # noqa: ASYNC240 # a handful of files
        "files": 10,
        "streams": ["spot:btcusdt@trade"],
    }
    assert second.id == early
    assert second.body["streams"] == ["spot:btcusdt@trade", "spot:ethusdt@trade"]


async def test_a_recording_that_grows_is_followed(recordings: Recordings, tmp_path: Path) -> None:
    name = store(tmp_path, "spot", trades(100))
    (before,) = await recordings.list()
    (path,) = tmp_path.iterdir()  # noqa: ASYNC240 # one file
    elsewhere = tmp_path / "elsewhere"
    store(elsewhere, "more", [row._replace(ts=row.ts + 5_000) for row in trades(100)])
    with path.open("ab") as file:  # a few kilobytes
        file.write(next(elsewhere.iterdir()).read_bytes())  # one file
    (after,) = await recordings.list()
    assert (before.parts[-1].end_ms, after.parts[-1].end_ms) == (START + 1_000, START + 6_000)
    assert len(await read(recordings, name, selection("btcusdt@trade"))) == 200


async def test_a_file_that_is_gone_is_a_recording_no_more(recordings: Recordings, tmp_path: Path) -> None:
    name = store(tmp_path, "spot", trades(10))
    await recordings.find(name)
    for path in tmp_path.iterdir():  # noqa: ASYNC240 # one file
        path.unlink()
    with pytest.raises(MarketError) as caught:
        await recordings.find(name)
    assert caught.value.code is Code.UNKNOWN_RECORDING
    assert await recordings.list() == []


async def test_a_file_that_goes_while_it_is_replayed_costs_its_own_messages_alone(
    recordings: Recordings, tmp_path: Path
) -> None:
    name = store(tmp_path, "spot", trades(100), flush_every=10, rotate_bytes=1)
    recording = await recordings.find(name)
    recording.parts[3].path.unlink()
    reader = RecordingReader(recordings, recording, selection("btcusdt@trade"))
    found = await reader.step()
    reader.close()
    assert found is not None
    assert [message.cursor for message in found] == [*range(1, 31), *range(41, 101)]


@pytest.mark.parametrize("folder", [None, Path("/nowhere/at/all")])
async def test_without_a_folder_there_are_none(folder: Path | None) -> None:
    recordings = Recordings(folder)
    assert await recordings.list() == []
    await recordings.close()


async def test_a_stream_is_read_byte_for_byte_over_all_files(recordings: Recordings, tmp_path: Path) -> None:
    rows = trades(1_000)
    name = store(tmp_path, "spot", mixed(rows, trades(1_000, symbol="ethusdt")), rotate_bytes=3_000)
    assert len((await recordings.find(name)).parts) > 3
    found = await read(recordings, name, selection("btcusdt@trade"))
    assert [(m.received_us // 1_000, m.stream, m.payload) for m in found] == rows
    assert [message.cursor for message in found] == list(range(1, 1_001))


async def test_a_range_of_time_includes_both_ends_and_is_found_without_reading_all(
    recordings: Recordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "STEP_BYTES", 2_000)
    name = store(tmp_path, "spot", trades(5_000), flush_every=100)
    reader = RecordingReader(
        recordings,
        await recordings.find(name),
        selection("btcusdt@trade", start_ms=START + 40_000, end_ms=START + 40_050),
    )
    found: list[Message] = []
    steps = 0
    while (messages := await reader.step()) is not None:
        found += messages
        steps += 1
    reader.close()
    assert [message.cursor for message in found] == [4_000, 4_001, 4_002, 4_003, 4_004, 4_005]
    # One member before the range, and past it as far as lines may be out of order.
    assert steps * 2_000 < 1_000 * 150
    assert reader.reached_ms < START + 46_000


async def test_all_symbols_are_those_of_the_kind_and_nothing_else(recordings: Recordings, tmp_path: Path) -> None:
    futures = [Row(row.ts, StreamName.parse(f"futures:{row.stream.binance_name}"), row.payload) for row in trades(10)]
    rows = mixed(trades(10), trades(10, symbol="ethusdt"), futures)
    rows.append(Row(START + 200, StreamName.parse("btcusdt@aggTrade"), b'{"a":1}'))
    name = store(tmp_path, "spot", rows)
    found = await read(recordings, name, selection("*@trade"))
    assert {str(message.stream) for message in found} == {"spot:btcusdt@trade", "spot:ethusdt@trade"}
    assert len(found) == 20
    assert len(await read(recordings, name, selection("futures:btcusdt@trade", "btcusdt@aggTrade"))) == 11


async def test_a_book_begins_with_a_snapshot(recordings: Recordings, tmp_path: Path) -> None:
    book = StreamName.parse("btcusdt@book")
    rows = [
        Row(START + number, book, b'{"e":"%b","E":1,"s":"BTCUSDT","U":1,"u":%d,"b":[],"a":[]}' % (kind, number))
        for number, kind in enumerate([b"depthUpdate", b"bookSnapshot", b"depthUpdate", b"bookSnapshot"], start=1)
    ]
    name = store(tmp_path, "spot", rows)
    assert [message.cursor for message in await read(recordings, name, selection("btcusdt@book"))] == [2, 3, 4]


async def test_a_recording_made_elsewhere_is_read_in_raw_mode_too(recordings: Recordings, tmp_path: Path) -> None:
    lines = [b'{"ts":%d,"market":"spot","conn":"/ws/btcusdt@trade","raw":{"t":%d}}' % (START + n, n) for n in range(20)]
    lines.insert(3, b'{"ts":%d,"market":"spot","conn":"/ws/btcusdt@trade","raw":{"x":1}}' % START)
    lines.insert(5, b'{"ts":null,"market":"spot","conn":"/api/v3/depth?symbol=BTCUSDT","raw":{}}')
    (tmp_path / "some.ndjson.gz").write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    (recording,) = await recordings.list()
    assert (recording.id, recording.parts[0].start_ms, recording.parts[0].end_ms) == ("some", START, None)
    found = await read(recordings, "some", selection("btcusdt@trade", start_ms=START + 5))
    assert [message.cursor for message in found] == list(range(5, 20))


async def test_real_recordings_are_listed_and_read(real: Path) -> None:
    stored = Recordings(real / "ws")
    found = {recording.id: recording for recording in await stored.list()}
    assert "spot:btcusdt@trade" in found["spot-btc-eth-20240808"].body["streams"]  # type: ignore[operator] # a list
    start_ms = found["spot-btc-eth-20240808"].parts[0].start_ms
    ids = [
        message.cursor
        for message in await read(
            stored,
            "spot-btc-eth-20240808",
            selection("btcusdt@trade", start_ms=start_ms + 10_000, end_ms=start_ms + 20_000),
        )
    ]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 50
    await stored.close()
