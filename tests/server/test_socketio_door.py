import asyncio
import json
import time
from functools import partial
from typing import Any

import aiohttp
import msgspec
import pytest

from ingestor.memory import Memory
from market.announcements import ResumeAsk, encode, resume_answers
from market.messages import Message
from market.streams import StreamName
from tests.market.samples import sample
from tests.server.conftest import Client, Served, until

TICKER = sample("spot:btcusdt@ticker")


async def test_a_client_is_greeted_as_document_002_says(client: Client) -> None:
    greeting = client.named("connected")[0]
    assert greeting["message"] == "Connected to WebSocket Streaming Service"
    assert greeting["client_id"] == client.io.get_sid()
    assert (greeting["replica"], greeting["source"]) == ("r1", "simulated")


async def test_a_subscriber_receives_every_message_once_and_in_order(served: Served, client: Client) -> None:
    reply = await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    assert reply == {
        "ok": True,
        "subscribed": [{"stream": "spot:btcusdt@trade", "cursor": None, "ts": None, "snapshot": None}],
        "rejected": [],
    }
    sent = await served.publish("btcusdt@trade", b'{"p":"1.50"}', count=500)
    await until(lambda: len(client.named("trade")) >= 500, "all trades")
    assert [body["cursor"] for body in client.named("trade")] == [message.cursor for message in sent]
    first = client.named("trade")[0]
    assert first == {
        "stream": "spot:btcusdt@trade",
        "cursor": sent[0].cursor,
        "ts": sent[0].received_us // 1000,
        "data": {"p": "1.50"},
    }


async def test_the_acknowledgement_brings_the_latest_value_before_any_live_message(
    served: Served, client: Client
) -> None:
    await client.call("subscribe", {"streams": ["btcusdt@ticker"]})
    (latest,) = await served.publish("btcusdt@ticker", TICKER)
    await until(lambda: client.named("ticker"), "first ticker")
    other = Client()
    await other.connect(served.url, "websocket")
    reply = await other.call("subscribe", {"streams": ["btcusdt@ticker"]})
    assert reply["subscribed"][0]["cursor"] == latest.cursor
    assert reply["subscribed"][0]["snapshot"]["c"] == "67012.34000000"
    assert other.named("ticker") == []
    await other.io.disconnect()


async def test_without_an_acknowledgement_the_snapshot_comes_as_the_first_event(served: Served, client: Client) -> None:
    await served.publish("btcusdt@ticker", TICKER)  # a default stream: the replica receives it anyway
    await client.io.emit("subscribe", {"streams": ["btcusdt@ticker"]})
    await until(lambda: client.named("ticker"), "snapshot")
    await served.publish("btcusdt@ticker", TICKER)
    await until(lambda: len(client.named("ticker")) == 2, "live message")
    cursors = [body["cursor"] for body in client.named("ticker")]
    assert cursors == sorted(set(cursors))


async def test_no_message_slips_between_snapshot_and_live_messages(served: Served) -> None:
    """Clients that subscribe while messages pour in see their snapshot's successor first."""
    done = asyncio.Event()

    async def pour() -> None:
        while not done.is_set():
            await served.publish("btcusdt@ticker", TICKER, count=3)
            await asyncio.sleep(0)

    pouring = asyncio.create_task(pour())
    for _ in range(10):
        joiner = Client()
        await joiner.connect(served.url, "websocket")
        reply = await joiner.call("subscribe", {"streams": ["btcusdt@ticker"]})
        start: int = reply["subscribed"][0]["cursor"] or 0
        await until(partial(_has_tickers, joiner, 20), "live messages")
        cursors = [body["cursor"] for body in joiner.named("ticker")]
        assert cursors == list(range(start + 1, start + 1 + len(cursors)))
        await joiner.io.disconnect()
    done.set()
    await pouring


def _has_tickers(client: Client, count: int) -> bool:
    return len(client.named("ticker")) >= count


async def test_document_002_gets_price_updates_and_its_confirmation(served: Served, client: Client) -> None:
    await served.publish("btcusdt@ticker", TICKER)
    await client.io.emit("subscribe", {"symbols": ["BTCUSDT", "ethusdt"]})
    await until(lambda: client.named("subscribed"), "confirmation")
    assert client.named("subscribed") == [{"symbols": ["BTCUSDT", "ethusdt"], "message": "Subscribed to 2 symbols"}]
    snapshot = client.named("price_update")[0]
    assert (snapshot["symbol"], snapshot["price"], snapshot["changePercent"]) == ("BTCUSDT", 67012.34, 0.02)
    await served.publish("btcusdt@ticker", TICKER)
    await until(lambda: len(client.named("price_update")) == 2, "live update")
    await client.io.emit("unsubscribe", {"symbols": "BTCUSDT"})
    await until(lambda: client.named("unsubscribed"), "confirmation")
    assert client.named("unsubscribed") == [{"symbols": ["BTCUSDT"], "message": "Unsubscribed from 1 symbols"}]
    await served.publish("btcusdt@ticker", TICKER)
    await client.call("subscriptions")
    assert len(client.named("price_update")) == 2


async def test_document_003_gets_ticks_at_its_interval(served: Served, client: Client) -> None:
    await client.io.emit("subscribe", ["BTC", "ETH"])
    await client.call("subscriptions")
    await served.publish("btcusdt@ticker", TICKER)
    await until(lambda: len(client.named("crypto:update")) >= 3, "three ticks")
    ticks = client.named("crypto:update")
    assert {(tick["symbol"], tick["price"], tick["change"]) for tick in ticks} == {("BTC", 67012.34, "0.02%")}
    stamps = [tick["ts"] for tick in ticks]
    assert len(set(stamps)) == len(stamps)


async def test_typed_requests_name_streams_as_documents_000_and_001_do(served: Served, client: Client) -> None:
    request = {"streamType": "kline", "symbols": ["BTCUSDT"], "options": {"interval": "5m"}, "market": "futures"}
    reply = await client.call("subscribe", request)
    assert [entry["stream"] for entry in reply["subscribed"]] == ["futures:btcusdt@kline_5m"]
    await served.publish("futures:btcusdt@kline_5m")
    await until(lambda: client.named("kline"), "kline")


async def test_all_means_every_trading_symbol(client: Client) -> None:
    reply = await client.call("subscribe", {"streamType": "ticker", "symbols": ["ALL"]})
    assert reply == {
        "ok": True,
        "subscribed": [{"stream": "spot:*@ticker", "cursor": None, "ts": None, "snapshot": None}],
        "rejected": [],
    }


async def test_a_continuous_contract_is_known_by_its_pair(served: Served, client: Client) -> None:
    name = "futures:btcusdt_perpetual@continuousKline_1m"
    answer = await client.call("subscribe", {"streams": [name, "nosuch_perpetual@continuousKline_1m"]})
    assert [entry["stream"] for entry in answer["subscribed"]] == [name]
    assert [rejected["code"] for rejected in answer["rejected"]] == ["unknown_symbol"]
    await served.publish(name)
    await until(lambda: client.named("continuousKline"), "a candle")


async def test_each_name_is_judged_by_itself(client: Client) -> None:
    reply = await client.call("subscribe", {"streams": ["btcusdt@trade", "btcusd@trade", "ethusdt@nothing"]})
    assert [entry["stream"] for entry in reply["subscribed"]] == ["spot:btcusdt@trade"]
    assert [(entry["stream"], entry["code"]) for entry in reply["rejected"]] == [
        ("btcusd@trade", "unknown_symbol"),
        ("ethusdt@nothing", "invalid_stream"),
    ]
    assert reply["rejected"][0]["suggestion"] == "BTCUSDT"
    assert not reply["ok"]


# aiohttp, in the client, advises against what this test does on purpose.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
@pytest.mark.parametrize(
    ("request_body", "code"),
    [
        (None, "bad_request"),
        (7, "bad_request"),
        ("BTCUSDT", "bad_request"),
        ({}, "bad_request"),
        ({"symbols": 5}, "bad_request"),
        ({"streams": [1, 2]}, "bad_request"),
        ([{"a": 1}], "bad_request"),
        ({"streams": ["btcusdt@trade"] * 10_000}, "too_many_streams"),
        ({"streams": [f"s{n}usdt@trade" for n in range(1025)]}, "too_many_streams"),
        ({"streams": ["x" * 2_000_000]}, "message_too_large"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_bad_subscribe_gets_an_error_and_the_connection_works_on(
    served: Served, client: Client, request_body: Any, code: str
) -> None:
    await client.io.emit("subscribe", request_body)
    await until(lambda: client.named("error"), "error event")
    assert client.named("error")[0]["code"] == code
    assert (await client.call("subscribe", {"streams": ["btcusdt@trade"]}))["ok"]
    await served.publish("btcusdt@trade")
    await until(lambda: client.named("trade"), "trade")


async def test_a_refusal_goes_into_the_acknowledgement_where_one_is_due(client: Client) -> None:
    reply = await client.call("subscribe", {"symbols": 5})
    assert (reply["ok"], reply["code"]) == (False, "bad_request")
    assert (await client.call("no such event"))["code"] == "unknown_event"
    assert client.named("error") == []


async def test_an_unsubscribed_client_receives_nothing_more(served: Served, client: Client) -> None:
    await client.call("subscribe", {"streams": ["btcusdt@trade", "ethusdt@trade"]})
    assert (await client.call("subscriptions"))["streams"] == ["spot:btcusdt@trade", "spot:ethusdt@trade"]
    reply = await client.call("unsubscribe", {"streams": ["btcusdt@trade", "bnbusdt@trade"]})
    assert reply == {"ok": True, "unsubscribed": ["spot:btcusdt@trade"], "rejected": []}
    await served.publish("btcusdt@trade")
    await served.publish("ethusdt@trade")
    await until(lambda: client.named("trade"), "the other stream")
    assert {body["stream"] for body in client.named("trade")} == {"spot:ethusdt@trade"}


async def test_one_message_reaches_each_form_of_subscription_once(served: Served, client: Client) -> None:
    await client.call("subscribe", {"streams": ["btcusdt@ticker"]})
    await client.call("subscribe", {"symbols": ["BTCUSDT"]})
    await client.call("subscribe", {"symbols": ["btcusdt"]})
    await served.publish("btcusdt@ticker", TICKER)
    await until(lambda: client.named("price_update") and client.named("ticker"), "both forms")
    await client.call("subscriptions")
    assert (len(client.named("price_update")), len(client.named("ticker"))) == (1, 1)


async def test_clients_hear_of_it_when_the_feed_comes_and_goes(served: Served, client: Client) -> None:
    await until(lambda: client.named("status"), "status")
    assert client.named("status")[-1] == {"exchange": "disconnected", "source": "simulated", "replica": "r1"}
    feed = b'{"ingestor":"i1","source":"replay","connected":true,"streams":1,"last_message_ms":1}'
    await served.publisher.announce("feed", feed)
    await until(lambda: client.named("status")[-1]["exchange"] == "connected", "feed up")
    assert client.named("status")[-1]["source"] == "replay"


async def test_a_client_that_returns_gets_exactly_what_it_missed(served: Served, client: Client) -> None:
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    sent = await served.publish("btcusdt@trade", b'{"p":"1"}', count=5)
    await until(lambda: len(client.named("trade")) == 5, "trades")
    await client.io.emit("unsubscribe", {"streams": ["btcusdt@trade"]})
    await client.call("subscriptions")
    sent += await served.publish("btcusdt@trade", b'{"p":"2"}', count=5)
    reply = await client.call("subscribe", {"streams": ["btcusdt@trade"], "since": {"btcusdt@trade": sent[4].cursor}})
    assert reply["subscribed"][0]["recovered"] is True
    sent += await served.publish("btcusdt@trade", b'{"p":"3"}', count=5)
    await until(lambda: len(client.named("trade")) == 15, "missed and live trades")
    assert [body["cursor"] for body in client.named("trade")] == [message.cursor for message in sent]


async def test_a_client_that_was_away_too_long_is_told_so(served: Served, client: Client) -> None:
    reply = await client.call("subscribe", {"streams": ["btcusdt@trade"], "since": {"spot:btcusdt@trade": 1}})
    assert reply["subscribed"][0]["recovered"] is False


async def test_a_returning_client_gets_a_state_streams_latest_value_only_if_it_is_news(
    served: Served, client: Client
) -> None:
    sent = await served.publish("btcusdt@ticker", TICKER, count=2)
    for since, expected in ((sent[0].cursor, [sent[1].cursor]), (sent[1].cursor, [])):
        returning = Client()
        await returning.connect(served.url, "websocket")
        request = {"streams": ["btcusdt@ticker"], "since": {"btcusdt@ticker": since}}
        reply = await returning.call("subscribe", request)
        assert (reply["subscribed"][0]["recovered"], reply["subscribed"][0]["snapshot"]) == (True, None)
        await returning.call("subscriptions")
        assert [body["cursor"] for body in returning.named("ticker")] == expected
        await returning.io.disconnect()


async def test_a_throttled_client_gets_at_most_one_update_per_interval(served: Served, client: Client) -> None:
    other = Client()
    await other.connect(served.url, "websocket")
    await other.call("subscribe", {"streams": ["btcusdt@ticker"]})
    await client.call("subscribe", {"streams": ["btcusdt@ticker", "btcusdt@trade"], "throttle": 250})
    for _ in range(20):
        await served.publish("btcusdt@ticker", TICKER)
        await served.publish("btcusdt@trade")
    latest = (await served.publish("btcusdt@ticker", TICKER))[0].cursor
    await until(lambda: client.named("ticker")[-1:] and client.named("ticker")[-1]["cursor"] == latest, "the latest")
    assert len(client.named("ticker")) < 10
    await until(lambda: len(client.named("trade")) == 20, "events are never throttled")
    await until(lambda: len(other.named("ticker")) == 21, "nor are others")
    await other.io.disconnect()
    assert (await client.call("subscribe", {"streams": ["btcusdt@ticker"], "throttle": 77}))["code"] == "bad_request"


async def test_a_client_resumes_here_although_nobody_had_wanted_its_stream_here(served: Served, client: Client) -> None:
    """An ingestor remembers; what it tells and what arrives live overlap, and nothing comes twice."""
    stream = StreamName.parse("btcusdt@trade")
    past = [Message(stream, cursor, time.time_ns() // 1000, b'{"p":"1"}') for cursor in range(1, 11)]
    memory = Memory()
    for message in past:
        memory.keep(message)

    def answer(body: bytes) -> None:
        ask = msgspec.json.decode(body, type=ResumeAsk)
        asyncio.get_running_loop().create_task(_answer(served, memory, ask, past))  # ends with the test

    served.on_resume(answer)
    reply = await client.call("subscribe", {"streams": ["btcusdt@trade"], "since": {"btcusdt@trade": 4}})
    assert reply["subscribed"][0] == {
        "stream": "spot:btcusdt@trade",
        "cursor": 10,
        "ts": past[-1].received_us // 1000,
        "snapshot": None,
        "recovered": True,
    }
    later = Message(stream, 11, time.time_ns() // 1000, b'{"p":"2"}')
    await served.publisher.publish([later])
    await until(lambda: len(client.named("trade")) == 7, "missed and live")
    assert [body["cursor"] for body in client.named("trade")] == list(range(5, 12))


async def _answer(served: Served, memory: Memory, ask: ResumeAsk, past: list[Message]) -> None:
    await served.publisher.announce(resume_answers(ask.replica), encode(memory.answer(ask)))
    await served.publisher.publish(past[-2:])  # still on its way when the ingestor answered


@pytest.mark.parametrize("form", [{"symbols": ["BTCUSDT"]}, {"streams": ["btcusdt@ticker"]}], ids=["002", "full"])
async def test_the_confirmation_stands_before_what_is_shown_first(served: Served, client: Client, form: Any) -> None:
    await served.publish("btcusdt@ticker", TICKER)
    await client.io.emit("subscribe", form)
    await until(lambda: client.events[-1][0] in {"price_update", "ticker"}, "snapshot")
    names = [name for name, _ in client.events if name not in {"connected", "status"}]
    assert names == (["subscribed", "price_update"] if "symbols" in form else ["ticker"])


@pytest.mark.parametrize("form", [{"symbols": ["BTCUSDT"]}, ["BTC"]], ids=["002", "003"])
async def test_the_seeds_forms_are_acknowledged_before_anything_is_shown(served: Served, form: Any) -> None:
    (sent,) = await served.publish("btcusdt@ticker", TICKER)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{served.url}/socket.io/?EIO=4&transport=websocket") as ws,
    ):
        await ws.receive_str()
        await ws.send_str("40")
        await ws.send_str(f"4217{json.dumps(['subscribe', form])}")
        packets = [await ws.receive_str()]
        while packets[-1].startswith(("40", '42["connected"', '42["status"')):
            packets = [await ws.receive_str()]
        packets.append(await ws.receive_str())
    entry = {"stream": "spot:btcusdt@ticker", "cursor": sent.cursor, "ts": sent.received_us // 1000, "snapshot": None}
    assert packets[0] == "4317" + json.dumps(
        [{"ok": True, "subscribed": [entry], "rejected": []}], separators=(",", ":")
    )
    assert packets[1].startswith('42["subscribed"' if isinstance(form, dict) else '42["crypto:update"')


async def test_leaving_what_one_has_in_another_form_is_refused_with_that_form(client: Client) -> None:
    request = {"streams": ["spot:bnbusdt@ticker"]}
    for form, named in (({"symbols": ["BNBUSDT"]}, '{symbols: ["BNBUSDT"]}'), (["BNB"], '["BNB"]')):
        await client.call("subscribe", form)
        reply = await client.call("unsubscribe", request)
        (rejected,) = reply["rejected"]
        assert (reply["ok"], reply["unsubscribed"], rejected["code"]) == (False, [], "not_subscribed")
        assert named in rejected["message"]
        assert (await client.call("unsubscribe", form))["unsubscribed"] == ["spot:bnbusdt@ticker"]
    assert await client.call("unsubscribe", request) == {"ok": True, "unsubscribed": [], "rejected": []}


async def test_leaving_a_symbol_that_comes_by_all_is_refused(client: Client) -> None:
    await client.call("subscribe", {"streams": ["*@ticker"]})
    (rejected,) = (await client.call("unsubscribe", {"streams": ["btcusdt@ticker"]}))["rejected"]
    assert (rejected["code"], rejected["message"]) == ("not_subscribed", "Subscribed to ALL symbols: unsubscribe ALL")


# aiohttp, in the client, advises against what this test does on purpose.
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
async def test_a_message_that_is_too_large_is_refused_in_its_acknowledgement(client: Client) -> None:
    reply = await client.call("subscribe", {"streams": ["x" * 2_000_000]})
    assert (reply["ok"], reply["code"]) == (False, "message_too_large")
    assert client.named("error") == []
