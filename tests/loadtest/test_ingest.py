"""The feed on a stage: a real ingestor and a real Redis between what plays Binance and what looks at the bus."""

import gzip
from pathlib import Path

import pytest

from loadtest.bench import ingest
from loadtest.bench.processes import BenchError
from loadtest.bench.samples import Usage
from loadtest.bench.stage import Ground

pytestmark = pytest.mark.long
NAMES = ("btcusdt@trade", "ethusdt@trade", "btcusdt@bookTicker")
IDS = {"trade": b"t", "bookTicker": b"u"}


@pytest.fixture(autouse=True)
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording with one message of each stream, as the one that is played."""
    path = tmp_path / "recording.ndjson.gz"
    lines = [
        b'{"ts":1,"market":"spot","conn":"/stream","raw":{"stream":"%s","data":{"s":"X","%s":1,"p":"1"}}}'
        % (name.encode(), IDS[name.partition("@")[2]])
        for name in NAMES
    ]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    monkeypatch.setattr(ingest, "RECORDING", path)
    monkeypatch.setattr(ingest, "_WARM_UP_S", 0.1)
    return path


def test_every_frame_that_is_played_arrives_on_the_bus(ground: Ground) -> None:
    sample = ingest.measure_ingest(ground, 1_000, 0.5)
    assert sample.published > 0
    assert sample.delivered == sample.published
    assert 0 < sample.p50_ms <= sample.p99_ms < 10_000
    assert sample.server.total_s > 0
    assert set(sample.usage.processes) == {"server", "publisher", "redis", "receiver"}


def test_a_frame_that_the_ingestor_cannot_publish_is_missed(
    ground: Ground, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_id = b'{"ts":1,"market":"spot","conn":"/stream","raw":{"stream":"btcusdt@trade","data":{"s":"X"}}}'
    recording.write_bytes(recording.read_bytes() + gzip.compress(b"\n" + without_id))
    monkeypatch.setattr(ingest, "_DRAIN_S", 0.5)
    sample = ingest.measure_ingest(ground, 100, 0.5)
    assert 0 < sample.delivered < sample.published


def test_messages_out_of_order_are_no_result(ground: Ground) -> None:
    seen = {"messages": 9, "disordered": 2, "p50_us": 1.0, "p99_us": 1.0}
    with pytest.raises(BenchError, match="2 messages arrived in another order"):
        ingest._sample_of(seen, 9, 1.0, Usage(1.0, {}, (0.0, 0.0)))


def test_without_a_recording_the_stand_in_is_recorded_and_played(
    ground: Ground, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording.unlink()
    monkeypatch.setattr(ingest, "_STAND_IN_BYTES", 1)
    sample = ingest.measure_ingest(ground, 1_000, 0.3)
    assert sample.published > 0
    assert sample.delivered == sample.published


def test_a_recording_without_frames_is_no_result(ground: Ground, recording: Path) -> None:
    recording.write_bytes(gzip.compress(b""))
    with pytest.raises(BenchError, match="holds no message"):
        ingest.measure_ingest(ground, 1_000, 0.3)


def test_a_cold_start_keeps_the_limits_and_ends_with_every_stream_speaking(ground: Ground) -> None:
    start = ingest.measure_cold_start(ground, 5)
    assert start.plan.streams == 5 * len(ingest.KINDS)
    assert start.plan.connections == start.connections == 1
    assert start.messages >= 1
    assert start.limits_exceeded == 0
    assert 0 < start.acknowledged_s <= start.spoke_s
