"""What a door says of itself is no market data to the clients of a run, nor an error."""

import json
from collections.abc import Callable, Iterable

import pytest

from loadtest.probe.reading import read_binance, read_event, read_prices, read_raw, read_typed

LEAVE = {"delayMs": 3000, "replica": "app1"}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (read_raw, {"type": "draining", **LEAVE}),
        (read_typed, {"type": "draining", **LEAVE}),
        (read_prices, {"type": "DRAINING", "data": LEAVE}),
        (lambda text: read_binance("spot", text), {"stream": "!serverShutdown", "data": {"e": "serverShutdown"}}),
        (lambda text: read_event("draining", json.loads(text)), LEAVE),
    ],
)
def test_a_replica_s_leave_is_read_at_every_door(
    read: Callable[[str], Iterable[object]], message: dict[str, object]
) -> None:
    assert list(read(json.dumps(message))) == []
