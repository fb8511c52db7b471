"""Unmodified Binance clients, pointed at a Tickcast by the documented snippets: REST and streams of both markets."""

import re
from pathlib import Path

import pytest

from tests.clients.checks import check_candles, check_growing, check_klines, check_levels, check_symbol, check_unbroken
from tests.clients.conftest import DOCUMENT, Run, Shown
from tests.system.cluster import Cluster

REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def test_the_official_spot_sdk_streams_and_fetches_klines(run: Run, address: str) -> None:
    shown = run("binance_sdk_spot_client.py", "binance-sdk-spot", address)
    check_klines(shown["klines"])
    [information] = shown["exchangeInfo"]
    assert [listed["symbol"] for listed in information["symbols"]] == ["BTCUSDT"]
    for what in ("trade", "kline", "bookTicker", "depth"):
        check_symbol(shown[what])
    check_growing((trade["t"] for trade in shown["trade"]), by=1)
    check_candles(shown["kline"], "1s")
    check_growing(quote["u"] for quote in shown["bookTicker"])
    check_growing(book["lastUpdateId"] for book in shown["depth5"])
    for book in shown["depth5"]:
        check_levels((book["bids"], book["asks"]), 5)
    check_unbroken(shown["depth"])
    [subscribed], [left] = shown["subscriptions"], shown["left"]
    assert len(subscribed) == 5
    assert set(subscribed) - set(left) == {"btcusdt@depth@100ms"}


def test_the_official_futures_sdk_streams_and_fetches_klines(run: Run, address: str) -> None:
    shown = run("binance_sdk_futures_client.py", "binance-sdk-derivatives-trading-usds-futures", address)
    check_klines(shown["klines"])
    [information] = shown["exchangeInfo"]
    assert {"BTCUSDT", "ETHUSDT"} <= {listed["symbol"] for listed in information["symbols"]}
    for what in ("aggTrade", "markPrice", "kline", "bookTicker", "depth"):
        check_symbol(shown[what])
    check_growing((trade["a"] for trade in shown["aggTrade"]), by=1)
    for message in shown["markPrice"]:
        assert float(message["p"]) > 0
        assert message["T"] > message["E"], "the next funding is ahead"
    check_candles(shown["kline"], "1m")
    check_growing(quote["u"] for quote in shown["bookTicker"])
    check_unbroken(shown["depth"])


def test_python_binance_streams_and_fetches_klines(run: Run, address: str) -> None:
    check_python_binance(run("python_binance_client.py", "python-binance", address))


@pytest.mark.long
def test_python_binance_works_through_nginx_and_a_cluster(run: Run, tmp_path: Path) -> None:
    with Cluster(tmp_path, env={"SIM_SYMBOLS": "8"}) as cluster:
        address = cluster.url.removeprefix("http://")
        check_python_binance(run("python_binance_client.py", "python-binance", address))


def check_python_binance(shown: Shown) -> None:
    check_klines(shown["klines"])
    check_klines(shown["futures klines"])
    for what in ("exchangeInfo", "futures exchangeInfo"):
        [information] = shown[what]
        assert {"BTCUSDT", "ETHUSDT"} <= {listed["symbol"] for listed in information["symbols"]}
    check_symbol(shown["trade"])
    check_growing((trade["t"] for trade in shown["trade"]), by=1)
    check_candles(shown["kline"], "1s")
    check_growing(book["lastUpdateId"] for book in shown["depth5"])
    assert {message["stream"] for message in shown["many"]} <= {"btcusdt@aggTrade", "ethusdt@bookTicker"}
    futures = {what.removeprefix("futures "): data for what, data in shown.items() if what.startswith("futures ")}
    for what, name in {"aggTrade": "aggTrade", "markPrice": "markPrice@1s"}.items():
        assert {message["stream"] for message in futures[what]} == {f"btcusdt@{name}"}
        check_symbol([message["data"] for message in futures[what]])
    check_growing(message["data"]["E"] for message in futures["markPrice"])
    check_growing((message["data"]["a"] for message in futures["aggTrade"]), by=1)
    assert {message["stream"] for message in futures["kline"]} == {"btcusdt@kline_1m"}
    check_candles([message["data"] for message in futures["kline"]], "1m")
    for message in futures["depth5"]:
        check_levels((message["data"]["b"], message["data"]["a"]), 5)


def test_ccxt_pro_streams_and_fetches_klines(run: Run, address: str) -> None:
    shown = run("ccxt_pro_client.py", "ccxt.pro", address)
    assert [market["type"] for market in shown["market"]] == ["spot", "swap"]
    assert all(market["active"] and market["id"] == "BTCUSDT" for market in shown["market"])
    for symbol, prefix in {"BTC/USDT": "", "BTC/USDT:USDT": "futures "}.items():
        check_klines(shown[f"klines {symbol}"], columns=6)
        trades = [trade for batch in shown[f"{prefix}trades"] for trade in batch]
        assert {trade["symbol"] for trade in trades} == {symbol}
        check_growing((int(trade["id"]) for trade in trades), by=1)
        assert all(candle[0] % 1_000 == 0 for batch in shown[f"{prefix}ohlcv"] for candle in batch)
        check_growing(book["nonce"] for book in shown[f"{prefix}book"])
        for book in shown[f"{prefix}book"]:
            assert book["symbol"] == symbol
            # ccxt asked for five levels: after a deletion it knows of fewer until the next one comes.
            check_levels((book["bids"], book["asks"]), 5, at_least=3)
    assert {ticker["symbol"] for ticker in shown["ticker"]} == {"BTC/USDT"}
    check_growing(ticker["timestamp"] for ticker in shown["ticker"])
    assert all(quotes["BTC/USDT"]["bid"] < quotes["BTC/USDT"]["ask"] for quotes in shown["bids asks"])
    assert {mark["symbol"] for mark in shown["mark price"]} == {"BTC/USDT:USDT"}
    assert all(mark["markPrice"] > 0 for mark in shown["mark price"])


def test_the_document_names_the_versions_that_are_tested() -> None:
    rows = re.findall(r"^\| ([\w.-]+) \| ([0-9.]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    pins = dict(re.findall(r"^([\w-]+)==([0-9.]+)", REQUIREMENTS.read_text(), re.MULTILINE))
    assert {library.removesuffix(".pro"): version for library, version in rows}.items() <= pins.items()
    assert len(rows) == 4
