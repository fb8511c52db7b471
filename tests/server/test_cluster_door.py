"""`GET /cluster` of a running replica."""

from typing import Any

import httpx
import pytest

from market.announcements import FEED_TOPIC, FeedStatus, Source, UpstreamFigures, encode
from market.figures import FIGURES_TOPIC, MAX_FIGURES_BYTES, FeedFigures
from server.cluster import figures as figures_module
from tests.server.conftest import Client, Served, until
from tests.server.test_cluster_view import figures


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "REPEAT_S", 0.1)


async def cluster(http: httpx.AsyncClient, served: Served) -> dict[str, Any]:
    body: dict[str, Any] = (await http.get(f"{served.url}/cluster")).raise_for_status().json()
    assert body["success"] is True
    return dict(body["data"])


async def test_a_replica_answers_for_itself_for_others_and_for_ingestors(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    await served.publisher.announce(FIGURES_TOPIC, encode(figures(replica="app2", lagging=4)))
    feed = FeedFigures(uptime_s=5.0, phase="live", connections={"spot": 1})
    fed = FeedStatus("one", Source.SIMULATED, connected=True, streams=3, last_message_ms=7, figures=feed)
    await served.publisher.announce(FEED_TOPIC, encode(fed))
    async with httpx.AsyncClient() as http:

        async def is_whole() -> bool:
            told = (await cluster(http, served))["replicas"]
            return [(one["replica"], one["clients"]) for one in told] == [("app2", 6), ("r1", 1)]

        await until(is_whole, "both replicas, and the client")
        await served.publish("spot:btcusdt@trade", count=3)

        async def has_rates() -> bool:
            mine = (await cluster(http, served))["replicas"][1]
            return bool(mine["messages_in_per_s"] and mine["messages_out_per_s"] and mine["bytes_out_per_s"])

        await until(has_rates, "rates")
        told = await cluster(http, served)
    mine = told["replicas"][1]
    assert told["replica"] == "r1"
    assert mine["connections"]["socketio"] == {"websocket": 1, "polling": 0}
    assert mine["bus_connected"] is True
    assert mine["draining"] is False
    assert mine["subscriptions"] == 1
    assert mine["memory_bytes"] > 10_000_000
    assert [(one["ingestor"], one["connections"]) for one in told["ingestors"]] == [("one", {"spot": 1})]
    totals = {name: told["totals"][name] for name in ("replicas", "ingestors", "clients", "lagging_clients")}
    assert totals == {"replicas": 2, "ingestors": 1, "clients": 7, "lagging_clients": 4}
    await client.io.disconnect()


async def test_announcements_that_are_none_are_counted_and_change_nothing(served: Served) -> None:
    too_long = encode(figures(replica="x" * MAX_FIGURES_BYTES))
    for body in (b"", b"{}", b"[1]", too_long):
        await served.publisher.announce(FIGURES_TOPIC, body)
    async with httpx.AsyncClient() as http:

        async def is_there() -> bool:
            return [one["replica"] for one in (await cluster(http, served))["replicas"]] == ["r1"]

        await until(is_there, "only the replica itself")
        metrics = (await http.get(f"{served.url}/metrics")).text
    assert "tickcast_figures_malformed_total 4.0" in metrics.splitlines()


async def test_whoever_is_no_operator_is_refused(served: Served) -> None:
    headers = {"X-Real-IP": "203.0.113.9"}
    async with httpx.AsyncClient() as http:
        refused = await http.get(f"{served.url}/cluster", headers=headers)
    assert refused.status_code == 403
    assert refused.json()["code"] == "forbidden"


async def test_it_names_the_streams_with_the_most_members_and_what_was_refused(served: Served) -> None:
    clients = [Client(), Client()]
    for client in clients:
        await client.connect(served.url, "websocket")
        await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    await clients[0].call("subscribe", {"streams": ["ethusdt@trade"]})
    upstream = UpstreamFigures(opened=3, handovers={"age": 1}, troubles={"refused": 2})
    fed = FeedStatus("one", Source.SIMULATED, connected=True, streams=3, last_message_ms=7, upstream=upstream)
    await served.publisher.announce(FEED_TOPIC, encode(fed))
    await served.publisher.announce(
        FIGURES_TOPIC, encode(figures(replica="app2", gaps_total=4, refused={"streams": 5}))
    )
    async with httpx.AsyncClient() as http:

        async def is_told() -> bool:
            return len((await cluster(http, served))["replicas"][-1]["top_streams"]) == 2

        await until(is_told, "both streams")
        told = await cluster(http, served)
    other, mine = told["replicas"]
    streams = [("spot:btcusdt@trade", 2), ("spot:ethusdt@trade", 1)]
    assert [(each["stream"], each["members"]) for each in mine["top_streams"]] == streams
    assert (mine["gaps_total"], mine["refused"]) == (0, {})
    assert (other["gaps_total"], other["refused"]) == (4, {"streams": 5})
    (ingestor,) = told["ingestors"]
    assert ingestor["connections_opened_total"] == 3
    assert (ingestor["handovers"], ingestor["troubles"]) == ({"age": 1}, {"refused": 2})
    for client in clients:
        await client.io.disconnect()
