import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from binance.recordings import read
from exchange import server as server_module
from exchange.feed import Feed
from exchange.following import Follower
from exchange.recording import survey
from exchange.venue import Venue
from market.streams import Market, StreamName
from tests.exchange.client import PATIENCE_S, Client, ask, eventually, receive, receive_until
from tests.exchange.conftest import Start
from tests.exchange.recordings import DAY, depth, frames, head, trade, write

SPOT = "ws/spot-btc-eth-20240808.ndjson.gz"
FUTURES = "ws/futures-btc-eth-20240808.ndjson.gz"
CURRENT = "ws/futures-usdm-20260927.ndjson.gz"
PATH = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms"
SNAPSHOT = "/api/v3/depth?symbol=BTCUSDT&limit=1000"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two minutes of one symbol: a snapshot that comes after a newer update, trades, a gap in time."""
    t = DAY + 10_000
    return write(
        tmp_path / "small.ndjson.gz",
        [
            (t, "spot", PATH, depth(11, 14, t, [["100.00", "1.0"]], [["101.00", "2.0"]])),
            (t + 1, "spot", PATH, depth(15, 16, t + 1, [["99.00", "0.0"]], [])),
            (
                t + 2,
                "spot",
                SNAPSHOT,
                {"lastUpdateId": 14, "bids": [["100.00", "1.0"], ["99.00", "5.0"]], "asks": [["101.00", "2.0"]]},
            ),
            (t + 10, "spot", PATH, trade(1, t + 8, "100.50000000", "0.10000000")),
            (t + 10, "spot", PATH, trade(2, t + 8, "100.50000000", "0.20000000")),
            (t + 20, "spot", PATH, trade(3, t + 18, "100.25000000", "0.30000000", maker=True)),
            (t + 40, "spot", PATH, {"result": None, "id": 1}),
            (t + 60_000, "spot", PATH, trade(4, t + 60_000, "102.00000000", "1.00000000")),
            (t + 60_500, "spot", PATH, depth(17, 19, t + 60_500, [["100.50", "3.0"]], [["101.00", "0"], ["103", "4"]])),
        ],
    )


async def replaying(start: Start, path: Path, **settings: Any) -> Client:
    return await start(exchange=f"replay:{path}", **settings)


async def finished(client: Client, messages: int) -> None:
    await eventually(lambda: client.exchange.status()["replay_messages_total"] == messages, "replay is over")


async def subscribed(client: Client, names: set[str]) -> None:
    wanted = {f"futures:{name}" for name in names}
    await eventually(lambda: wanted <= set(client.exchange.status()["streams"]), "subscribed")


async def collect(client: Client, path: str, count: int) -> list[str]:
    socket = await client.socket(path)
    async with asyncio.timeout(60):
        return [str(await socket.recv()) for _ in range(count)]


async def test_each_client_gets_every_recorded_frame_once_in_order_and_byte_for_byte(
    start: Start, recordings: Path, tmp_path: Path
) -> None:
    path = head(recordings / SPOT, tmp_path / "part.ndjson.gz", 12_000)
    expected = frames(path)
    client = await replaying(start, path, replay_speed=10_000, replay_loop=False)
    await finished(client, survey(path).messages)
    names = "/".join(f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("trade", "bookTicker"))
    streams = f"/stream?streams={names}/btcusdt@depth@100ms/ethusdt@depth@100ms"
    readers = [asyncio.create_task(collect(client, streams, len(expected))) for _ in range(2)]
    await eventually(lambda: client.exchange.status()["connections"]["spot"] == 2, "connected")
    await client.control("replay", action="restart")
    for reader in readers:
        assert await reader == expected


async def test_futures_frames_of_today_keep_their_blanks_and_names(start: Start, recordings: Path) -> None:
    expected = frames(recordings / CURRENT)
    client = await replaying(start, recordings / CURRENT, replay_speed=10_000, replay_loop=False)
    await finished(client, len(expected))
    streams = {json.loads(frame)["stream"] for frame in expected}
    public = {name for name in streams if "depth" in name or "bookTicker" in name}
    for rounds, (route, names) in enumerate((("/public", public), ("/market", streams - public)), start=1):
        own = [frame for frame in expected if json.loads(frame)["stream"] in names]
        reader = asyncio.create_task(collect(client, f"{route}/stream?streams={'/'.join(names)}", len(own)))
        await subscribed(client, names)
        await client.control("replay", action="restart")
        await finished(client, len(expected) * (rounds + 1))
        assert await reader == own


async def test_raw_connections_get_the_recorded_payload_bytes(start: Start, small: Path) -> None:
    client = await replaying(start, small, replay_speed=10_000, replay_loop=True)
    socket = await client.socket("/ws/btcusdt@trade")
    found = [str(await socket.recv()) for _ in range(8)]
    payloads = {frame.partition('"data":')[2][:-1] for frame in frames(small) if "@trade" in frame}
    assert set(found) == payloads


async def test_recorded_speed_is_kept(start: Start, tmp_path: Path) -> None:
    lines = [(DAY + 300 * i, "spot", PATH, trade(i, DAY + 300 * i, "1.0", "1.0")) for i in range(4)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    client = await replaying(start, write(tmp_path / "slow.ndjson.gz", lines))
    socket = await client.socket("/ws/btcusdt@trade")
    await receive_until(socket, lambda message: message["t"] == 3)
    assert loop.time() - began > 0.85


async def test_a_looped_recording_begins_again_and_another_one_ends(start: Start, small: Path) -> None:
    looped = await replaying(start, small, replay_speed=10_000)
    await eventually(lambda: looped.exchange.status()["replay_rounds_total"] >= 3, "three rounds")
    once = await replaying(start, small, replay_speed=10_000, replay_loop=False)
    await finished(once, 8)
    assert once.exchange.status()["replay_rounds_total"] == 1
    assert (await once.get("/api/v3/ticker/price", symbol="BTCUSDT"))["price"] == "102.00000000"
    await once.control("replay", action="restart")
    await finished(once, 16)


async def test_a_reader_that_lags_holds_the_replay_back_and_loses_nothing(
    start: Start, recordings: Path, tmp_path: Path
) -> None:
    path = head(recordings / SPOT, tmp_path / "part.ndjson.gz", 6_000)
    expected = frames(path)
    client = await replaying(start, path, replay_speed=10_000, replay_loop=True)
    names = "/".join(sorted({json.loads(frame)["stream"] for frame in expected}))
    # Reads one frame ahead only: all else waits in the kernel and at the exchange.
    socket = await client.socket(f"/stream?streams={names}", max_queue=1)

    def played() -> int:
        total: int = client.exchange.status()["replay_messages_total"]
        return total

    async with asyncio.timeout(PATIENCE_S):
        before = -1
        while played() != before:
            before = played()
            await asyncio.sleep(0.3)
    rounds = client.exchange.status()["replay_rounds_total"]
    async with asyncio.timeout(60):
        received = [str(await socket.recv()) for _ in range(len(expected) * (rounds + 1))]
    begin = expected.index(received[0])
    assert received == [expected[(begin + i) % len(expected)] for i in range(len(received))]


async def test_other_speeds_of_depth_are_served_from_the_recorded_one(start: Start, small: Path) -> None:
    client = await replaying(start, small, replay_speed=10_000)
    recorded = await client.socket("/ws/btcusdt@depth@100ms")
    other = await client.socket("/stream?streams=btcusdt@depth")
    wanted = await receive(recorded)
    found = await receive_until(other, lambda message: message["data"] == wanted)
    assert found[-1]["stream"] == "btcusdt@depth"


async def test_missing_kinds_are_derived_from_trades_and_books(start: Start, small: Path) -> None:
    client = await replaying(start, small, replay_speed=10_000, replay_loop=False)
    await finished(client, 8)
    kinds = ("kline_1m", "aggTrade", "ticker", "miniTicker", "bookTicker", "depth5")
    socket = await client.socket("/stream?streams=" + "/".join(f"btcusdt@{kind}" for kind in kinds))
    await client.control("replay", action="restart")
    last: dict[str, list[Any]] = {}

    def complete(message: Any) -> bool:
        last.setdefault(message["stream"].partition("@")[2], []).append(message["data"])
        return len(last) == len(kinds) and any(m["k"]["x"] for m in last["kline_1m"])

    await receive_until(socket, complete)
    closed = next(message["k"] for message in last["kline_1m"] if message["k"]["x"])
    assert (closed["o"], closed["h"], closed["l"], closed["c"]) == (
        "100.50000000",
        "100.50000000",
        "100.25000000",
        "100.25000000",
    )
    assert (closed["n"], closed["v"], closed["V"], closed["q"]) == (3, "0.60000000", "0.30000000", "60.22500000")
    aggregates = {(agg["f"], agg["l"]): agg["q"] for agg in last["aggTrade"]}
    assert aggregates[1, 2] == "0.30000000"
    assert {message["c"] for message in last["ticker"]} <= {"100.50000000", "100.25000000", "102.00000000"}
    assert all(float(message["b"]) < float(message["a"]) for message in last["bookTicker"])
    assert all(message["bids"] and message["asks"] for message in last["depth5"][-1:])


async def test_rest_tells_the_state_that_the_recording_has_reached(start: Start, small: Path) -> None:
    client = await replaying(start, small, replay_speed=10_000, replay_loop=False)
    await finished(client, 8)
    info = await client.get("/api/v3/exchangeInfo")
    (symbol,) = info["symbols"]
    assert (symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) == ("BTCUSDT", "BTC", "USDT")
    assert (symbol["filters"][0]["tickSize"], symbol["filters"][1]["stepSize"]) == ("0.01000000", "0.10000000")
    book = await client.get("/api/v3/depth", symbol="BTCUSDT")
    assert book == {
        "lastUpdateId": 19,
        "bids": [["100.50000000", "3.00000000"], ["100.00000000", "1.00000000"]],
        "asks": [["103.00000000", "4.00000000"]],
    }
    rows = await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m")
    assert [(row[0], row[4], row[8]) for row in rows] == [(DAY, "100.25000000", 3), (DAY + 60_000, "102.00000000", 1)]
    ticker = await client.get("/api/v3/ticker/24hr", symbol="BTCUSDT")
    assert (ticker["lastPrice"], ticker["openPrice"], ticker["count"]) == ("102.00000000", "100.50000000", 4)
    assert (ticker["bidPrice"], ticker["askPrice"]) == ("100.50000000", "103.00000000")
    assert (await client.get("/api/v3/time"))["serverTime"] == DAY + 70_501
    assert (await client.get("/fapi/v1/exchangeInfo"))["symbols"] == []
    assert (await client.http.get("/control/status")).json()["mode"] == "replay"


async def test_a_depth_request_before_the_recorded_answer_gets_that_answer_byte_for_byte(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = '{"lastUpdateId":10, "bids":[["1.10","2"]],"asks":[]}'
    lines = [
        (DAY, "spot", PATH, depth(9, 12, DAY, [["1.20", "1"]], [])),
        (DAY + 10_000, "spot", SNAPSHOT, recorded),
        (DAY + 10_000_000, "spot", PATH, depth(13, 13, DAY + 10_000_000, [["1.30", "1"]], [])),
    ]
    client = await replaying(start, write(tmp_path / "late.ndjson.gz", lines), replay_speed=20)
    assert (await client.http.get("/api/v3/depth?symbol=BTCUSDT&limit=5")).text == recorded
    # From then on the answer is the state: what the snapshot did not have yet is in it.
    assert (await client.get("/api/v3/depth", symbol="BTCUSDT"))["lastUpdateId"] == 12
    await client.control("replay", action="restart")
    monkeypatch.setattr(server_module, "_DEPTH_WAIT_S", 0.0)
    book = await client.get("/api/v3/depth", symbol="BTCUSDT")
    assert book == {"lastUpdateId": 0, "bids": [], "asks": []}


async def test_before_its_first_message_a_recorded_symbol_has_no_candles(start: Start, tmp_path: Path) -> None:
    lines = [
        (DAY, "spot", PATH, depth(1, 2, DAY, [["1.0", "1.0"]], [])),
        (DAY + 10**7, "spot", PATH, trade(1, DAY, "1", "1")),
    ]
    client = await replaying(start, write(tmp_path / "early.ndjson.gz", lines))
    assert await client.get("/api/v3/klines", symbol="BTCUSDT", interval="1m") == []
    assert (await client.get("/api/v3/ticker/24hr", symbol="BTCUSDT"))["count"] == 0
    assert (await client.get("/api/v3/ticker/bookTicker", symbol="BTCUSDT"))["askPrice"] == "0.00000000"


async def test_subscriptions_outlive_a_restart(start: Start, small: Path) -> None:
    client = await replaying(start, small, replay_speed=10_000, replay_loop=False)
    await finished(client, 8)
    socket = await client.socket("/stream?streams=btcusdt@trade/btcusdt@kline_1m")
    for _ in range(2):
        await client.control("replay", action="restart")
        found = await receive_until(socket, lambda message: message["data"].get("k", {}).get("x", False))
        assert [message["data"]["t"] for message in found if message["data"]["e"] == "trade"] == [1, 2, 3, 4]
        assert found[-1]["data"]["k"]["n"] == 3


def test_books_of_the_recordings_agree_with_their_book_tickers(recordings: Path) -> None:
    for name, market in ((SPOT, Market.SPOT), (FUTURES, Market.FUTURES)):
        path = recordings / name
        venue = Venue()
        follower = Follower(survey(path), venue, Feed(venue, lambda *_: None))
        quotes: dict[str, dict[int, Any]] = {"BTCUSDT": {}, "ETHUSDT": {}}
        agreed = 0
        for count, message in enumerate(read(path)):
            if count > 10_000:
                break
            follower.follow(message)
            for symbol, known in quotes.items():
                instrument = venue.instruments[market, symbol]
                if instrument.quoted is not None:
                    known[instrument.quoted.update_id] = instrument.quoted
                top = instrument.book.top
                if top is None:
                    continue
                assert top.bid < top.ask
                if top.update_id in known and message.stream is not None and "depth" in message.stream:
                    assert known[top.update_id][1:] == top[1:]
                    agreed += 1
        assert agreed > 50
        assert follower.not_understood_total == 0


def test_every_recorded_file_can_be_surveyed_and_followed(recordings: Path) -> None:
    for name in ("ws/one-per-stream-samples.ndjson.gz", "rest/rest-responses.ndjson.gz", CURRENT):
        path = recordings / name
        contents, venue = survey(path), Venue()
        follower = Follower(contents, venue, Feed(venue, lambda *_: None))
        count = 0
        for message in read(path):
            follower.follow(message)
            count += 1
        assert count == contents.messages > 0


def test_a_survey_learns_ticks_and_steps(recordings: Path) -> None:
    contents = survey(recordings / CURRENT)
    found = {spec.symbol: spec for spec in contents.specs}
    assert found["BTCUSDT"].price_decimals == 2
    assert found["BTCUSDT"].price_text(found["BTCUSDT"].tick) == "0.10"
    assert found["ETHUSDT"].quantity_text(found["ETHUSDT"].step) == "0.001"
    assert StreamName.parse("futures:!forceOrder@arr") in contents.streams


def test_a_recording_that_breaks_off_ends_at_its_last_whole_line(small: Path, tmp_path: Path) -> None:
    whole = list(read(small))
    data = gzip.decompress(small.read_bytes())
    cut = data[: data.rindex(b'"raw"')]
    torn = tmp_path / "torn.ndjson.gz"
    torn.write_bytes(gzip.compress(cut) + gzip.compress(b"x" * 1000)[:20])
    assert list(read(torn)) == whole[:-1]


def test_a_broken_line_is_passed_over(small: Path, tmp_path: Path) -> None:
    whole = list(read(small))
    lines = gzip.decompress(small.read_bytes()).splitlines(keepends=True)
    lines.insert(2, b'{"ts":nonsense}\n')
    broken = tmp_path / "broken.ndjson.gz"
    broken.write_bytes(gzip.compress(b"".join(lines)))
    assert list(read(broken)) == whole


def test_a_raw_recording_takes_its_stream_from_the_path(tmp_path: Path) -> None:
    payload = json.loads(trade(1, DAY, "1.5", "2"))["data"]
    path = write(
        tmp_path / "raw.ndjson.gz",
        [
            (None, "spot", "/ws/btcusdt@trade", payload),
            (DAY, "spot", "/ws", payload),
            (DAY, "spot", "/ws/a/b", payload),
        ],
    )
    (message,) = read(path)
    assert (message.stream, json.loads(message.payload)) == ("btcusdt@trade", payload)


async def test_an_agg_trade_recording_carries_candles_too(start: Start, recordings: Path) -> None:
    client = await replaying(start, recordings / CURRENT, replay_speed=10_000, replay_loop=False)
    await finished(client, len(frames(recordings / CURRENT)))
    rows = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m")
    assert rows
    premium = await client.get("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    assert 80_000 < float(premium["markPrice"]) < 90_000


async def test_unknown_streams_of_a_recording_are_silent_but_acknowledged(start: Start, small: Path) -> None:
    client = await replaying(start, small, replay_speed=10_000)
    socket = await client.socket("/stream")
    assert (await ask(socket, "SUBSCRIBE", ["dogeusdt@trade", "btcusdt@referencePrice", "btcusdt@trade"]))[
        "result"
    ] is None
    for _ in range(6):
        assert (await receive(socket))["stream"] == "btcusdt@trade"
