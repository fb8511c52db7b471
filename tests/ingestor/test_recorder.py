import asyncio
import os
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from binance.recordings import members, read
from bus.memory import MemoryBroker, MemoryBus
from ingestor import demand as demand_module
from ingestor import recorder as recorder_module
from ingestor.recorder import Recorder
from ingestor.service import Ingestor
from ingestor.settings import IngestorSettings
from market.announcements import DEMAND_TOPIC, Demand, encode
from market.messages import Message
from market.streams import StreamName
from tests.binance.wire import until
from tests.support.processes import Process, free_port, tickcast

TRADE = StreamName.parse("btcusdt@trade")
MARK = StreamName.parse("futures:btcusdt@markPrice")


@pytest.fixture(autouse=True)
def _flush_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.05)


@pytest.fixture(autouse=True)
def _demand_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is demanded here is demanded once."""
    monkeypatch.setattr(demand_module, "LEASE_S", 60.0)


def trades(first: int, count: int, filler: int = 0) -> list[Message]:
    payloads = [b'{"t":%d,"x":"%b"}' % (number, os.urandom(filler // 2).hex().encode()) for number in range(count)]
    return [Message(TRADE, first, (first + n) * 1_000, payload) for n, payload in enumerate(payloads)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ndjson.gz"))


def recorded(folder: Path) -> list[tuple[str, str | None, int | None, bytes]]:
    return [
        (message.market, message.stream, message.ts, message.payload)
        for path in files(folder)
        for message in read(path)
    ]


async def test_what_is_kept_is_on_disk_as_the_exchange_would_have_sent_it(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "one", 1 << 30)
    recorder.start()
    recorder.keep([Message(TRADE, 7, 1_500_999, b'{"t":7}'), Message(MARK, 9, 1_501_000, b'{"E":9}')])
    await until(lambda: recorder.recorded_total == 2, "on disk without being closed")
    assert recorded(tmp_path) == [
        ("spot", "btcusdt@trade", 1_500, b'{"t":7}'),
        ("futures", "btcusdt@markPrice", 1_501, b'{"E":9}'),
    ]
    (path,) = files(tmp_path)
    assert {message.path for message in read(path)} == {"/stream", "/market/stream"}
    assert path.name.startswith("bus-one-")
    await recorder.close()
    assert recorder.dropped_total == 0


async def test_a_slow_disk_stops_nobody_and_what_has_no_room_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path, "one", 1 << 30, waiting_bytes=100_000)
    writing, go_on = threading.Event(), threading.Event()
    write = os.write

    def slow(file: int, data: bytes) -> int:
        writing.set()
        go_on.wait(20)
        return write(file, data)

    monkeypatch.setattr(os, "write", slow)
    recorder.start()
    recorder.keep(trades(0, 100))
    await until(writing.is_set, "the disk hangs")
    for _ in range(10):
        recorder.keep(trades(0, 100))
        await asyncio.sleep(0)
    assert 0 < recorder.dropped_total < 1_000
    go_on.set()
    await recorder.close()
    assert recorder.recorded_total + recorder.dropped_total == 1_100
    assert len(recorded(tmp_path)) == recorder.recorded_total


async def test_what_waits_for_the_thread_when_the_recorder_is_closed_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "one", 1 << 30)
    go_on = threading.Event()
    recorder._thread.submit(go_on.wait, 20)
    recorder.start()
    recorder.keep(trades(0, 5))
    await until(lambda: not recorder._waiting, "they are on their way to the thread")
    closing = asyncio.create_task(recorder.close())
    for _ in range(10):  # whatever `close` would take back is taken back by then
        await asyncio.sleep(0)
    go_on.set()
    await closing
    assert recorder.recorded_total == len(recorded(tmp_path)) == 5


async def test_a_disk_that_refuses_is_counted_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, "one", 1 << 30)
    recorder.start()

    def refuse(_file: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", refuse)
        recorder.keep(trades(0, 5))
        await until(lambda: recorder.dropped_total == 5, "five are lost")
    recorder.keep(trades(10, 3))
    await until(lambda: recorder.recorded_total == 3, "three are not")
    await recorder.close()
    assert len(recorded(tmp_path)) == 3


async def test_a_payload_that_no_line_can_hold_is_counted_and_the_others_are_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "one", 1 << 30)
    recorder.start()
    recorder.keep([Message(TRADE, 1, 1_000, b'{"t":1}'), Message(TRADE, 2, 2_000, b'{"t":\n2}')])
    recorder.keep([Message(TRADE, 3, 3_000, b'{"t":3}')])
    await recorder.close()
    assert [payload for *_, payload in recorded(tmp_path)] == [b'{"t":1}', b'{"t":3}']
    assert recorder.dropped_total == 1


async def test_the_oldest_recordings_of_ingestors_go_first_and_no_other_file_does(tmp_path: Path) -> None:
    foreign = tmp_path / "spot-20200101T000000-000000.ndjson.gz"
    foreign.write_bytes(b"x" * 300_000)
    former = tmp_path / "bus-former-20200101T000000-000000.ndjson.gz"
    former.write_bytes(b"x" * 300_000)
    os.utime(former, (1, 1))
    limit = 1 << 20
    recorder = Recorder(tmp_path, "one", limit)
    recorder.start()
    for round_ in range(8):  # each fills a file by itself
        recorder.keep(trades(round_ * 1_000, 100, filler=6_000))
        await until(lambda n=round_: recorder.recorded_total == (n + 1) * 100, "on disk")  # type: ignore[misc] # bound now
    await recorder.close()
    assert foreign.exists()
    assert not former.exists()
    own = [path for path in files(tmp_path) if path != foreign]
    assert sum(path.stat().st_size for path in own) <= limit
    assert 1 < len(own) < 8
    times = [message.ts or 0 for path in own for message in read(path)]
    assert times[-1] == 7_099
    assert times == sorted(times)


async def test_a_recorder_that_cannot_write_to_its_folder_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for record in (file, file / "below"):
        with pytest.raises(ValueError, match="must be a directory"):
            IngestorSettings.model_validate({"record": record})
    assert IngestorSettings.model_validate({"record": tmp_path / "new" / "one"}).record is not None


WANTED = ("btcusdt@trade", "btcusdt@bookTicker", "ethusdt@depth@100ms", "futures:btcusdt@markPrice@1s")
BOOKS = ("btcusdt@book", "futures:ethusdt@book", "btcusdt@depth@100ms")


async def _record_a_run(
    exchange: Process, folder: Path, messages: int, wanted: Sequence[str] = WANTED
) -> list[Message]:
    """Let an ingestor record what it publishes of some streams; what a replica was given of it."""
    broker = MemoryBroker()
    bus, replica = MemoryBus(broker), MemoryBus(broker)
    received: list[Message] = []
    replica.on_messages(received.extend)
    settings = IngestorSettings.model_validate({"default_symbols": [], "instance": "one", "record": folder})
    ingestor = Ingestor(
        settings.model_copy(update={"exchange_url": f"http://127.0.0.1:{exchange.port}"}),
        bus,
        settings.model_copy(update={"exchange_url": f"http://127.0.0.1:{exchange.port}"}).endpoints,
    )
    await bus.start()
    await replica.start()
    await replica.subscribe(StreamName.parse(name) for name in wanted)
    await ingestor.start()
    await replica.announce(DEMAND_TOPIC, encode(Demand("replica", list(wanted))))
    await until(lambda: len(received) >= messages and len({m.stream for m in received}) == len(wanted), "a run", 30)
    await ingestor.close()
    assert ingestor.status.recorded_total == ingestor.publisher.published_total
    assert ingestor.status.record_dropped_total == 0
    await replica.close()
    await bus.close()
    return received


async def test_a_recorded_run_replayed_as_an_exchange_is_published_byte_for_byte_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with tickcast("exchange", free_port(), tmp_path, {"SIM_SYMBOLS": "3", "SIM_TRADES_PER_SECOND": "60"}) as exchange:
        seen = await _record_a_run(exchange, first, 300)
    (file,) = files(first)
    original = recorded(first)
    assert [(m.stream.market, m.stream.binance_name, m.received_us // 1_000, m.payload) for m in seen] == original
    times = [ts for _, _, ts, _ in original]
    assert (min(filter(None, times)), max(filter(None, times))) == (
        min(member.earliest_ms for member in members(file)),
        max(member.latest_ms for member in members(file)),
    )
    settings = {"EXCHANGE": f"replay:{file}", "REPLAY_SPEED": "4", "REPLAY_LOOP": "true"}
    with tickcast("exchange", free_port(), tmp_path, settings) as exchange:
        began = time.monotonic()
        again = await _record_a_run(exchange, second, len(original))
        assert time.monotonic() - began < 30
    replayed: dict[tuple[str, str], list[bytes]] = {}
    for message in again:
        replayed.setdefault((message.stream.market, message.stream.binance_name), []).append(message.payload)
    for key, payloads in replayed.items():
        whole = [payload for market, stream, _, payload in original if (market, stream) == key]
        # It came in in the middle of a round and left in one: a piece of the recording, again and again.
        start = whole.index(payloads[0])
        assert payloads == [(whole * 50)[start + number] for number in range(len(payloads))]
    assert recorded(second) == [
        (m.stream.market, m.stream.binance_name, m.received_us // 1_000, m.payload) for m in again
    ]


async def test_recorded_books_are_maintained_again_from_the_recording(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    with tickcast("exchange", free_port(), tmp_path, {"SIM_SYMBOLS": "3", "SIM_TRADES_PER_SECOND": "60"}) as exchange:
        original = _by_stream(await _record_a_run(exchange, first, 60, BOOKS))
    (file,) = files(first)
    settings = {"EXCHANGE": f"replay:{file}", "REPLAY_SPEED": "2", "REPLAY_LOOP": "true"}
    with tickcast("exchange", free_port(), tmp_path, settings) as exchange:
        again = _by_stream(await _record_a_run(exchange, second, 60, BOOKS))
    for name, messages in again.items():
        kinds = [msgspec.json.decode(message.payload)["e"] for message in messages]
        assert (kinds[0] == "bookSnapshot") == name.endswith("@book")
        assert "depthUpdate" in kinds
        changes = {message.payload for message in messages if b"depthUpdate" in message.payload}
        sent = {message.payload for name in original for message in original[name]}
        assert changes <= sent, name
    # Each change came once, although the book and its diff stream were both recorded.
    ids = [message.cursor for message in again["spot:btcusdt@depth@100ms"]]
    falls = sum(later <= earlier for earlier, later in pairwise(ids))
    assert falls <= len(ids) / 10, "but for the beginnings of rounds"


def _by_stream(messages: list[Message]) -> dict[str, list[Message]]:
    found: dict[str, list[Message]] = {}
    for message in messages:
        found.setdefault(str(message.stream), []).append(message)
    return found
