"""ALL at the Socket.IO door, and at the size it is made for."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
import redis as redis_client

from tests.market.samples import sample
from tests.server.all_clients import Report
from tests.server.conftest import Client, Served, until
from tests.support.processes import ROOT, Process, free_port, tickcast, wait_until

TICKER = sample("spot:btcusdt@ticker")
CLIENTS, SYMBOLS = 200, 500
DEFAULT_STREAMS = 5
"""Spot tickers that are carried whoever wants them."""


async def test_the_latest_values_of_all_symbols_follow_the_acknowledgement(served: Served, client: Client) -> None:
    sent = {text: (await served.publish(text, TICKER))[0].cursor for text in ("btcusdt@ticker", "ethusdt@ticker")}
    request = {"streamType": "ticker", "symbols": ["all"]}
    reply = await client.call("subscribe", request)
    assert reply["subscribed"] == [{"stream": "spot:*@ticker", "cursor": None, "ts": None, "snapshot": None}]
    await until(lambda: len(client.named("ticker")) == 2, "snapshots")
    assert {body["stream"]: body["cursor"] for body in client.named("ticker")} == {
        f"spot:{text}": cursor for text, cursor in sent.items()
    }
    (live,) = await served.publish("ethusdt@ticker", TICKER)
    await until(lambda: len(client.named("ticker")) == 3, "live")
    assert client.named("ticker")[-1]["cursor"] == live.cursor
    assert (await client.call("subscriptions"))["streams"] == ["spot:*@ticker"]


async def test_a_client_of_all_and_of_a_symbol_gets_each_message_once(served: Served, client: Client) -> None:
    await served.publish("btcusdt@ticker", TICKER)
    await client.call("subscribe", {"streams": ["btcusdt@ticker"]})
    await client.call("subscribe", {"streams": ["*@ticker"]})
    sent = await served.publish("btcusdt@ticker", TICKER, count=3)
    assert (await client.call("unsubscribe", {"streams": ["*@ticker"]}))["unsubscribed"] == ["spot:*@ticker"]
    sent += await served.publish("btcusdt@ticker", TICKER, count=3)
    await served.publish("ethusdt@ticker", TICKER)
    await until(lambda: len(client.named("ticker")) >= 6, "live")
    await client.call("subscriptions")
    assert [(body["stream"], body["cursor"]) for body in client.named("ticker")] == [
        ("spot:btcusdt@ticker", message.cursor) for message in sent
    ]


async def test_throttled_all_sends_the_latest_of_each_symbol(served: Served, client: Client) -> None:
    await client.call("subscribe", {"streams": ["*@ticker"], "throttle": 250})
    latest = {}
    for text in ("btcusdt@ticker", "ethusdt@ticker"):
        latest[f"spot:{text}"] = (await served.publish(text, TICKER, count=20))[-1].cursor
    await until(lambda: {body["stream"]: body["cursor"] for body in client.named("ticker")} == latest, "the beat")
    assert len(client.named("ticker")) <= 4


async def test_a_client_of_all_that_returns_gets_what_it_missed_of_each_symbol(served: Served, client: Client) -> None:
    await client.call("subscribe", {"streams": ["*@trade"]})
    seen = [*await served.publish("btcusdt@trade", count=2), *await served.publish("ethusdt@trade", count=2)]
    await until(lambda: len(client.named("trade")) == 4, "trades")
    await client.call("unsubscribe", {"streams": ["*@trade"]})
    missed = [*await served.publish("btcusdt@trade", count=3), *await served.publish("ethusdt@trade", count=3)]
    since = {str(message.stream): message.cursor for message in seen}
    reply = await client.call("subscribe", {"streams": ["*@trade"], "since": since})
    assert reply["subscribed"] == [
        {"stream": "spot:*@trade", "cursor": None, "ts": None, "snapshot": None, "recovered": True}
    ]
    await until(lambda: len(client.named("trade")) == 10, "missed trades")
    assert [body["cursor"] for body in client.named("trade")] == [message.cursor for message in [*seen, *missed]]


async def test_one_symbol_of_all_that_is_lost_is_told(served: Served, client: Client) -> None:
    await client.call("subscribe", {"streams": ["*@trade"]})
    (seen,) = await served.publish("btcusdt@trade")
    await until(lambda: client.named("trade"), "trade")
    since = {"spot:btcusdt@trade": seen.cursor, "spot:ethusdt@trade": 1, "spot:nosuch@trade": 1, "nonsense": 1}
    reply = await client.call("subscribe", {"streams": ["*@trade"], "since": since})
    assert reply["subscribed"][0]["recovered"] is False
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"{served.url}/metrics")).text
    assert "tickcast_resume_questions_total 1.0" in metrics
    assert "tickcast_resume_unanswered_total 1.0" in metrics


async def test_who_asks_with_one_symbols_cursor_gets_what_it_missed_of_that_and_the_latest_of_the_others(
    served: Served, client: Client
) -> None:
    await client.call("subscribe", {"streams": ["*@ticker"]})
    (seen,) = await served.publish("btcusdt@ticker", TICKER)
    (other,) = await served.publish("ethusdt@ticker", TICKER)
    await until(lambda: len(client.named("ticker")) == 2, "tickers")
    since = {"spot:btcusdt@ticker": seen.cursor}
    reply = await client.call("subscribe", {"streams": ["*@ticker"], "since": since})
    assert reply["subscribed"][0]["recovered"] is True
    await until(lambda: len(client.named("ticker")) == 3, "the other symbol's latest")
    (last,) = await served.publish("btcusdt@ticker", TICKER)
    await until(lambda: len(client.named("ticker")) == 4, "live")
    assert [body["cursor"] for body in client.named("ticker")[2:]] == [other.cursor, last.cursor]


async def test_a_client_of_all_may_do_without_the_latest_values(served: Served, client: Client) -> None:
    await served.publish("btcusdt@ticker", TICKER)
    await client.call("subscribe", {"streams": ["*@ticker"], "snapshot": False})
    (live,) = await served.publish("ethusdt@ticker", TICKER)
    await until(lambda: client.named("ticker"), "live")
    assert [body["cursor"] for body in client.named("ticker")] == [live.cursor]


async def test_liquidations_of_all_symbols_are_one_stream_of_binances(served: Served, client: Client) -> None:
    reply = await client.call("subscribe", {"streamType": "liquidation", "symbols": ["ALL"]})
    assert [entry["stream"] for entry in reply["subscribed"]] == ["futures:*@forceOrder"]
    await served.publish("futures:*@forceOrder", sample("futures:btcusdt@forceOrder"))
    await until(lambda: client.named("liquidation"), "liquidation")
    assert client.named("liquidation")[0]["stream"] == "futures:*@forceOrder"


async def test_document_002s_clients_can_ask_for_all(served: Served, client: Client) -> None:
    await client.io.emit("subscribe", {"symbols": ["*"]})
    await until(lambda: client.named("subscribed"), "confirmation")
    assert client.named("subscribed") == [{"symbols": ["*"], "message": "Subscribed to 1 symbols"}]
    await served.publish("ethusdt@ticker", TICKER)
    await until(lambda: client.named("price_update"), "price")


async def test_more_cursors_than_there_are_symbols_are_refused(client: Client) -> None:
    since = {f"s{number}usdt@trade": 1 for number in range(4097)}
    assert (await client.call("subscribe", {"streams": ["*@trade"], "since": since}))["code"] == "too_many_streams"


@pytest.fixture
def exchange_of_many(tmp_path: Path) -> Iterator[Process]:
    settings = {"SIM_SYMBOLS": str(SYMBOLS), "SIM_TRADES_PER_SECOND": "1", "EXCHANGE": "simulate"}
    with tickcast("exchange", free_port(), tmp_path, settings) as process:
        yield process


@pytest.fixture
def replica(redis: Process, exchange_of_many: Process, tmp_path: Path) -> Iterator[Process]:
    """A replica that is fed by an ingestor."""
    shared = {
        "BUS_URL": f"redis://127.0.0.1:{redis.port}/0",
        "EXCHANGE_URL": f"http://127.0.0.1:{exchange_of_many.port}",
    }
    with tickcast("ingestor", 0, tmp_path, shared), tickcast("replica", free_port(), tmp_path, shared) as process:
        url = f"http://127.0.0.1:{process.port}"
        wait_until(lambda: httpx.get(f"{url}/health").json()["status"] == "healthy", "fed", 30)
        wait_until(lambda: bool(httpx.get(f"{url}/symbols").json()["data"]["markets"]["spot"]), "symbols known", 30)
        yield process


@pytest.mark.long
@pytest.mark.timeout(120)
def test_two_hundred_clients_get_every_symbol_over_one_subscription_each(
    exchange_of_many: Process, redis: Process, replica: Process
) -> None:
    def status() -> dict[str, int]:
        return dict(httpx.get(f"http://127.0.0.1:{exchange_of_many.port}/control/status", timeout=30).json())

    everything = ["*@kline_1m", "*@ticker"]
    wanted = [str(value) for value in (replica.port, CLIENTS, len(everything) * SYMBOLS)]
    command = [sys.executable, "-m", "tests.server.all_clients", *wanted, *everything]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as clients:
        assert clients.stdin is not None
        assert clients.stdout is not None
        report = msgspec.json.decode(clients.stdout.readline(), type=Report)
        assert (report.odd_streams, report.out_of_order[:5]) == ([], [])
        assert report.messages >= 2 * CLIENTS * len(everything) * SYMBOLS

        assert status()["subscriptions"] == len(everything) * SYMBOLS
        with redis_client.Redis(port=redis.port) as bus:
            channels = bus.pubsub_channels("md:*")
            assert len(channels) == len(everything) * SYMBOLS
            # The replica, and the ingestor's poller where it listens whether a slow stream lives again.
            assert {count for _, count in bus.pubsub_numsub(*channels)} <= {1, 2}
        stats = httpx.get(f"http://127.0.0.1:{replica.port}/stats", timeout=30).json()["data"]
        assert stats["subscriptions_by_stream"] == {"spot:*@kline_1m": CLIENTS, "spot:*@ticker": CLIENTS}
        assert stats["active_streams"] == len(everything) * SYMBOLS
        clients.stdin.close()
    wait_until(lambda: status()["subscriptions"] == DEFAULT_STREAMS, "nothing is carried that nobody wants", 30)
