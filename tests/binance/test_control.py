import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binance.control import (
    ControlError,
    ControlSession,
    GetCombined,
    ListSubscriptions,
    SetCombined,
    Subscribe,
    Unsubscribe,
    is_well_formed,
    parse_request,
)
from market.streams import Market

UNKNOWN_VARIANT = (
    "Invalid request: unknown variant `NOT_A_METHOD`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
    "`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
)
BAD_ID = "Invalid request: request ID must be an unsigned integer"


def ask(session: ControlSession, **request: Any) -> Any:
    return json.loads(session.handle(json.dumps(request)).reply)


def raw_session(market: Market = Market.SPOT) -> ControlSession:
    return ControlSession(market, combined=False)


@pytest.mark.parametrize(
    ("text", "request_type"),
    [
        ('{"method":"SUBSCRIBE","params":["a@trade"],"id":1}', Subscribe(1, ("a@trade",))),
        ('{"method":"UNSUBSCRIBE","params":[],"id":312}', Unsubscribe(312, ())),
        ('{"method":"LIST_SUBSCRIPTIONS","id":3}', ListSubscriptions(3)),
        ('{"method":"SET_PROPERTY","params":["combined",true],"id":5}', SetCombined(5, value=True)),
        ('{"method":"GET_PROPERTY","params":["combined"],"id":2}', GetCombined(2)),
    ],
)
def test_each_method_is_parsed_into_its_request(text: str, request_type: object) -> None:
    assert parse_request(Market.FUTURES, text) == request_type


def test_a_session_answers_as_the_documentation_shows() -> None:
    session = raw_session()
    outcome = session.handle('{"method":"SUBSCRIBE","params":["btcusdt@aggTrade","btcusdt@depth"],"id":1}')
    assert outcome.reply == b'{"result":null,"id":1}'
    assert outcome.subscribed == ("btcusdt@aggTrade", "btcusdt@depth")
    outcome = session.handle('{"method":"UNSUBSCRIBE","params":["btcusdt@depth","never@trade"],"id":312}')
    assert outcome.reply == b'{"result":null,"id":312}'
    assert outcome.unsubscribed == ("btcusdt@depth",)
    assert session.handle('{"method":"LIST_SUBSCRIPTIONS","id":3}').reply == b'{"result":["btcusdt@aggTrade"],"id":3}'
    assert session.handle('{"method":"GET_PROPERTY","params":["combined"],"id":2}').reply == b'{"result":false,"id":2}'
    set_combined = '{"method":"SET_PROPERTY","params":["combined",true],"id":5}'
    assert session.handle(set_combined).reply == b'{"result":null,"id":5}'
    assert session.combined


def test_a_stream_subscribed_twice_comes_once() -> None:
    session = raw_session()
    assert session.subscribe(["a@trade", "a@trade"]) == ("a@trade",)
    assert session.subscribe(["a@trade", "b@trade"]) == ("b@trade",)
    assert session.streams == ("a@trade", "b@trade")


@pytest.mark.parametrize(
    ("request_body", "code", "message", "answered_id"),
    [
        ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 1}, 0, "Unknown property", 1),
        ({"method": "GET_PROPERTY", "params": ["colour"], "id": 1}, 0, "Unknown property", 1),
        (
            {"method": "SET_PROPERTY", "params": ["combined", "yes"], "id": 1},
            1,
            "Invalid value type: expected Boolean",
            1,
        ),
        ({"method": "SET_PROPERTY", "params": ["combined"], "id": 1}, 1, "Invalid value type: expected Boolean", 1),
        (
            {"method": "SET_PROPERTY", "params": [7, True], "id": 1},
            2,
            "Invalid request: property name must be a string",
            1,
        ),
        ({"method": "GET_PROPERTY", "id": 1}, 2, "Invalid request: property name must be a string", 1),
        (
            {"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1},
            2,
            "Invalid request: too many parameters",
            1,
        ),
        ({"method": "NOT_A_METHOD", "params": [], "id": 4}, 2, UNKNOWN_VARIANT, 4),
        ({"method": "SUBSCRIBE", "params": ["no stream"], "id": 9}, 2, "Invalid request: invalid stream", 9),
        ({"method": "SUBSCRIBE", "params": [1], "id": 9}, 2, "Invalid request: invalid stream", 9),
        ({"method": "SUBSCRIBE", "params": ["a@trade"]}, 2, BAD_ID, None),
        ({"method": "SUBSCRIBE", "params": ["a@trade"], "id": 1.5}, 2, BAD_ID, None),
        ({"method": "SUBSCRIBE", "params": ["a@trade"], "id": True}, 2, BAD_ID, None),
    ],
)
def test_each_documented_error_is_nested_as_on_the_wire(
    request_body: dict[str, Any], code: int, message: str, answered_id: int | None
) -> None:
    session = raw_session()
    assert ask(session, **request_body) == {"error": {"code": code, "msg": message}, "id": answered_id}
    assert session.streams == ()
    assert not session.combined


def test_the_unknown_method_error_equals_the_recorded_bytes() -> None:
    reply = raw_session(Market.FUTURES).handle('{"method":"NOT_A_METHOD","params":[],"id":4}').reply
    assert reply == (b'{"error":{"code":2,"msg":"' + UNKNOWN_VARIANT.encode() + b'"},"id":4}')


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "line 1 column 1"),
        ("hello", "line 1 column 1"),
        ('{"method":\n  oops}', "line 2 column 3"),
        ('{"id":NaN}', "line 1 column 7"),
        ("[" * 100_000, "line 1 column 1"),
        ("1" * 10_000, "line 1 column 1"),
    ],
)
def test_broken_json_is_located_by_line_and_column(text: str, where: str) -> None:
    reply = json.loads(raw_session().handle(text).reply)
    assert reply == {"error": {"code": 3, "msg": f"Invalid JSON: expected value at {where}"}, "id": None}


@pytest.mark.parametrize("text", ["{}", "[]", "17", '"SUBSCRIBE"', "null"])
def test_what_is_no_request_lacks_its_method(text: str) -> None:
    reply = json.loads(raw_session().handle(text).reply)
    assert reply["error"]["code"] == 2
    assert reply["error"]["msg"] == f"Invalid request: missing field `method` at line 1 column {len(text)}"


@pytest.mark.parametrize("request_id", [0, -1, 2**63 - 1, -(2**63), "abc", "A" * 36, None])
def test_spot_takes_integers_short_strings_and_null_as_id(request_id: object) -> None:
    assert ask(raw_session(), method="LIST_SUBSCRIPTIONS", id=request_id) == {"result": [], "id": request_id}


@pytest.mark.parametrize("request_id", [2**63, -(2**63) - 1, "", "A" * 37, "with blank", [], {}, 0.5, False])
def test_spot_refuses_other_ids(request_id: object) -> None:
    assert ask(raw_session(), method="LIST_SUBSCRIPTIONS", id=request_id)["error"]["msg"] == BAD_ID


@pytest.mark.parametrize("request_id", [0, 2**64 - 1, "abc", "98e1b7c4-0a57-4a5e-9d3c-5c1f7d3b2a10"])
def test_futures_takes_unsigned_integers_and_short_strings_as_id(request_id: object) -> None:
    assert ask(raw_session(Market.FUTURES), method="LIST_SUBSCRIPTIONS", id=request_id)["id"] == request_id


@pytest.mark.parametrize("request_id", [-1, "A" * 37, None, 2**64, True])
def test_futures_refuses_other_ids(request_id: object) -> None:
    session = raw_session(Market.FUTURES)
    assert ask(session, method="LIST_SUBSCRIPTIONS", id=request_id)["error"]["msg"] == BAD_ID


@pytest.mark.parametrize("part", ["0", "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"])
def test_a_listen_key_in_the_url_is_accepted_and_no_stream(part: str) -> None:
    session = raw_session()
    assert session.open([part, "a@trade"]) == ("a@trade",)
    assert session.streams == ("a@trade",)


def test_a_request_beyond_the_stream_limit_changes_nothing() -> None:
    session = ControlSession(Market.SPOT, combined=True, limit=2)
    session.subscribe(["a@trade"])
    with pytest.raises(ControlError, match="too many streams"):
        session.subscribe(["b@trade", "c@trade"])
    assert session.streams == ("a@trade",)
    assert session.subscribe(["b@trade"]) == ("b@trade",)


@pytest.mark.parametrize(
    "name",
    [
        "btcusdt@trade",
        "btcusdt@kline_1d@+08:00",
        "!miniTicker@arr",
        "!bookTicker",
        "牛来usdt@trade",
        "xyz@rpiDepth@500ms",
    ],
)
def test_names_of_binances_shape_are_well_formed(name: str) -> None:
    assert is_well_formed(name)


@pytest.mark.parametrize("name", ["", "btcusdt", "@trade", "btcusdt@", "btc usdt@trade", "!", "a@b\n", "a@@b"])
def test_other_names_are_malformed(name: str) -> None:
    assert not is_well_formed(name)


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_client_sends_is_answered_with_json(text: str) -> None:
    session = raw_session()
    assert "id" in json.loads(session.handle(text).reply)


def test_what_cannot_be_carried_is_withdrawn_and_refused() -> None:
    session = raw_session()
    session.subscribe(["a@trade"])
    outcome = session.handle('{"method":"SUBSCRIBE","params":["a@trade","b@trade"],"id":"x"}')
    reply = json.loads(session.withdraw(outcome, "no room"))
    assert reply == {"error": {"code": 2, "msg": "Invalid request: no room"}, "id": "x"}
    assert session.streams == ("a@trade",)
