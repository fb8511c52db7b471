"""`time`: the replica's clock, and how long messages take to it."""

import time
from typing import Any

from market.announcements import FEED_TOPIC, FeedStatus, Source, encode
from market.figures import FeedFigures, HopFigures
from telemetry import recent
from tests.server.conftest import Client, Served, until
from tests.support.documented import Documented


def _fed(name: str, last_message_ms: int, publish: HopFigures | None) -> bytes:
    figures = FeedFigures(phase="live", publish=publish)
    return encode(FeedStatus(name, Source.SIMULATED, True, 3, last_message_ms, figures=figures))  # noqa: FBT003 # `connected`


async def test_before_there_is_anything_to_tell_it_tells_the_time(served: Served) -> None:
    client = Client()
    await client.connect(served.url, "websocket")
    before = time.time() * 1000
    answer = await client.call("time")
    assert before <= answer.pop("serverTime") <= time.time() * 1000
    assert answer == {"ok": True, "lastMessage": None, "hops": {"publish": None, "bus": None, "socket": None}}
    await client.io.disconnect()


async def test_it_tells_the_exchange_s_last_word_and_the_times_of_messages(served: Served) -> None:
    documented = Documented("io")
    client = Client()
    await client.connect(served.url, "websocket")
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    await served.publisher.announce(FEED_TOPIC, _fed("one", 7_000, HopFigures(100, 900, 50)))
    await served.publisher.announce(FEED_TOPIC, _fed("two", 6_000, HopFigures(200, 2_500, 4)))
    answer: dict[str, Any] = {}

    async def is_told() -> bool:
        await served.publish("spot:btcusdt@trade")
        nonlocal answer
        answer = await client.call("time")
        documented.check("timeAck", answer)
        return all(answer["hops"].values())

    await until(is_told, "samples of every hop")
    assert answer["lastMessage"] == 7_000
    assert answer["hops"]["publish"] == {"p50": 0.2, "p95": 2.5, "samples": 4}
    for hop in ("bus", "socket"):
        assert 0 <= answer["hops"][hop]["p50"] <= answer["hops"][hop]["p95"] < 10_000
        assert 1 <= answer["hops"][hop]["samples"] <= recent.MAX_TIMES
    await client.io.disconnect()
