"""The API documents against a running Tickcast: what it sends is what they say, and schemathesis finds nothing."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from deploy.check_documents import OPENAPI, load
from tests.server.conftest import Client, until
from tests.support.documented import Documented
from tests.support.processes import ROOT, free_port, tickcast, wait_until

EXAMPLES = 10
SEED = 1
# A simulated market has too few liquidations to wait for one, a client that reads in time sees no gap; what a replica
# that ends says, and who renews a token gets, is held to the documents where it is tested.
RARE = {"liquidation", "gap", "GAP", "draining", "DRAINING", "authenticated"}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of all of Tickcast in one process; what X-Real-IP says of our address is believed."""
    port, folder = free_port(), tmp_path_factory.mktemp("documents")
    environment = {"SIM_SYMBOLS": "8", "TRUSTED_PROXIES": "127.0.0.1", "RECORD": str(folder / "recordings")}
    # Every request seems to come from another address: all of them are operators.
    environment["OPERATORS"] = "0.0.0.0/0"
    with tickcast("run", port, folder, environment):
        here = f"127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"http://{here}/health").json()["status"] == "healthy", "it has its feed")
        wait_until(lambda: all(_markets(here).values()), "it knows its symbols")
        wait_until(lambda: bool(_recordings(here)), "it has recorded something")
        yield here


def _markets(address: str) -> dict[str, list[dict[str, str]]]:
    markets: dict[str, list[dict[str, str]]] = httpx.get(f"http://{address}/symbols").json()["data"]["markets"]
    return markets


def _recordings(address: str) -> list[str]:
    """Ids of the stored recordings."""
    data = httpx.get(f"http://{address}/replay").json()["data"]
    return [recording["id"] for recording in data["recordings"]]


@pytest.mark.long
def test_schemathesis_finds_nothing(address: str, tmp_path: Path) -> None:
    listed = set.intersection(*({info["symbol"] for info in market} for market in _markets(address).values()))
    report = tmp_path / "report.json"
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"http://{address}/openapi.yaml"),
        *("--checks", "all", "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--no-color"),
        *("--continue-on-failure", "--report-json-path", str(report)),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.system.fuzzing_hooks",
        "LISTED_SYMBOLS": ",".join(sorted(listed)),
        "RECORDINGS_LISTED": ",".join(_recordings(address)),
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    told = json.loads(report.read_text())
    assert told["complete"]
    assert {name for name, rate in told["valid_rates"].items() if _accepted(rate)} == _operations()


def _accepted(rate: dict[str, dict[str, int]]) -> int:
    """How many requests of one operation, of all phases, were answered with success."""
    return sum(phase["accepted"] for phase in rate.values())


def _operations() -> set[str]:
    """All there are, but for the document that schemathesis itself reads: that one it does not ask for."""
    return {f"GET {path}" for path in load(OPENAPI.read_text())["paths"]} - {"GET /openapi.yaml"}


SPOT = (
    "kline_1m",
    "ticker",
    "ticker_1h",
    "miniTicker",
    "bookTicker",
    "depth5",
    "depth",
    "trade",
    "aggTrade",
    "avgPrice",
)
FUTURES = (*SPOT[:2], "miniTicker", "bookTicker", "depth5", "depth", "trade", "aggTrade", "markPrice@1s")
CONTINUOUS = "btcusdt_perpetual@continuousKline_1m"


def _names(symbol: str, kinds: tuple[str, ...]) -> list[str]:
    return [f"{symbol}@{kind}" for kind in kinds]


async def test_what_socketio_clients_get_is_documented(address: str) -> None:
    documented = Documented("io")
    client = Client()
    await client.connect(f"http://{address}", "websocket")

    async def ask(event: str, body: Any = None) -> Any:
        answer = await client.call(event, body)
        documented.check(f"{'list' if event == 'subscriptions' else event}Ack", answer)
        return answer

    names = _names("btcusdt", (*SPOT, "ticker_4h", "ticker_1d", "book"))
    names += [f"futures:{name}" for name in [*_names("btcusdt", (*FUTURES, "book")), CONTINUOUS, "!ticker@arr"]]
    assert len((await ask("subscribe", {"streams": [*names, "nope@trade"]}))["rejected"]) == 1
    await ask("subscribe", {"streams": "wrong"})
    await ask("subscribe", {"streams": ["btcusdt@trade"], "since": {"btcusdt@trade": 1}})
    await ask("subscriptions")
    await ask("time")
    await ask("getHistoricalKlines", {"symbol": "btcusdt", "interval": "1m", "limit": 5})
    await ask("getHistoricalKlines", {"symbol": "btcusdt", "interval": "7m"})
    wish = {"recording": _recordings(address)[0], "streams": ["btcusdt@ticker", "ethusdt@ticker"]}
    long = await ask("getReplay", {**wish, "speed": 1})
    await ask("stopReplay", {"id": long["id"]})
    await ask("stopReplay", {"id": "none"})
    await ask("getReplay", {**wish, "speed": -1})
    for event, body in (
        ("getReplay", {**wish, "speed": 0}),
        ("getReplay", {"recording": wish["recording"], "symbols": "BTCUSDT", "speed": 0}),
        ("subscribe", {"symbols": ["BTCUSDT", "NOPE"]}),
        ("subscribe", ["BTC"]),
        ("getHistoricalKlines", {"symbol": "btcusdt", "interval": "1m", "limit": 5}),
        ("subscriptions", None),
        ("nonsense", 1),
    ):
        await client.io.emit(event, body)
    expected = documented.keys("socketio.send") - RARE - {"unsubscribed"}
    await until(lambda: expected <= {_key(event) for event, _ in client.events}, "every event", 30)
    await client.io.emit("unsubscribe", {"symbols": ["BTCUSDT"]})
    await ask("unsubscribe", {"streams": names})
    await until(lambda: client.named("unsubscribed"), "the answer in 002's form")
    await client.io.disconnect()
    for event, body in client.events:
        documented.check(_key(event), body)


def _key(event: str) -> str:
    return event.replace(":", "-")


async def _converse(url: str, requests: list[Any], enough: Callable[[list[Any]], bool]) -> list[Any]:
    """What a stock WebSocket client gets on these requests until it is enough."""
    received: list[Any] = []
    async with asyncio.timeout(30), connect(url, max_size=None) as socket:
        for request in requests:
            await socket.send(json.dumps(request))
        while not enough(received):
            received.append(json.loads(await socket.recv()))
    return received


async def test_what_json_clients_get_is_documented(address: str) -> None:
    typed = [
        {"type": "subscribe", "streamType": kind, "symbols": ["btcusdt"], "market": market}
        for market, kinds in (
            ("spot", ("kline", "ticker", "ticker_1h", "ticker_4h", "ticker_1d", "miniTicker", "bookTicker", "depth")),
            ("spot", ("trade", "aggTrade", "avgPrice", "book")),
            ("futures", ("kline", "ticker", "bookTicker", "depth", "trade", "aggTrade", "markPrice", "book")),
        )
        for kind in kinds
    ]
    continuous = {"type": "subscribe", "streamType": "continuousKline", "symbols": "btcusdt_perpetual"}
    raw = {"type": "subscribe", "rawStreams": ["ethusdt@kline_1m", "futures:ethusdt@depth5", "!miniTicker@arr", "nope"]}
    history = {"type": "getHistoricalKlines", "symbol": "btcusdt", "interval": "1m", "limit": 5}
    upper = [{"type": kind, "symbol": "BTC"} for kind in ("SUBSCRIBE", "PING", "NONSENSE", "UNSUBSCRIBE")]
    ending = {"type": "unsubscribe", "streamType": "kline", "symbols": ["btcusdt"]}
    replay = {"type": "getReplay", "recording": _recordings(address)[0], "speed": 0}
    replays = [
        replay | {"rawStreams": ["btcusdt@ticker"]},
        replay | {"streamType": "ticker", "symbols": ["btcusdt"], "options": {}},
        {"type": "stopReplay", "id": "none"},
    ]
    requests = [*typed, continuous, raw, history, *replays, {"type": "ping"}, {"type": "nonsense"}, *upper, ending]
    documented = Documented("json")
    wanted = documented.keys("json.send") - RARE
    plain = ("subscribe", "unsubscribe", "getHistoricalKlines", "getReplay", "stopReplay", "ping")
    for request in (*plain, "SUBSCRIBE", "UNSUBSCRIBE", "PING"):
        wanted |= documented.keys(f"json.{request}", reply=True)
    received = await _converse(
        f"ws://{address}/", requests, lambda received: wanted <= {body.get("type", "raw") for body in received}
    )
    for body in received:
        documented.check(body.get("type", "raw"), body)
    assert set(documented.seen) == wanted


def _kind(body: Any) -> str:
    """What a message of the Binance door is, by the fields that tell."""
    if isinstance(body, list):
        return f"{body[0]['e']}s"
    payload = body.get("data", body)
    if isinstance(payload, list):
        return f"{payload[0]['e']}s"
    return str(payload.get("e") or next(key for key in ("result", "error", "lastUpdateId", "u") if key in payload))


async def _check_binance(url: str, market: str, streams: list[str], kinds: set[str]) -> None:
    requests = [
        {"method": "SUBSCRIBE", "params": streams, "id": 1},
        {"method": "LIST_SUBSCRIPTIONS", "id": 2},
        {"method": "NONSENSE", "id": 3},
    ]
    wanted = kinds | {"result", "error"}
    received = await _converse(url, requests, lambda received: wanted <= {_kind(body) for body in received})
    documented = Documented("binance")
    for body in received:
        is_answer = _kind(body) in ("result", "error")
        form = "Combined" if url.endswith("/stream") else "Payload"
        documented.check(_kind(body) if is_answer else f"{market}{form}", body)


@pytest.mark.parametrize("path", ["/ws", "/stream"])
async def test_what_binances_spot_clients_get_is_documented(address: str, path: str) -> None:
    kinds = {"kline", "24hrTicker", "1hTicker", "24hrMiniTicker", "depthUpdate", "trade", "aggTrade", "avgPrice"}
    kinds |= {"u", "lastUpdateId", "24hrMiniTickers", "1hTickers"}
    streams = [*_names("btcusdt", SPOT), "!miniTicker@arr", "!ticker_1h@arr"]
    await _check_binance(f"ws://{address}{path}", "spot", streams, kinds)


@pytest.mark.parametrize("path", ["/futures/ws", "/futures/stream"])
async def test_what_binances_futures_clients_get_is_documented(address: str, path: str) -> None:
    kinds = {"kline", "24hrTicker", "24hrMiniTicker", "bookTicker", "depthUpdate", "trade", "aggTrade"}
    kinds |= {"markPriceUpdate", "24hrTickers", "markPriceUpdates", "continuous_kline"}
    streams = [*_names("btcusdt", FUTURES), CONTINUOUS, "!ticker@arr", "!markPrice@arr@1s", "!forceOrder@arr"]
    await _check_binance(f"ws://{address}{path}", "futures", streams, kinds)
