"""Whatever a client sends, each door's parser finds a request in it or refuses it with the door's own error."""

import json
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from binance.control import ControlSession
from binance.entrances import ENTRANCES, Entrance, check_time_unit, names_in_path, names_in_query
from binance.errors import BinanceError
from binance.params import Params
from binance.rest import RestClient
from binance.settings import ExchangeSettings
from market.errors import MarketError
from market.streams import Market, StreamName
from server.catalogs import Catalogs
from server.connections import MAX_STREAMS
from server.doors.json_messages import ClientMessage, read_message
from server.doors.msgpack import decode_packet
from server.doors.socketio_requests import Request, parse_request
from server.history.requests import parse_kline_query
from server.replay.requests import parse_replay_wish
from server.venues import Venues

SEVERE = st.text(st.characters(codec=None))
"""Texts with halves of surrogate pairs, too."""
NAMES = st.sampled_from(["btcusdt@trade", "spot:ALL@ticker", "kline", "depth", "ALL", "BTC", "1m", "spot", "futures"])


def _values(integers: st.SearchStrategy[int]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text(max_size=8) | NAMES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | NAMES, inner, max_size=3),
        max_leaves=6,
    )


VALUES = _values(st.integers())
PACKED = _values(st.integers(-(2**63), 2**64 - 1)).map(msgspec.msgpack.encode)
KEYS = st.sampled_from([
    "streams", "streamType", "symbols", "options", "market", "snapshot", "throttle", "since",
    "symbol", "interval", "limit", "startTime", "endTime", "recording", "speed",
])  # fmt: skip
QUERIES = st.dictionaries(
    st.sampled_from(["symbol", "symbols", "interval", "limit", "timeZone", "startTime", "other"]),
    st.text(max_size=12) | st.sampled_from(["BTCUSDT", '["BTCUSDT"]', '["\\ud800"]', "1m", "9" * 30, "-1:00", "٣"]),
)


@pytest.fixture(scope="module")
def catalogs() -> Catalogs:
    """Those of a replica that has not heard from the exchange: every well-formed name is accepted."""
    return Catalogs(Venues(RestClient(ExchangeSettings().endpoints)), lambda _catalog: None)


@given(VALUES | st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_value_is_a_request_of_socketio_or_refused(catalogs: Catalogs, value: object) -> None:
    try:
        request = parse_request(value, catalogs.check, MAX_STREAMS)
    except MarketError as error:
        msgspec.json.encode(error.message)
        return
    assert isinstance(request, Request)
    msgspec.json.encode([rejection.body("stream") for rejection in request.rejected])


@given(VALUES | st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_value_is_a_request_for_candles_or_refused(value: object) -> None:
    try:
        query = parse_kline_query(value)
    except MarketError as error:
        msgspec.json.encode(error.message)
        return
    assert query.limit > 0


@given(VALUES | st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_value_is_a_wish_for_a_replay_or_refused(value: object) -> None:
    try:
        wish = parse_replay_wish(value)
    except MarketError as error:
        msgspec.json.encode(error.message)
        return
    assert 0 <= wish.start_ms <= wish.end_ms
    assert wish.speed == 0 or 1 <= wish.speed <= 100


@given(st.text() | st.binary())
@example(b"[" * 100_000)
@example('{"type":"\\ud800"}')
@example(b'{"type":"\xff"}')
def test_any_data_is_a_message_of_json_or_refused(data: str | bytes) -> None:
    try:
        message = read_message(data)
    except MarketError:
        return
    assert isinstance(message, ClientMessage)


@given(st.binary() | PACKED)
@example(b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data" + b"\x91" * 100_000)
def test_any_bytes_are_a_packet_of_messagepack_or_a_value_error(data: bytes) -> None:
    try:
        packet = decode_packet(data)
    except ValueError:
        return
    assert 0 <= packet.type <= 4


@given(st.sampled_from(Market), SEVERE | SEVERE.map(lambda text: json.dumps({"method": text, "id": text})))
@example(Market.SPOT, '{"method":"\\ud800","id":1}')
@example(Market.SPOT, '{"method":"SUBSCRIBE","params":["\\udfff@trade"],"id":1}')
def test_any_text_is_answered_on_binances_doors(market: Market, text: str) -> None:
    session = ControlSession(market, combined=False)
    answer = msgspec.json.decode(session.handle(text).reply)
    assert answer.keys() <= {"result", "error", "id"}


@given(st.sampled_from(ENTRANCES), st.text())
@example(ENTRANCES[0], "streams=%ff%fe/%00")
def test_any_path_and_query_of_binances_sockets_name_streams_or_nothing(entrance: Entrance, text: str) -> None:
    for name in [*names_in_path(text), *names_in_query(text), *names_in_query(f"streams={text}")]:
        found = entrance.stream_of(name)
        assert found is None or found.market is entrance.market
    try:
        check_time_unit(text)
    except BinanceError as error:
        msgspec.json.encode(error.message)


@given(st.sampled_from(Market), QUERIES)
def test_any_query_of_binances_rest_is_understood_or_refused_with_a_code(market: Market, query: dict[str, str]) -> None:
    try:
        params = Params(market, query.items(), frozenset(query))
    except BinanceError as error:
        msgspec.json.encode(error.message)
        return
    parts: list[Callable[[], object]] = [
        params.interval,
        params.zone_ms,
        params.count,
        lambda: params.symbols(lambda _name: True),
        lambda: params.symbol(lambda _name: False),
        lambda: params.limit(500, 1000),
        lambda: params.integer("startTime"),
    ]
    for part in parts:
        try:
            part()
        except BinanceError as error:
            msgspec.json.encode(error.message)


@given(st.text(), st.sampled_from([None, *Market]))
def test_any_text_is_a_stream_or_refused(text: str, market: Market | None) -> None:
    try:
        stream = StreamName.parse(text, market)
    except MarketError as error:
        msgspec.json.encode(error.message)
        return
    assert StreamName.parse(str(stream)) == stream
