"""What clients see where copies of a stream lack messages: a test plays both ingestors at the other end of the bus."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from market.announcements import (
    REPAIRED_TOPIC,
    KeptMessage,
    Repaired,
    ResumeAnswer,
    ResumeAsk,
    encode,
    resume_answers,
)
from market.messages import Message
from market.streams import StreamName
from tests.server.conftest import Client, Served, until
from tests.server.json_client import JsonClient, json_client

TRADES = "spot:btcusdt@trade"
DEPTH = "spot:btcusdt@depth@100ms"
KLINES = "spot:btcusdt@kline_1m"
OPEN = 1_723_161_240_000
MINUTE = 60_000


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    connected = Client()
    await connected.connect(served.url, "websocket")
    yield connected
    await connected.io.disconnect()


@pytest.fixture
async def plain(served: Served) -> AsyncIterator[JsonClient]:
    async with json_client(served.url) as connected:
        yield connected


def trade(number: int) -> dict[str, Any]:
    return {"e": "trade", "E": number, "s": "BTCUSDT", "t": number, "p": "1", "q": "1", "T": number, "m": True}


def depth(number: int) -> dict[str, Any]:
    return {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": 10 * number - 9, "u": 10 * number, "b": [], "a": []}


def kline(event_ms: int, open_ms: int, *, closed: bool = False) -> dict[str, Any]:
    candle = {"t": open_ms, "T": open_ms + MINUTE - 1, "x": closed}
    return {"e": "kline", "E": event_ms, "s": "BTCUSDT", "k": candle}


async def say(served: Served, text: str, *bodies: dict[str, Any]) -> None:
    """Publish copies of messages, whichever ingestor's."""
    stream = StreamName.parse(text)
    made = [
        Message(stream, _cursor(body), time.time_ns() // 1_000, json.dumps(body, separators=(",", ":")).encode())
        for body in bodies
    ]
    await served.publisher.publish(made)


async def repair(served: Served, bodies: Sequence[dict[str, Any]], *, complete: bool) -> None:
    """Answer the last question."""
    ask = served.repair_asks[-1]
    kept = [
        KeptMessage(_cursor(body), time.time_ns() // 1_000, msgspec.Raw(json.dumps(body).encode())) for body in bodies
    ]
    answer = Repaired(ask.stream, ask.first, ask.last, kept, complete)
    await served.publisher.announce(REPAIRED_TOPIC, encode(answer))


def _cursor(body: dict[str, Any]) -> int:
    return int(body.get("t", body.get("u", body["E"])))


async def subscribe(client: Client, text: str, **more: Any) -> Any:
    answer = await client.call("subscribe", {"streams": [text], **more})
    assert answer["ok"], answer
    return answer["subscribed"][0]


def ids(client: Client) -> list[int]:
    return [body["cursor"] for body in client.named("trade")]


async def metric(served: Served, name: str) -> float:
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{served.url}/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"tickcast_{name}_total ")]
    return float(line.split()[1])


async def test_two_copies_come_once_and_what_one_lacks_comes_from_the_other(served: Served, client: Client) -> None:
    await subscribe(client, TRADES)
    await say(served, TRADES, *(trade(n) for n in (1, 1, 2, 2, 4, 5, 2)))
    await say(served, TRADES, *(trade(n) for n in (3, 4, 5, 6, 6)))
    await until(lambda: len(ids(client)) == 6, "all of them")
    assert ids(client) == [1, 2, 3, 4, 5, 6]
    assert client.named("gap") == []
    assert served.repair_asks == []
    assert await metric(served, "duplicates_dropped") == 6


async def test_what_both_copies_lack_is_asked_for_once_and_comes_in_its_place(served: Served, client: Client) -> None:
    await subscribe(client, TRADES)
    await say(served, TRADES, trade(1), trade(5), trade(5), trade(6))
    await until(lambda: served.repair_asks, "the question")
    (ask,) = served.repair_asks
    assert (ask.stream, ask.first, ask.last, ask.after) == (TRADES, 2, 4, 1)
    await repair(served, [trade(n) | {"source": "poll"} for n in (2, 3, 4)], complete=True)
    await until(lambda: len(ids(client)) == 6, "all of them")
    assert ids(client) == [1, 2, 3, 4, 5, 6]
    assert [body["data"].get("source") for body in client.named("trade")] == [None, *["poll"] * 3, None, None]
    assert client.named("gap") == []
    assert await metric(served, "repaired_messages") == 3


async def test_ids_that_never_were_leave_no_gap(served: Served, client: Client) -> None:
    await subscribe(client, TRADES)
    await say(served, TRADES, trade(1), trade(5))
    await until(lambda: served.repair_asks, "the question")
    await repair(served, [trade(3)], complete=True)
    await until(lambda: len(ids(client)) == 3, "all of them")
    assert ids(client) == [1, 3, 5]
    assert client.named("gap") == []


async def test_what_nobody_has_is_announced_as_a_gap_on_every_door_that_can(
    served: Served, client: Client, plain: JsonClient
) -> None:
    await subscribe(client, TRADES)
    await plain.ask("subscribed", type="subscribe", streamType="trade", symbols=["BTCUSDT"])
    await plain.ask("subscribed", type="subscribe", rawStreams=["btcusdt@trade"])
    async with connect(f"{served.url.replace('http', 'ws')}/ws/btcusdt@trade") as binance:
        await say(served, TRADES, trade(1))
        await until(lambda: ids(client), "the first one")
        await say(served, TRADES, trade(4), trade(8), trade(9))
        await until(lambda: served.repair_asks, "the question")
        await repair(served, [trade(3)], complete=False)
        await until(lambda: len(ids(client)) == 5, "what is left", timeout_s=5)
        heard = [json.loads(await binance.recv())["t"] for _ in range(5)]
    gaps = [{"stream": TRADES, "missed": 1, "until": 2}, {"stream": TRADES, "missed": 3, "until": 7}]
    assert client.named("gap") == [gap | {"reason": "upstream"} for gap in gaps]
    assert [name for name, _ in client.events if name in ("trade", "gap")] == [
        *("trade", "gap", "trade", "trade", "gap", "trade", "trade")
    ]
    assert ids(client) == heard == [1, 3, 4, 8, 9]
    await plain.settle()
    told = [{"type": "gap", **gap, "stream": "btcusdt@trade", "reason": "upstream"} for gap in gaps]
    assert sorted(plain.of_type("gap"), key=lambda gap: gap["until"]) == [told[0], told[0], told[1], told[1]]
    assert await metric(served, "upstream_gaps") == 2


async def test_depth_that_no_ingestor_remembers_leaves_a_gap_at_once(served: Served, client: Client) -> None:
    await subscribe(client, DEPTH)
    await say(served, DEPTH, depth(1), depth(2), depth(4), depth(5))
    await until(lambda: served.repair_asks, "the question")
    await repair(served, [], complete=False)
    await until(lambda: len(client.named("depth")) == 4, "what is left", timeout_s=1)
    assert client.named("gap") == [{"stream": DEPTH, "missed": 10, "until": 30, "reason": "upstream"}]


async def test_a_candle_whose_close_both_copies_lack_is_repaired_before_the_next_one(
    served: Served, client: Client
) -> None:
    await subscribe(client, KLINES)
    await say(served, KLINES, kline(OPEN + 2, OPEN), kline(OPEN + MINUTE + 9, OPEN + MINUTE))
    await until(lambda: served.repair_asks, "the question")
    (ask,) = served.repair_asks
    assert (ask.first, ask.last, ask.after) == (OPEN, OPEN, OPEN + 2)
    await repair(served, [kline(OPEN + MINUTE, OPEN, closed=True)], complete=True)
    await until(lambda: len(client.named("kline")) == 3, "all of them")
    assert [body["cursor"] - OPEN for body in client.named("kline")] == [2, MINUTE, MINUTE + 9]
    assert client.named("gap") == []


async def test_a_past_with_a_gap_is_not_passed_off_as_what_was_missed(served: Served, client: Client) -> None:
    await subscribe(client, DEPTH)
    await say(served, DEPTH, depth(1), depth(2), depth(4), depth(5))
    await until(lambda: len(client.named("depth")) == 4, "what is left")
    other = Client()
    await other.connect(served.url, "websocket")
    assert (await subscribe(other, DEPTH, since={DEPTH: 20}))["recovered"] is False
    await other.call("unsubscribe", {"streams": [DEPTH]})
    assert (await subscribe(other, DEPTH, since={DEPTH: 40}))["recovered"] is True
    await until(lambda: other.named("depth"), "what came after")
    assert [body["cursor"] for body in other.named("depth")] == [50]
    await other.io.disconnect()


async def test_a_hole_is_given_up_in_time_though_nobody_answers(served: Served, client: Client) -> None:
    await subscribe(client, TRADES)
    await say(served, TRADES, trade(1), trade(3))
    await until(lambda: len(ids(client)) == 2, "the one behind it")
    assert client.named("gap") == [{"stream": TRADES, "missed": 1, "until": 2, "reason": "upstream"}]


async def test_malformed_repairs_are_counted_and_harm_nothing(served: Served, client: Client) -> None:
    await subscribe(client, TRADES)
    await say(served, TRADES, trade(1), trade(3))
    await until(lambda: served.repair_asks, "the question")
    for body in (b"{", b"[]", b'{"stream":"x","first":1,"last":2,"messages":[],"complete":true}'):
        await served.publisher.announce(REPAIRED_TOPIC, body)
    await repair(served, [trade(2)], complete=True)
    await until(lambda: len(ids(client)) == 3, "all of them")
    assert await metric(served, "repair_malformed") == 3


async def test_a_stream_whose_ids_begin_anew_is_followed_again(served: Served, client: Client) -> None:
    await subscribe(client, TRADES)
    await say(served, TRADES, trade(100), trade(101))
    numbers = iter(range(1, 1_000))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(8):
            while len(ids(client)) < 4:
                await say(served, TRADES, trade(next(numbers)))
                await asyncio.sleep(0.1)
    first, second, third, fourth = ids(client)[:4]
    assert (first, second) == (100, 101)
    assert fourth == third + 1 < 100
    assert await metric(served, "epochs") == 1


async def test_a_past_that_one_ingestor_has_with_a_hole_comes_from_the_other(served: Served, client: Client) -> None:
    def kept(*numbers: int) -> list[KeptMessage]:
        return [KeptMessage(n, n, msgspec.Raw(json.dumps(trade(n)).encode())) for n in numbers]

    def answer(body: bytes) -> None:
        ask = msgspec.json.decode(body, type=ResumeAsk)
        answers = [ResumeAnswer(ask.ask, known) for known in ({}, {TRADES: kept(3, 5, 6)}, {TRADES: kept(3, 4, 5, 6)})]
        topic = resume_answers(ask.replica)
        told.extend(asyncio.create_task(served.publisher.announce(topic, encode(answer))) for answer in answers)

    told: list[asyncio.Task[None]] = []
    served.on_resume(answer)
    assert (await subscribe(client, TRADES, since={TRADES: 3}))["recovered"] is True
    await say(served, TRADES, *(trade(n) for n in (5, 6, 7)))
    await until(lambda: len(ids(client)) == 4, "all of them")
    assert ids(client) == [4, 5, 6, 7]
    await asyncio.gather(*told)
