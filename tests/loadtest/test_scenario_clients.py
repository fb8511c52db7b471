"""The steps of the scenarios' clients, each as Artillery calls it, against a real replica."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections import Counter
from typing import Any

from tests.loadtest.feed import Feed
from tests.server.conftest import Served
from tests.support.processes import ROOT

DRIVE = """
const { io } = require("socket.io-client");
const steps = require("./loadtest/scenarios/clients.js");
const [url, transport, list] = process.argv.slice(1);
const told = { histogram: [], counter: [] };
const events = { emit: (kind, name, value) => told[kind].push([name, value]) };
const socket = io(url, { transports: [transport], reconnectionDelay: 100 });
const context = { sockets: { "": socket }, vars: { stormsAtS: { list: JSON.parse(list) } } };
socket.once("connect", async () => {
  try {
    for (const step of ["begin", "watch", "subscribe", "storms", "finish"]) await steps[step](context, events);
    console.log(JSON.stringify(told));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
  socket.disconnect();
});
"""


async def drive(url: str, transport: str, *storms_at_s: float) -> dict[str, Any]:
    """What one client through these storms tells Artillery."""
    command = ["node", "-e", DRIVE, url, transport, json.dumps(storms_at_s)]
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE)
    async with asyncio.timeout(30):
        said, _ = await child.communicate()
    told: dict[str, Any] = json.loads(said)
    return told


def counted(told: dict[str, Any]) -> Counter[str]:
    found = Counter[str]()
    for name, value in told["counter"]:
        found[name] += int(value)
    return found


async def test_a_client_comes_back_from_each_storm_and_misses_nothing(served: Served, feed: Feed) -> None:
    storms_at_s = (0.5, 1.2)
    both = (drive(served.url, transport, *storms_at_s) for transport in ("websocket", "polling"))
    for told in await asyncio.gather(*both):
        assert "error" not in told, told
        counters = counted(told)
        assert counters.pop("clients.messages") > 0
        assert counters == {
            "clients.returned": 2,
            "clients.unrecovered": 0,
            "clients.missed": 0,
            "clients.doubled": 0,
        }
        assert [name for name, _ in told["histogram"]] == [
            "clients.subscribed_ms",
            "clients.back_ms",
            "clients.back_ms",
        ]


async def test_a_trade_that_is_missing_is_counted(served: Served, feed: Feed) -> None:
    # A replica waits 1.5 s for what is missing before it goes on without it.
    # Often, since it is only known to the client itself when it listens.
    feed.leave_out_every = 5
    assert counted(await drive(served.url, "websocket", 5.0))["clients.missed"] > 0


async def test_a_client_that_hears_nothing_fails(served: Served) -> None:
    assert await drive(served.url, "websocket") == {"error": "received nothing"}
