"""What clients saw of a cluster is replayed to them from what its ingestor recorded, also after that was killed."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from binance.recordings import read
from tests.server.conftest import until
from tests.server.json_client import JsonClient, json_client
from tests.system.cluster import Cluster

STREAMS = ["btcusdt@trade", "ethusdt@bookTicker"]


def payloads(client: JsonClient, stream: str, replay: str | None = None) -> list[bytes]:
    """What a client was sent of a stream, live or by a replay, byte for byte."""
    mark = b'"stream":"%b","data":' % stream.encode()
    return [
        text.rpartition(mark)[2].removesuffix(b"}}")
        for text, message in zip(client.texts, client.messages, strict=True)
        if message.get("stream") == stream and "type" not in message and message.get("replay") == replay
    ]


async def _see_and_kill(cluster: Cluster, folder: Path) -> dict[str, list[bytes]]:
    """What a client saw while the ingestor recorded, until that was killed."""
    async with json_client(cluster.url) as client:
        await client.send(type="subscribe", rawStreams=STREAMS, snapshot=False)
        await until(lambda: len(client.of_stream(STREAMS[0])) >= 100 <= _lines(folder), "seen and recorded", 20)
        cluster.processes["ingestor1"].kill()
        return {stream: payloads(client, stream) for stream in STREAMS}


def _lines(folder: Path) -> int:
    return sum(1 for path in folder.glob("*.ndjson.gz") for _ in read(path))


@pytest.mark.timeout(90)
async def test_what_clients_saw_is_replayed_after_the_ingestor_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    settings = {"RECORD": str(folder), "SIM_SYMBOLS": "5", "SIM_TRADES_PER_SECOND": "20"}
    with Cluster(tmp_path, env=settings, ingestors=1) as cluster:
        seen = await _see_and_kill(cluster, folder)
        cluster.processes["ingestor1"].start()
        async with httpx.AsyncClient(base_url=cluster.url) as http:
            recordings: list[dict[str, Any]] = (await http.get("/replay")).json()["data"]["recordings"]
            recording = recordings[-1]["id"]
            page = (await http.get(f"/replay/{recording}", params={"stream": STREAMS[0], "limit": 5})).json()
        async with json_client(cluster.url) as client:
            await client.send(type="getReplay", recording=recording, rawStreams=STREAMS, speed=0)
            (end,) = await client.wait_for("replayEnd")
        assert (end["reason"], end["sent"] > 100) == ("finished", True)
        for stream, live in seen.items():
            stored = payloads(client, stream, end["id"])
            # The recording began before the client came, and lacks what the last second brought.
            common = stored[stored.index(live[0]) :]
            assert common == live[: len(common)]
            assert len(common) > 10
        assert [row["data"] for row in page["data"]["rows"]] == [
            json.loads(payload) for payload in payloads(client, STREAMS[0], end["id"])[:5]
        ]
