"""Symbols and candles: from documented answers, and from the stand-in."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest
from aiohttp import web

from bybit import rest as rest_module
from bybit.endpoints import BYBIT, endpoints
from bybit.errors import BybitError
from bybit.rest import RestClient
from market.klines import decode_rows
from market.streams import Market
from market.symbols import SymbolInfo
from market.venue import RateLimited, Unreachable
from tests.binance.wire import until
from tests.bybit.conftest import StandIn
from tests.bybit.samples import body
from tests.support.processes import free_port

HOUR_MS = 3_600_000


@asynccontextmanager
async def answering(text: bytes, status: int = 200) -> AsyncIterator[RestClient]:
    """A client of a server that answers everything with `text`."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=text, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = RestClient(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield client
    await client.close()
    await runner.cleanup()


@asynccontextmanager
async def client_of(stand_in: StandIn) -> AsyncIterator[RestClient]:
    client = RestClient(endpoints(stand_in.url).rest)
    yield client
    await client.close()


async def test_the_documented_symbol_list_makes_a_catalog() -> None:
    async with answering(body("rest-instruments-info")) as client:
        catalog = await client.catalog(Market.BYBIT)
    assert list(catalog) == [SymbolInfo("BTCUSDT", "TRADING", "BTC", "USDT", "0.1", "0.000001")]
    assert (catalog.market, catalog.trading) == (Market.BYBIT, ("BTCUSDT",))


async def test_documented_candles_become_binances_rows_oldest_first() -> None:
    async with answering(body("rest-kline")) as client:
        rows = json.loads(await client.klines(Market.BYBIT, "btcusd", "1h", 3))
    assert [row[0] for row in rows] == [1670601600000, 1670605200000, 1670608800000]
    first = [1670601600000, "17086.5", "17088", "16978", "17071.5", "6356", 1670605199999, "0.37288112"]
    assert rows[0] == [*first, None, None, None, "0"]


async def test_the_stand_ins_candles_are_selected_as_binance_selects_them(stand_in: StandIn) -> None:
    async with client_of(stand_in) as client:
        latest = decode_rows(await client.klines(Market.BYBIT, "btcusdt", "1h", 5))
        opens = [row.open_ms for row in latest]
        assert opens == list(range(opens[0], opens[0] + 5 * HOUR_MS, HOUR_MS))
        oldest = decode_rows(await client.klines(Market.BYBIT, "BTCUSDT", "1h", 2, start_ms=opens[1] - 1))
        assert [row.open_ms for row in oldest] == opens[1:3]
        before = decode_rows(await client.klines(Market.BYBIT, "BTCUSDT", "1h", 2, end_ms=opens[3]))
        assert [row.open_ms for row in before] == opens[2:4]


async def test_the_stand_ins_symbols_are_listed_with_their_steps(stand_in: StandIn) -> None:
    async with client_of(stand_in) as client:
        catalog = await client.catalog(Market.BYBIT)
    assert catalog.trading == ("BNBUSDT", "BTCUSDT", "ETHUSDT")
    info = catalog.get("btcusdt")
    assert info is not None
    assert (info.tick_size, info.step_size) == ("0.01", "0.00001")


async def test_the_documented_recent_trade_is_mapped() -> None:
    async with answering(body("rest-recent-trade")) as client:
        ((number, payload),) = await client.recent_trades("btcusdt")
    assert number == 2100000000007764263
    assert json.loads(payload)["p"] == "16618.49"


async def test_the_stand_ins_recent_trades_come_newest_first(stand_in: StandIn) -> None:
    async with client_of(stand_in) as client:
        await until(lambda: len(stand_in.trades("BTCUSDT")) > 70, "trades")
        recent = await client.recent_trades("BTCUSDT")
    numbers = [number for number, _ in recent]
    assert numbers == list(range(numbers[0], numbers[0] - 60, -1))


async def test_an_unknown_symbol_is_refused_in_bybits_words(stand_in: StandIn) -> None:
    async with client_of(stand_in) as client:
        with pytest.raises(BybitError) as refused:
            await client.klines(Market.BYBIT, "NOSUCHUSDT", "1h")
    assert (refused.value.code, refused.value.message) == (10001, "Not supported symbols")


async def test_a_ban_stops_all_requests_for_its_ten_minutes() -> None:
    async with answering(b"access too frequent", HTTPStatus.FORBIDDEN) as client:
        for http_status in (403, None):
            with pytest.raises(RateLimited) as limited:
                await client.catalog(Market.BYBIT)
            assert limited.value.http_status == http_status
            assert 599 < limited.value.retry_after_s <= 600
        assert client.requests_total == 1


async def test_too_many_visits_pause_the_client() -> None:
    async with answering(b'{"retCode":10006,"retMsg":"Too many visits!","result":{}}') as client:
        with pytest.raises(RateLimited, match="Too many visits"):
            await client.catalog(Market.BYBIT)
        with pytest.raises(RateLimited):
            await client.catalog(Market.BYBIT)
        assert client.requests_total == 1


async def test_it_keeps_within_its_share_of_bybits_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_module, "_REQUESTS", 2)
    async with answering(body("rest-kline")) as client:
        for _ in range(2):
            await client.klines(Market.BYBIT, "BTCUSD", "1h")
        with pytest.raises(RateLimited):
            await client.klines(Market.BYBIT, "BTCUSD", "1h")
        assert client.requests_total == 2


@pytest.mark.parametrize("text", [b"<html>", b'{"code":1}', b""])
async def test_an_answer_that_is_not_bybits_is_a_refusal_without_a_code(text: bytes) -> None:
    async with answering(text, HTTPStatus.BAD_GATEWAY) as client:
        with pytest.raises(BybitError) as refused:
            await client.catalog(Market.BYBIT)
    assert (refused.value.code, refused.value.http_status) == (0, 502)


@pytest.mark.parametrize("rows", ['["1"]', '[["x","1","1","1","1","1","1"]]', "7"])
async def test_candles_of_another_shape_are_no_answer(rows: str) -> None:
    async with answering(f'{{"retCode":0,"result":{{"list":{rows}}}}}'.encode()) as client:
        with pytest.raises(Unreachable):
            await client.klines(Market.BYBIT, "BTCUSDT", "1h")


async def test_a_server_that_is_away_is_unreachable() -> None:
    client = RestClient(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable):
        await client.catalog(Market.BYBIT)
    await client.close()


def test_without_a_stand_in_bybit_itself_is_asked() -> None:
    assert endpoints(None) == BYBIT
    assert BYBIT.ws.startswith("wss://stream.bybit.com")
