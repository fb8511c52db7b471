"""Binance's protocol through the whole cluster, Nginx included: recorded payloads byte for byte, REST by base URL."""

import asyncio
import gzip
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.processes import wait_until
from tests.system.cluster import Cluster
from tests.system.test_recording import begin_with_silence, recorded_payloads

LINES = 6_000
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")


@pytest.fixture(scope="module")
def recording(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first LINES lines of the spot recording: some half minute of two symbols."""
    short = tmp_path_factory.mktemp("recording") / "spot.ndjson.gz"
    with gzip.open(recordings / "ws/spot-btc-eth-20240808.ndjson.gz") as lines, gzip.open(short, "wb", 1) as kept:
        kept.writelines(islice(lines, LINES))
    return short


async def _hear(socket: ClientConnection, ends: list[bytes]) -> list[bytes]:
    """Everything, until each of `ends` has come."""
    received = []
    async with asyncio.timeout(60):
        while ends:
            frame = await socket.recv(decode=False)
            received.append(frame)
            ends = [end for end in ends if end not in frame]
    return received


def _status(cluster: Cluster) -> dict[str, Any]:
    return dict(httpx.get(f"http://127.0.0.1:{cluster.exchange_port}/control/status").json())


async def _collect(cluster: Cluster, play: Callable[[], None], ends: dict[str, bytes]) -> dict[str, list[bytes]]:
    """What each form of connection received, until these payloads, of a recording that is played once all listen."""
    paths = {
        "raw": "/ws/btcusdt%40trade",
        "raw of the other replica": "/spot/ws/btcusdt@trade",
        "combined": f"/stream?streams={'/'.join(STREAMS)}",
    }
    # Nginx sends each /24 to one replica.
    sources = {form: ("127.0.2.1" if "other" in form else "127.0.1.1", 0) for form in paths}
    base = cluster.url.replace("http", "ws", 1)
    sockets = {
        form: await connect(f"{base}{path}", compression=None, local_addr=sources[form], max_queue=None)
        for form, path in paths.items()
    }
    wanted = {f"spot:{stream}" for stream in STREAMS}
    await asyncio.to_thread(wait_until, lambda: wanted <= set(_status(cluster)["streams"]), "subscribed upstream")
    await asyncio.to_thread(play)
    heard = await asyncio.gather(
        *(
            _hear(socket, [*ends.values()] if form == "combined" else [ends[STREAMS[0]]])
            for form, socket in sockets.items()
        )
    )
    for socket in sockets.values():
        await socket.close()
    return dict(zip(sockets, heard, strict=True))


@pytest.mark.timeout(180)
def test_recorded_payloads_reach_binance_clients_byte_for_byte_through_nginx(recording: Path, tmp_path: Path) -> None:
    payloads = {stream: recorded_payloads(recording, stream) for stream in STREAMS}
    whole = begin_with_silence(recording)
    settings = {"REPLAY_SPEED": "10", "REPLAY_LOOP": "false"}
    with Cluster(tmp_path, f"replay:{recording}", settings) as cluster:

        def play() -> None:
            recording.write_bytes(gzip.compress(whole, 1))
            cluster.control("replay", {"action": "restart"})

        received = asyncio.run(_collect(cluster, play, {stream: payloads[stream][-1] for stream in STREAMS}))
        status = _status(cluster)
        klines = httpx.get(f"{cluster.url}/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m", "limit": 1})
        refusal = httpx.get(f"{cluster.url}/fapi/v1/klines", params={"symbol": "NOPEUSDT", "interval": "1m"})
    combined = {
        stream: [
            frame.removeprefix(head)[:-1]
            for head in [b'{"stream":"%b","data":' % stream.encode()]
            for frame in received["combined"]
            if frame.startswith(head)
        ]
        for stream in STREAMS
    }
    assert len(received["combined"]) == sum(map(len, combined.values()))
    for form, frames, stream in (
        ("raw", received["raw"], STREAMS[0]),
        ("raw of the other replica", received["raw of the other replica"], STREAMS[0]),
        *(("combined", combined[stream], stream) for stream in STREAMS),
    ):
        # What stands before may be the first line, which was played twice.
        assert frames[-len(payloads[stream]) :] == payloads[stream], f"{form}: {stream}"
    assert status["connections"]["spot"] == 2  # one for each of two ingestors, however many clients there are
    assert status["streams"].count("spot:btcusdt@trade") == 1
    assert len(klines.json()) == 1
    assert klines.headers["X-MBX-USED-WEIGHT-1M"] == "2"
    assert (refusal.status_code, refusal.json()["code"]) == (400, -1121)
