"""Bybit's documented messages, mapped: each key is Binance's, each figure Bybit's."""

import json
from typing import Any

import msgspec
import pytest

from bybit import payloads
from bybit.payloads import parse_frame
from market.cursors import cursor_of
from market.payloads import PlainKline, Ticker, Trade, decode_payload
from market.streams import Kind, StreamName
from market.views import price_update
from tests.bybit.samples import body, frame
from tests.market.samples import sample

BINANCE = "spot:btcusdt@"
BYBIT = "bybit:btcusdt@"


def keys(payload: bytes) -> set[str]:
    return set(json.loads(payload))


def test_a_trade_has_the_keys_of_binances_and_bybits_figures() -> None:
    ((number, payload),) = payloads.trades(frame("publicTrade"))
    assert number == 2100000000007764263
    assert json.loads(payload) == {
        "e": "trade",
        "E": 1672304486865,
        "s": "BTCUSDT",
        "t": 7764263,
        "p": "16578.50",
        "q": "0.001",
        "T": 1672304486865,
        "m": False,
        "i": "2100000000007764263",
    }
    assert keys(payload) - {"i"} == keys(sample(f"{BINANCE}trade")) - {"M"}
    stream = StreamName.parse(f"{BYBIT}trade")
    assert cursor_of(stream, payload) == 7764263
    assert isinstance(decode_payload(stream, payload), Trade)


def test_a_trade_sold_by_its_taker_was_bought_by_its_maker() -> None:
    ((_, payload),) = payloads.trades(parse_frame(body("publicTrade").replace(b'"Buy"', b'"Sell"')))
    assert json.loads(payload)["m"] is True


def test_a_trade_is_mapped_to_the_same_bytes_whenever_its_message_was_made() -> None:
    later = body("publicTrade").replace(b'"ts":1672304486868', b'"ts":1672304486999')
    assert payloads.trades(parse_frame(later)) == payloads.trades(frame("publicTrade"))


def test_rest_makes_the_same_bytes_of_a_trade_as_the_stream() -> None:
    message = json.loads(body("publicTrade"))["data"][0]
    recent = {"execId": "i", "symbol": "s", "price": "p", "size": "v", "side": "S"}
    listed = {key: message[letter] for key, letter in recent.items()} | {"time": str(message["T"])}
    result = json.dumps({"category": "spot", "list": [listed]}).encode()
    assert payloads.recent_trades(result) == payloads.trades(frame("publicTrade"))


def test_the_documented_recent_trade_is_read() -> None:
    result = json.dumps(json.loads(body("rest-recent-trade"))["result"]).encode()
    ((number, payload),) = payloads.recent_trades(result)
    assert (number, json.loads(payload)["T"]) == (2100000000007764263, 1672052955758)


def test_several_trades_in_one_message_come_in_their_order() -> None:
    message = json.loads(body("publicTrade"))
    message["data"] = [message["data"][0] | {"i": f"229000000000000000{n}"} for n in (1, 2, 3)]
    assert [json.loads(payload)["t"] for _, payload in payloads.trades(parse_frame(json.dumps(message).encode()))] == [
        1,
        2,
        3,
    ]


def test_a_trade_whose_id_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        payloads.trades(parse_frame(body("publicTrade").replace(b"2100000000007764263", b"20f43950-d8dd")))


def test_a_kline_leaves_out_what_bybit_does_not_tell() -> None:
    (payload,) = payloads.klines(frame("kline"))
    assert json.loads(payload) == {
        "e": "kline",
        "E": 1672324988882,
        "s": "BTCUSDT",
        "k": {
            "t": 1672324800000,
            "T": 1672325099999,
            "s": "BTCUSDT",
            "i": "5m",
            "o": "16649.5",
            "c": "16677",
            "h": "16677",
            "l": "16608",
            "v": "2.081",
            "x": False,
            "q": "34666.4005",
        },
    }
    binance = json.loads(sample(f"{BINANCE}kline_1m"))["k"]
    assert set(binance) - set(json.loads(payload)["k"]) == {"f", "L", "n", "V", "Q", "B"}
    stream = StreamName.parse(f"{BYBIT}kline_5m")
    assert cursor_of(stream, payload) == 1672324988882
    assert isinstance(decode_payload(stream, payload), PlainKline)


def test_a_confirmed_candle_is_closed() -> None:
    (payload,) = payloads.klines(parse_frame(body("kline").replace(b'"confirm":false', b'"confirm":true')))
    assert json.loads(payload)["k"]["x"] is True


def test_the_close_time_is_the_candles_own_also_where_bybit_tells_the_present_moment() -> None:
    (payload,) = payloads.klines(parse_frame(body("kline").replace(b"1672325099999", b"1672324988882")))
    assert json.loads(payload)["k"]["T"] == 1672325099999


def test_a_ticker_tells_the_change_exactly_and_in_percent() -> None:
    payload = payloads.ticker(frame("tickers"), Kind.TICKER)
    assert json.loads(payload) == {
        "e": "24hrTicker",
        "E": 1672305380595,
        "s": "BTCUSDT",
        "p": "-79.88",
        "P": "-0.49",
        "c": "16363.78",
        "o": "16443.66",
        "h": "16566.64",
        "l": "16009.19",
        "v": "5865.470182",
        "q": "95949815.680875",
    }
    stream = StreamName.parse(f"{BYBIT}ticker")
    decoded = decode_payload(stream, payload)
    assert isinstance(decoded, Ticker)
    assert cursor_of(stream, payload) == 1672305380595
    assert json.loads(price_update(decoded))["changePercent"] == -0.49


def test_a_mini_ticker_has_the_keys_of_binances() -> None:
    payload = payloads.ticker(frame("tickers"), Kind.MINI_TICKER)
    assert keys(payload) == keys(sample(f"{BINANCE}miniTicker"))


@pytest.mark.parametrize("wrong", ['"lastPrice":"16363.78"', '"prevPrice24h":"16443.66"'])
def test_a_ticker_without_a_price_is_refused(wrong: str) -> None:
    key = wrong.partition(":")[0]
    with pytest.raises(ValueError, match="no ticker"):
        payloads.ticker(parse_frame(body("tickers").replace(wrong.encode(), f'{key}:""'.encode())), Kind.TICKER)


def test_partial_depth_and_book_ticker_have_the_keys_of_binances() -> None:
    bids, asks = [("2.0", "1")], [("3.0", "4")]
    assert keys(payloads.partial_depth(7, bids, asks)) == keys(sample(f"{BINANCE}depth5"))
    assert keys(payloads.book_ticker("BTCUSDT", 7, bids[0], asks[0])) == keys(sample(f"{BINANCE}bookTicker"))


@pytest.mark.parametrize(("name", "op"), [("subscribed", "subscribe"), ("pong", "ping")])
def test_answers_are_told_from_data(name: str, op: str) -> None:
    answer = frame(name)
    assert (answer.topic, answer.op, answer.success) == ("", op, True)


@pytest.mark.parametrize(
    "garbage", [b"", b"pong", b"[]", b"\xff\xfe", b'{"topic":7}', b'{"topic":"tickers.X","ts":"soon"}']
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 # whatever it is that is wrong with it
        parse_frame(garbage)


@pytest.mark.parametrize(
    ("mapped", "name"),
    [(payloads.trades, "publicTrade"), (payloads.klines, "kline"), (payloads.parse_book, "orderbook-delta")],
)
def test_data_of_another_shape_is_refused(mapped: Any, name: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        mapped(msgspec.structs.replace(frame(name), data=msgspec.Raw(b'{"a":1}')))


def test_requests_are_written_as_bybit_reads_them() -> None:
    asked = payloads.encode_request("7", "subscribe", ["tickers.BTCUSDT"])
    assert json.loads(asked) == {"req_id": "7", "op": "subscribe", "args": ["tickers.BTCUSDT"]}
    assert json.loads(payloads.encode_request("8", "ping")) == {"req_id": "8", "op": "ping"}
