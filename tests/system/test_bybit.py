"""Bybit's market through the whole cluster, beside Binance's: stand-in, ingestor, Redis, two replicas, Nginx."""

import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from market.book import BookBuilder, Outcome, decode_book
from market.streams import Market
from tests.support.processes import wait_until
from tests.system.cluster import Cluster, NodeClient

SPOT_TRADES, TRADES = "spot:btcusdt@trade", "bybit:btcusdt@trade"
BOOK, DEPTH = "bybit:btcusdt@book", "bybit:btcusdt@depth"
STATES = ("bybit:btcusdt@ticker", "bybit:btcusdt@bookTicker", "bybit:btcusdt@depth20", "bybit:btcusdt@kline_1m")
STREAMS = (SPOT_TRADES, TRADES, BOOK, DEPTH, *STATES)
SOURCES = ("127.0.1.1", "127.0.2.1")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    env = {"SIM_SYMBOLS": "4", "SIM_TRADES_PER_SECOND": "15", "VENUES": "binance,bybit"}
    with Cluster(tmp_path, env=env) as running:
        wait_until(lambda: all(_lists_bybit(port) for port in running.replica_ports), "Bybit's symbols are known")
        yield running


def _lists_bybit(port: int) -> bool:
    markets = httpx.get(f"http://127.0.0.1:{port}/symbols", timeout=10).json()["data"]["markets"]
    return bool(markets["bybit"])


def bodies(client: NodeClient, stream: str) -> list[dict[str, Any]]:
    """What a client received of a stream, the acknowledgement's snapshot first where it is a book's."""
    (ack,) = client.lines("ack")
    entries = {entry["stream"]: entry["snapshot"] for entry in json.loads(ack)["subscribed"]}
    first = [entries[stream]] if stream == BOOK and entries[stream] else []
    return first + [json.loads(payload) for payload in client.messages(stream)]


def follow(updates: list[dict[str, Any]]) -> BookBuilder:
    """The book of whoever receives these; fails where a change does not follow the one before."""
    builder = BookBuilder(Market.BYBIT)
    for one in updates:
        update = decode_book(json.dumps(one).encode())
        if update.is_snapshot:
            builder.restart()
            assert builder.join(update)
        else:
            assert builder.add(update) is Outcome.APPLIED
    assert builder.book is not None
    return builder


def test_clients_of_both_doors_get_bybits_streams_in_order_and_without_a_gap(cluster: Cluster, tmp_path: Path) -> None:
    with ExitStack() as running:
        clients = [
            running.enter_context(
                NodeClient.collecting(tmp_path / f"{source}.out", cluster.url, source, "websocket", *STREAMS)
            )
            for source in SOURCES
        ]
        json_socket = running.enter_context(connect(cluster.url.replace("http", "ws", 1)))
        json_socket.send(json.dumps({"type": "subscribe", "rawStreams": [TRADES, SPOT_TRADES]}))
        json_ids: dict[str, list[int]] = {TRADES: [], SPOT_TRADES: []}
        while min(map(len, json_ids.values())) < 30:
            message = json.loads(json_socket.recv(timeout=20))
            if message.get("stream") in json_ids:
                json_ids[message["stream"]].append(message["data"]["t"])
        for client in clients:
            client.wait_for("packet", 100)
        wait_until(lambda: all(len(bodies(client, BOOK)) > 20 for client in clients), "books")
        assert {client.lines("connected")[0] for client in clients} == {b"app1", b"app2"}
        for client in clients:
            for stream in (TRADES, SPOT_TRADES):
                ids = [trade["t"] for trade in bodies(client, stream)]
                assert ids == list(range(ids[0], ids[0] + len(ids))), stream
            follow(bodies(client, BOOK))
            changes = bodies(client, DEPTH)
            assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(changes))
            assert all(client.messages(stream) for stream in STATES[:3])
        for ids in json_ids.values():
            assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_after_bybit_drops_its_connections_trades_and_books_go_on_without_a_gap(
    cluster: Cluster, tmp_path: Path
) -> None:
    with NodeClient.collecting(
        tmp_path / "one.out", cluster.url, SOURCES[0], "websocket", BOOK, DEPTH, TRADES
    ) as client:
        wait_until(lambda: len(client.messages(DEPTH)) > 5, "changes")
        cluster.control("drop", {"market": "bybit"})
        seen = len(client.messages(BOOK))
        wait_until(lambda: len(client.messages(BOOK)) > seen + 10, "changes again")
        assert b"bookSnapshot" in b"".join(client.messages(BOOK))
        follow(bodies(client, BOOK))
        changes = bodies(client, DEPTH)
        assert all(after["U"] == before["u"] + 1 for before, after in itertools.pairwise(changes))
        ids = [trade["t"] for trade in bodies(client, TRADES)]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert client.lines("disconnect") == []
        late = tmp_path / "late.out"
        with NodeClient.collecting(late, cluster.url, SOURCES[1], "websocket", BOOK) as other:
            wait_until(lambda: len(other.messages(BOOK)) > 3, "a late client's changes")
            assert bodies(other, BOOK)[0]["e"] == "bookSnapshot"
            follow(bodies(other, BOOK))
