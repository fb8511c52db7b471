"""What goes wrong between the exchange and a connection: survived, counted, and told once, on a real stand-in."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from binance import dialogue, session
from binance.counters import Trouble
from binance.routes import Route
from binance.settings import Endpoints, stand_in
from binance.upstream import Upstream
from bus.memory import MemoryBroker, MemoryBus
from tests.binance.consumer import Consumer, Open
from tests.binance.wire import until
from tests.exchange.client import Client
from tests.support.processes import free_port

TRADE = "btcusdt@trade"
TROUBLE_LINE = "exchange connection in trouble"


@pytest.fixture
def upstream(exchange: Client) -> Upstream:
    return Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"))


async def _flows(consumer: Consumer) -> None:
    """Return once new messages come."""
    before = consumer.count(TRADE)
    await until(lambda: consumer.count(TRADE) > before + 5, "messages flow")


@pytest.mark.parametrize(
    ("garbage", "trouble"),
    [
        ("invalid_json", Trouble.GARBAGE),
        ("empty", Trouble.GARBAGE),
        ("not_utf8", Trouble.GARBAGE),
        ("binary", Trouble.GARBAGE),
        ("unknown_stream", Trouble.UNWANTED),
        ("error", Trouble.STRAY_REPLY),
        ("reply", Trouble.STRAY_REPLY),
    ],
)
async def test_garbage_is_counted_and_the_connection_goes_on(
    exchange: Client, upstream: Upstream, consumer: Consumer, garbage: str, trouble: Trouble
) -> None:
    connection = consumer.connect(upstream, TRADE)
    await until(lambda: connection.settled, "subscribed")
    with capture_logs() as lines:
        for _ in range(3):
            await exchange.control("say", garbage=garbage)
        await until(lambda: upstream.counters.troubles[trouble] == 3, "three counted")
    assert len(lines) == (trouble is Trouble.GARBAGE)
    await _flows(consumer)
    assert upstream.counters.troubles == {trouble: 3}
    assert upstream.counters.opened == 1
    assert consumer.holes() == {}


@pytest.mark.parametrize(
    ("command", "trouble"),
    [
        (("say", {"garbage": "oversized"}), Trouble.OVERSIZED),
        (("say", {"garbage": "reserved_opcode"}), Trouble.PROTOCOL),
        (("close", {"code": 1008, "reason": "Too many requests"}), Trouble.RATE_LIMITED),
        (("close", {"code": 1001, "reason": "lifetime"}), Trouble.CLOSED),
        (("drop", {}), Trouble.LOST),
    ],
)
async def test_a_connection_that_ends_is_counted_by_its_cause_and_opened_again(
    exchange: Client, upstream: Upstream, consumer: Consumer, command: tuple[str, dict[str, object]], trouble: Trouble
) -> None:
    connection = consumer.connect(upstream, TRADE)
    await until(lambda: connection.settled, "subscribed")
    with capture_logs() as lines:
        await exchange.control(command[0], **command[1])
        await until(lambda: upstream.counters.opened == 2, "opened again")
    assert [line["trouble"] for line in lines if line["event"] == TROUBLE_LINE] == [trouble]
    await _flows(consumer)
    assert upstream.counters.troubles == {trouble: 1}


async def test_a_half_open_connection_is_found_and_replaced(
    exchange: Client, upstream: Upstream, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "QUIET_S", 0.3)
    monkeypatch.setattr(dialogue, "PONG_S", 0.3)
    consumer.connect(upstream, TRADE)
    await _flows(consumer)
    await exchange.control("stall", seconds=3_600)
    await until(lambda: upstream.counters.troubles[Trouble.HALF_OPEN] == 1, "found")
    await _flows(consumer)


async def test_a_quiet_server_that_answers_pings_is_kept(
    exchange: Client, upstream: Upstream, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogue, "QUIET_S", 0.1)
    monkeypatch.setattr(dialogue, "PONG_S", 0.3)
    connection = consumer.connect(upstream, "nosuchusdt@trade")
    await until(lambda: connection.settled, "subscribed")
    before = exchange.exchange.status()["client_messages_total"]
    await until(lambda: exchange.exchange.status()["client_messages_total"] >= before + 2, "two pings")
    assert upstream.counters.opened == 1
    assert not upstream.counters.troubles


async def test_pings_of_the_server_are_answered_with_their_payload(open_exchange: Open, consumer: Consumer) -> None:
    exchange = await open_exchange(spot_ping_s=0.2, spot_pong_s=0.9)
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"))
    consumer.connect(upstream, TRADE)
    await until(lambda: exchange.exchange.status()["client_messages_total"] > 6, "five pongs")
    assert not upstream.counters.troubles


@pytest.mark.parametrize("status", [403, 418, 429])
async def test_a_refused_handshake_pauses_all_attempts_as_long_as_asked(
    exchange: Client, upstream: Upstream, consumer: Consumer, status: int
) -> None:
    await exchange.control("refuse", door="websocket", status=status, retry_after=1, requests=1)
    started = asyncio.get_running_loop().time()
    consumer.connect(upstream, TRADE)
    await until(lambda: upstream.counters.troubles, "refused")
    consumer.connect(upstream, "ethusdt@trade")
    await until(lambda: upstream.counters.opened == 2, "both are open")
    assert asyncio.get_running_loop().time() - started >= 1.0
    assert upstream.counters.troubles == {Trouble(f"http_{status}"): 1}
    await _flows(consumer)


async def test_a_refusal_without_a_reason_to_pause_is_tried_again(
    exchange: Client, upstream: Upstream, consumer: Consumer
) -> None:
    await exchange.control("refuse", door="websocket", status=503, requests=2)
    with capture_logs() as lines:
        consumer.connect(upstream, TRADE)
        await _flows(consumer)
    assert upstream.counters.troubles == {Trouble.HTTP_OTHER: 2}
    assert [line["event"] for line in lines].count(TROUBLE_LINE) == 1


async def test_a_pause_that_one_process_was_ordered_holds_for_all(exchange: Client, consumer: Consumer) -> None:
    broker = MemoryBroker()
    ends = [MemoryBus(broker), MemoryBus(broker)]
    for end in ends:
        await end.start()
    first, second = (Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"), ledger=end) for end in ends)
    await exchange.control("refuse", door="websocket", status=429, retry_after=1, requests=1)
    consumer.connect(first, TRADE)
    await until(lambda: first.counters.troubles[Trouble.HTTP_429] == 1, "one is refused")
    consumer.connect(second, TRADE)
    await until(lambda: first.counters.opened + second.counters.opened == 2, "both are open")
    assert exchange.exchange.status()["connections_refused_total"] == 1
    assert not second.counters.troubles
    for end in ends:
        await end.close()


async def test_an_exchange_that_is_away_is_told_of_once(consumer: Consumer) -> None:
    upstream = Upstream(stand_in(f"http://127.0.0.1:{free_port()}"))
    with capture_logs() as lines:
        consumer.connect(upstream, TRADE)
        await until(lambda: upstream.counters.troubles[Trouble.UNREACHABLE] >= 3, "three attempts")
    assert [line["event"] for line in lines] == [TROUBLE_LINE]


async def test_a_server_that_speaks_no_tls_is_survived(exchange: Client, consumer: Consumer) -> None:
    base = f"wss://127.0.0.1:{exchange.port}"
    upstream = Upstream(Endpoints(base, base, "", ""))
    connection = consumer.connect(upstream, TRADE)
    await until(lambda: upstream.counters.troubles[Trouble.TLS] >= 2, "two attempts")
    assert not connection.connected


async def test_a_name_that_cannot_be_resolved_is_survived(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Asking a real resolver would leave the loopback.
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    upstream = Upstream(stand_in("http://exchange.invalid:1"))
    consumer.connect(upstream, TRADE)
    await until(lambda: upstream.counters.troubles[Trouble.DNS] >= 2, "two attempts")


@pytest.fixture
async def mute_port() -> AsyncIterator[int]:
    """A port that accepts connections and never says a word."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()
    await server.wait_closed()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_handshake_that_nobody_answers_is_given_up(
    mute_port: int, consumer: Consumer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(session, "OPEN_TIMEOUT_S", 0.2)
    base = f"{scheme}://127.0.0.1:{mute_port}"
    upstream = Upstream(Endpoints(base, base, "", ""))
    consumer.connect(upstream, TRADE)
    await until(lambda: upstream.counters.troubles[Trouble.OPEN_TIMEOUT] >= 2, "two attempts")


async def test_a_thousand_streams_are_subscribed_within_the_limits_though_pings_pour_in(
    open_exchange: Open, consumer: Consumer
) -> None:
    exchange = await open_exchange(sim_symbols=100, spot_ping_s=0.1, futures_ping_s=0.05, sim_trades_per_second=0.5)
    upstream = Upstream(stand_in(f"http://127.0.0.1:{exchange.port}"))
    listed = (await exchange.get("/api/v3/exchangeInfo"))["symbols"]
    symbols = [entry["symbol"].lower() for entry in listed]
    depths = tuple(f"depth{levels}{speed}" for levels in ("", "5", "10", "20") for speed in ("", "@500ms"))
    klines = ("kline_1m", "kline_5m", "kline_15m", "kline_1h", "kline_4h", "kline_1d", "ticker", "miniTicker")
    spot = [f"{symbol}@{kind}" for symbol in symbols for kind in ("trade", "bookTicker", *klines)]
    futures = [f"{symbol}@{kind}" for symbol in symbols for kind in ("trade", "bookTicker", *depths)]
    first = consumer.connect(upstream, *spot)
    second = consumer.connect(upstream, *futures, route=Route.FUTURES_PUBLIC)
    await until(lambda: len(first.confirmed) == len(second.confirmed) == 1_000, "all confirmed", 60)
    status = exchange.exchange.status()
    assert 1 < status["busiest_second"]["spot"] <= 5
    assert 1 < status["busiest_second"]["futures"] <= 10
    assert status["rate_closed_total"] == 0
    assert not upstream.counters.troubles
