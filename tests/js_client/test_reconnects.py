"""The library at a cluster whose replicas die, whose exchange skips, and at a server that remembers nothing."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.processes import ROOT, free_port, tickcast, wait_until
from tests.system.cluster import Cluster, NodeClient

WATCH: Final = str(ROOT / "tests" / "js_client" / "scripts" / "watch.mjs")
TRADES: Final = "spot:btcusdt@trade"
DEPTH: Final = "spot:btcusdt@depth@100ms"
TICKER: Final = "spot:ethusdt@ticker"
IN_SYNC, STALE = b"in sync fine", b"stale fine"
EVERY: Final = "futures:*@aggTrade"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = {"SIM_SYMBOLS": "4", "SIM_TRADES_PER_SECOND": "10"}
    with Cluster(tmp_path_factory.mktemp("cluster"), env=settings, ingestors=1) as running:
        yield running


def received(client: NodeClient, stream: str | None = None) -> list[Any]:
    messages = [json.loads(line) for line in client.lines("message")]
    return [message for message in messages if stream is None or message["stream"] == stream]


def told(client: NodeClient, kind: str) -> list[Any]:
    return [json.loads(line) for line in client.lines(kind)]


def wait_for_more(client: NodeClient, stream: str, count: int) -> None:
    enough = len(received(client, stream)) + count
    wait_until(lambda: len(received(client, stream)) >= enough, f"{count} more of {stream}", 30)


def check_nothing_is_lost_or_doubled(client: NodeClient) -> None:
    """By the exchange's own ids: of trades, aggregates of each symbol, and changes of depth but for what `gap` told."""
    trades = [message["data"]["t"] for message in received(client, TRADES)]
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    aggregates: dict[str, list[int]] = {}
    for message in received(client):
        if message["kind"] == "aggTrade":
            aggregates.setdefault(message["stream"], []).append(message["data"]["a"])
    assert len(aggregates) >= 3
    for stream, ids in aggregates.items():
        assert ids == list(range(ids[0], ids[0] + len(ids))), stream
    changes = [(message["data"]["U"], message["data"]["u"]) for message in received(client, DEPTH)]
    missing = sum(first != last + 1 for (_, last), (first, _) in pairwise(changes))
    assert missing == len(told(client, "gap"))
    tickers = [message["cursor"] for message in received(client, TICKER)]
    assert tickers == sorted(set(tickers))


def test_a_client_whose_replica_dies_goes_on_at_the_other_without_a_loss_or_a_double(
    cluster: Cluster, tmp_path: Path
) -> None:
    with NodeClient(tmp_path / "watch", [WATCH, cluster.url, TRADES, DEPTH, TICKER, EVERY]) as client:
        wait_for_more(client, TRADES, 20)
        wait_until(lambda: client.lines("book")[-1:] == [IN_SYNC], "the book is in sync")
        replica = client.lines("status")[-1].split()[0].decode()
        cluster.processes[replica].kill()
        (resumed,) = [json.loads(line) for line in client.wait_for("resumed")]
        assert resumed == {"recovered": [TRADES, DEPTH, TICKER, EVERY], "lost": []}
        assert client.lines("status")[-1].split()[0].decode() != replica
        wait_for_more(client, TRADES, 20)
        wait_for_more(client, TICKER, 1)
        wait_until(lambda: client.lines("book")[-1:] == [IN_SYNC], "the book is in sync again")
        books = client.lines("book")
        assert STALE in books
        assert set(books[books.index(STALE) + 1 :]) == {IN_SYNC}
        assert told(client, "gap") == []
        check_nothing_is_lost_or_doubled(client)
        cluster.processes[replica].start()
        wait_until(lambda: bool(cluster.health(cluster.processes[replica].port)["ok"]), "the replica is back")


def test_what_the_exchange_left_out_is_told_in_its_place_and_nothing_else_is_missing(
    cluster: Cluster, tmp_path: Path
) -> None:
    with NodeClient(tmp_path / "watch", [WATCH, cluster.url, TRADES, DEPTH, TICKER, EVERY]) as client:
        wait_for_more(client, DEPTH, 5)
        cluster.control("skip", {"market": "spot", "stream": "btcusdt@depth@100ms", "count": 2})
        (gap,) = [json.loads(line) for line in client.wait_for("gap")]
        wait_for_more(client, DEPTH, 5)
        wait_for_more(client, TICKER, 1)
        after = next(message["data"] for message in received(client, DEPTH) if message["cursor"] > gap["until"])
        assert (gap["stream"], gap["until"], gap["reason"]) == (DEPTH, after["U"] - 1, "upstream")
        assert gap["missed"] > 0
        check_nothing_is_lost_or_doubled(client)


def test_a_client_is_told_that_its_server_ends_and_what_is_lost_where_the_next_remembers_nothing(
    tmp_path: Path,
) -> None:
    port = free_port()
    settings = {"SIM_SYMBOLS": "2", "SIM_TRADES_PER_SECOND": "20", "DRAIN_SECONDS": "0.5"}
    with (
        tickcast("run", port, tmp_path, settings) as server,
        NodeClient(tmp_path / "watch", [WATCH, f"http://127.0.0.1:{port}", TRADES, "spot:btcusdt@kline_1m"]) as client,
    ):
        wait_for_more(client, TRADES, 5)
        server.stop()
        wait_until(lambda: client.lines("status")[-1].endswith(b" disconnected"), "the client knows")
        assert client.lines("draining") == [client.lines("status")[-1].split()[0]]
        client_was_told = len(client.lines("message"))
        server.start()
        (resumed,) = [json.loads(line) for line in client.wait_for("resumed")]
        assert TRADES in resumed["lost"]
        lost = {gap["stream"]: gap for gap in told(client, "gap")}
        assert set(lost) == set(resumed["lost"])
        assert (lost[TRADES]["missed"], lost[TRADES]["reason"]) == (None, "unrecovered")
        before = received(client, TRADES)[-1]["cursor"]
        wait_for_more(client, TRADES, 5)
        cursors = [message["cursor"] for message in received(client, TRADES)]
        assert cursors == sorted(set(cursors))
        assert cursors[-1] > before
        assert len(client.lines("message")) > client_was_told
        wait_until(lambda: client.lines("book")[-1:] == [IN_SYNC], "the book is in sync again")
