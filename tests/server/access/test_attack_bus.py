"""Nonsense from a tenant of a bus that is open to all: counted, one line of the log, and data goes on."""

import pytest

from market.announcements import REFUSALS_TOPIC, REPAIRED_TOPIC, resume_answers
from tests.server.conftest import Served, until
from tests.server.json_client import json_client

NONSENSE = (b"", b"{", b"null", b"[" * 10_000, b"\xff" * 100, b'{"stream":7,"ask":"x","streams":{}}')


@pytest.mark.parametrize(
    ("topic", "line"),
    [
        (resume_answers("r1"), "resume answer not understood"),
        (REPAIRED_TOPIC, "repair not understood"),
        (REFUSALS_TOPIC, "refusals not understood"),
    ],
)
async def test_nonsense_on_the_bus_is_counted_and_logged_once(
    served: Served, topic: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with json_client(served.url) as neighbour:
        await neighbour.ask("subscribed", type="subscribe", rawStreams=["ethusdt@trade"])
        for body in NONSENSE * 5:
            await served.publisher.announce(topic, body)
        await served.publish("ethusdt@trade", count=20)
        await until(lambda: len(neighbour.of_stream("ethusdt@trade")) == 20, "the neighbour's trades")
    assert [line in told for told in capsys.readouterr().out.splitlines()].count(True) == 1
