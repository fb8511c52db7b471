import pytest

from binance.entrances import ENTRANCES, Entrance, check_time_unit, names_in_path, names_in_query
from binance.errors import BinanceError
from binance.frames import parse_control, server_shutdown, slice_frame, wrap_payload
from market.streams import Market


def entrance(path: str) -> Entrance:
    return {entrance.path: entrance for entrance in ENTRANCES}[path]


@pytest.mark.parametrize(
    ("path", "name", "stream"),
    [
        ("/ws", "btcusdt@trade", "spot:btcusdt@trade"),
        ("/spot/stream", "!miniTicker@arr", "spot:!miniTicker@arr"),
        ("/market/ws", "!forceOrder@arr", "futures:*@forceOrder"),
        ("/futures/public/stream", "btcusdt@depth@100ms", "futures:btcusdt@depth@100ms"),
        ("/futures/ws", "btcusdt@depth@100ms", "futures:btcusdt@depth@100ms"),
        ("/futures/ws", "btcusdt@kline_1m", "futures:btcusdt@kline_1m"),
        ("/ws", "BTCUSDT@trade", None),
        ("/ws", "spot:btcusdt@trade", None),
        ("/ws", "*@trade", None),
        ("/ws", "btcusdt@markPrice", None),
        ("/ws", "btcusdt@book", None),
        ("/ws", "!ticker@arr", None),
        ("/public/ws", "btcusdt@kline_1m", None),
        ("/private/ws", "btcusdt@kline_1m", None),
    ],
)
def test_a_name_is_a_stream_only_where_binance_delivers_it(path: str, name: str, stream: str | None) -> None:
    found = entrance(path).stream_of(name)
    assert (None if found is None else str(found)) == stream


def test_each_path_is_one_entrance() -> None:
    paths = [entrance.path for entrance in ENTRANCES]
    assert len(set(paths)) == len(paths)
    assert {entrance.market for entrance in ENTRANCES if entrance.path.startswith("/futures")} == {Market.FUTURES}


def test_names_are_read_from_path_and_query() -> None:
    assert names_in_path("a@trade//b@trade/") == ["a@trade", "b@trade"]
    query = "x=1&streams=btcusdt%40kline_1d@+08:00%2F%E7%89%9B%E6%9D%A5usdt@trade&streams=ignored"
    assert names_in_query(query) == ["btcusdt@kline_1d@+08:00", "牛来usdt@trade"]
    assert names_in_query("stream=a@trade") == []


@pytest.mark.parametrize("query", ["timeUnit=MICROSECOND", "streams=a@trade&timeUnit=microsecond", "timeUnit="])
def test_other_units_than_milliseconds_are_refused(query: str) -> None:
    with pytest.raises(BinanceError) as refused:
        check_time_unit(query)
    assert (refused.value.code, refused.value.http_status) == (-1130, 400)


@pytest.mark.parametrize("query", ["", "timeUnit=MILLISECOND", "streams=a@trade&timeUnit=millisecond"])
def test_milliseconds_are_what_there_is(query: str) -> None:
    check_time_unit(query)


def test_what_is_wrapped_can_be_sliced() -> None:
    assert slice_frame(wrap_payload("牛来usdt@trade", b'{"e":"trade"}')) == (
        "牛来usdt@trade".encode(),
        b'{"e":"trade"}',
    )
    assert slice_frame(server_shutdown(7, combined=True)) == (b"!serverShutdown", b'{"e":"serverShutdown","E":7}')
    assert parse_control(server_shutdown(7, combined=False)) is not None
