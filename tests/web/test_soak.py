"""What the page's soak says of what it found; the soak itself takes minutes: `make page-soak`."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.web.soak import Found, Sample, judge

FINE = {"wrong": [], "drawn": 5000, "resyncs": 1, "state": "synced", "frames": 9000}


def samples(heap: Callable[[int], float], **check: Any) -> list[Sample]:
    """A sample every 15 s of five minutes."""
    return [
        Sample(15.0 * at, {"JSHeapUsedSize": heap(at), "Nodes": 3000, "JSEventListeners": 80}, FINE | check)
        for at in range(21)
    ]


def flat(at: int) -> float:
    return 10 + at % 3 / 10


def test_a_page_that_keeps_its_promises_passes() -> None:
    assert judge(Found(samples(flat), [], cuts=1))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found(samples(lambda at: 10 + at / 4), [], 1), "PAGE drifting 1 MISSED"),
        (Found(samples(flat), ["Uncaught TypeError"], 1), "console: Uncaught TypeError"),
        (Found(samples(flat, wrong=["crossed"]), [], 1), "book: crossed"),
        (Found(samples(flat, drawn=10), [], 1), "PAGE book_drawn 10 MISSED"),
        (Found(samples(flat, resyncs=3), [], 1), "PAGE book_resyncs 3 MISSED"),
        (Found(samples(flat, state="resyncing"), [], 1), "PAGE book_in_sync 0 MISSED"),
        (Found(samples(flat)[:4], [], 1), "PAGE trends 0 MISSED"),
    ],
    ids=["heap grows", "error", "crossed", "frozen", "resyncs", "not back", "too short"],
)
def test_each_broken_promise_is_named(found: Found, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not judge(found)
    assert said in capsys.readouterr().out
