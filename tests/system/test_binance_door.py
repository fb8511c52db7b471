"""Binance's protocol through the whole cluster, Nginx included: recorded payloads byte for byte, REST by base URL."""

import asyncio
import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.support.processes import wait_until
from tests.system.cluster import Cluster
from tests.system.test_recording import recorded_payloads

LINES = 6_000
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker")
QUIET_S = 1.5


@pytest.fixture(scope="module")
def recording(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first LINES lines of the spot recording: some half minute of two symbols."""
    short = tmp_path_factory.mktemp("recording") / "spot.ndjson.gz"
    with gzip.open(recordings / "ws/spot-btc-eth-20240808.ndjson.gz") as lines, gzip.open(short, "wb", 1) as kept:
        kept.writelines(islice(lines, LINES))
    return short


async def _drain(socket: ClientConnection, received: list[bytes]) -> None:
    """Keep everything until nothing has come for a while after something had."""
    while True:
        try:
            async with asyncio.timeout(QUIET_S if received else 30):
                received.append(await socket.recv(decode=False))
        except TimeoutError:
            return


def _status(cluster: Cluster) -> dict[str, Any]:
    return dict(httpx.get(f"http://127.0.0.1:{cluster.exchange_port}/control/status").json())


async def _collect(cluster: Cluster) -> dict[str, list[bytes]]:
    """What each form of connection received of the recording, played once more from its beginning."""
    paths = {
        "raw": "/ws/btcusdt%40trade",
        "raw of the other replica": "/spot/ws/btcusdt@trade",
        "combined": f"/stream?streams={'/'.join(STREAMS)}",
    }
    received: dict[str, list[bytes]] = {form: [] for form in paths}
    # Nginx sends each /24 to one replica.
    sources = {form: ("127.0.2.1" if "other" in form else "127.0.1.1", 0) for form in paths}
    base = cluster.url.replace("http", "ws", 1)
    sockets = {
        form: await connect(f"{base}{path}", compression=None, local_addr=sources[form], max_queue=None)
        for form, path in paths.items()
    }
    wanted = {f"spot:{stream}" for stream in STREAMS}
    await asyncio.to_thread(wait_until, lambda: wanted <= set(_status(cluster)["streams"]), "subscribed upstream")
    await asyncio.to_thread(cluster.control, "replay", {"action": "restart"})
    await asyncio.gather(*(_drain(socket, received[form]) for form, socket in sockets.items()))
    for socket in sockets.values():
        await socket.close()
    return received


@pytest.mark.timeout(180)
def test_recorded_payloads_reach_binance_clients_byte_for_byte_through_nginx(recording: Path, tmp_path: Path) -> None:
    settings = {"REPLAY_SPEED": "10", "REPLAY_LOOP": "false"}
    with Cluster(tmp_path, f"replay:{recording}", settings) as cluster:
        received = asyncio.run(_collect(cluster))
        status = _status(cluster)
        klines = httpx.get(f"{cluster.url}/api/v3/klines", params={"symbol": "BTCUSDT", "interval": "1m", "limit": 1})
        refusal = httpx.get(f"{cluster.url}/fapi/v1/klines", params={"symbol": "NOPEUSDT", "interval": "1m"})
    payloads = {stream: recorded_payloads(recording, stream) for stream in STREAMS}
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
        # What stands before may be the end of the first time it was played.
        assert frames[-len(payloads[stream]) :] == payloads[stream], f"{form}: {stream}"
    assert status["connections"]["spot"] == 2  # one for each of two ingestors, however many clients there are
    assert status["streams"].count("spot:btcusdt@trade") == 1
    assert len(klines.json()) == 1
    assert klines.headers["X-MBX-USED-WEIGHT-1M"] == "2"
    assert (refusal.status_code, refusal.json()["code"]) == (400, -1121)
