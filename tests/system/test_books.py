"""Recorded books through the whole cluster: exchange, ingestor, bus, replica, socket.io-client."""

import gzip
import heapq
import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.market.offline_book import RECORDINGS, client_book, depth_lines, offline_books
from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient

SPEED = 40
BOOKS = {
    "spot:btcusdt@book": "spot:BTCUSDT",
    "spot:ethusdt@book": "spot:ETHUSDT",
    "futures:btcusdt@book": "futures:BTCUSDT",
    "futures:ethusdt@book": "futures:ETHUSDT",
}
UPSTREAM = {f"{name.removesuffix('@book')}@depth@100ms" for name in BOOKS}
PAUSE_MS = 1_000
"""How long the recording pauses before each snapshot: long enough for the request that it answers."""
LEAD_MS = 3_600_000
_TS = re.compile(rb'\A\{"ts":(\d+)')


def recorded(recordings: Path) -> list[bytes]:
    """What both recordings of 2024-08-08 say of books, as one recording in the order of their receive times."""
    return list(heapq.merge(*(depth_lines(recordings / name) for name in RECORDINGS), key=_ts))


def write(path: Path, lines: list[bytes], lead_ms: int) -> None:
    """Write a recording whose first line is followed by a silence of `lead_ms`; what is received stays as it was."""
    shift = 0
    beside = path.with_suffix(".new")
    with gzip.open(beside, "wb", compresslevel=1) as file:
        for number, line in enumerate(lines):
            if b"/depth?" in line.partition(b'"raw":')[0]:
                shift += PAUSE_MS * SPEED
            ts = _ts(line) + shift - (0 if number else lead_ms * SPEED)
            file.write(_TS.sub(b'{"ts":%d' % ts, line))
    beside.replace(path)


def _ts(line: bytes) -> int:
    found = _TS.match(line)
    assert found is not None
    return int(found[1])


class Exchange:
    """The stand-in, as its control surface shows it."""

    def __init__(self, cluster: Cluster, http: httpx.Client) -> None:
        self._url = f"http://127.0.0.1:{cluster.exchange_port}/control/status"
        self._http = http

    def status(self) -> dict[str, Any]:
        return dict(self._http.get(self._url, timeout=5).json())

    def wait_for(self, messages: int) -> None:
        """Return once so many messages of the second round were played."""
        wait_until(lambda: bool(self.status()["replay_messages_total"] > messages), f"{messages} messages", 60)


def wait_for_rest(logs: list[Path], quiet_s: float = 1.5) -> None:
    """Return once no client has received anything for a while."""
    seen: list[int] = []
    since = time.monotonic()

    def quiet() -> bool:
        nonlocal seen, since
        now = [log.stat().st_size for log in logs]
        if now != seen:
            seen, since = now, time.monotonic()
        return time.monotonic() - since > quiet_s

    wait_until(quiet, "everything has arrived", 60)


def received(client: NodeClient) -> dict[str, list[dict[str, Any]]]:
    """The messages of each book, the acknowledgement's snapshot first where it had one."""
    (ack,) = client.lines("ack")
    bodies = {
        entry["stream"]: [entry["snapshot"]] if entry["snapshot"] else [] for entry in json.loads(ack)["subscribed"]
    }
    for packet in client.lines("packet"):
        event, message = json.loads(packet[1:])
        if event == "book":
            bodies[message["stream"]].append(message["data"])
    return bodies


@pytest.mark.long
@pytest.mark.timeout(180)
def test_every_clients_book_ends_as_the_one_computed_offline_whatever_the_exchange_does_meanwhile(
    recordings: Path, tmp_path: Path
) -> None:
    lines, recording = recorded(recordings), tmp_path / "books.ndjson.gz"
    write(recording, lines, LEAD_MS)
    settings = {"REPLAY_SPEED": str(SPEED), "REPLAY_LOOP": "false"}
    # One ingestor: a book that another one takes over begins with the levels that REST shows of it.
    with Cluster(tmp_path, f"replay:{recording}", settings, ingestors=1) as cluster, ExitStack() as running:
        exchange = Exchange(cluster, running.enter_context(httpx.Client()))

        def start(name: str, source: str) -> NodeClient:
            made = NodeClient.collecting(tmp_path / f"{name}.out", cluster.url, source, "websocket", *BOOKS)
            running.enter_context(made)
            made.wait_for("ack")
            return made

        clients = [start("one", "127.0.1.1"), start("other", "127.0.2.1")]
        assert {client.lines("connected")[0] for client in clients} == {b"app1", b"app2"}
        wait_until(lambda: set(exchange.status()["streams"]) >= UPSTREAM, "the changes are subscribed to")
        write(recording, lines, 0)
        played = exchange.status()["replay_messages_total"]
        cluster.control("replay", {"action": "restart"})
        exchange.wait_for(played + len(lines) // 5)
        cluster.control("skip", {"market": "spot", "stream": "btcusdt@depth@100ms", "count": 3})
        exchange.wait_for(played + 2 * len(lines) // 5)
        cluster.control("drop", {"market": "spot"})
        late = start("late", "127.0.2.2")
        clients.append(late)
        exchange.wait_for(played + len(lines) - 1)
        wait_for_rest(sorted(tmp_path.glob("*.out")))
        expected = {key: book for name in RECORDINGS for key, book in offline_books(recordings / name).items()}
        resyncs = {"spot:btcusdt@book": 2, "spot:ethusdt@book": 1}
        for client in clients:
            assert client.lines("disconnect") == []
            by_name = received(client)
            for name, key in BOOKS.items():
                bodies = by_name[name]
                snapshots = [body["u"] for body in bodies if body["e"] == "bookSnapshot"]
                if client is not late:
                    assert len(snapshots) >= 1 + resyncs.get(name, 0), name
                    assert len(bodies) > 1_000
                assert bodies[0]["e"] == "bookSnapshot"
                assert client_book(bodies).levels() == expected[key].levels(), name
