"""What a grant's patterns cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import Code, MarketError
from market.streams import StreamName
from server.access.claims import parse_claims
from server.access.patterns import Pattern
from server.access.visitors import ANYONE, Grant


def covers(pattern: str, stream: str) -> bool:
    return Grant(streams=(pattern,)).covers(StreamName.parse(stream))


@pytest.mark.parametrize(
    ("pattern", "stream"),
    [
        ("*", "futures:btcusdt@markPrice@1s"),
        ("*", "*@kline_1m"),
        ("spot:*", "btcusdt@trade"),
        ("spot:*", "*@trade"),
        ("spot:*", "!miniTicker@arr"),
        ("*:btcusdt", "futures:btcusdt@trade"),
        ("spot:BTC*", "btcusdt@bookTicker"),
        ("spot:*usdt@kline_*", "ethusdt@kline_5m"),
        ("spot:btcusdt@depth*", "btcusdt@depth20@100ms"),
        ("futures:*@markPrice@1s", "futures:!markPrice@arr@1s"),
        ("futures:*@forceOrder", "!forceOrder@arr"),
        ("futures:btcusdt_*", "futures:btcusdt_perpetual@continuousKline_1m"),
        ("spot:*@kline_1m@+08:00", "btcusdt@kline_1m@+08:00"),
    ],
)
def test_a_pattern_covers_what_it_names(pattern: str, stream: str) -> None:
    assert covers(pattern, stream)


@pytest.mark.parametrize(
    ("pattern", "stream"),
    [
        ("spot:*", "futures:btcusdt@trade"),
        ("spot:btcusd", "btcusdt@trade"),
        ("spot:btc*", "*@trade"),
        ("spot:*usdt", "*@trade"),
        ("spot:*usdt@*", "!miniTicker@arr"),
        ("futures:*r@*", "futures:!miniTicker@arr"),
        ("spot:btcusdt@kline_1m", "btcusdt@kline_15m"),
        ("spot:btcusdt@trade", "btcusdt@aggTrade"),
        ("spot:btcusdt@depth", "btcusdt@depth20"),
        ("spot:*btc*btc*", "btcusdt@trade"),
    ],
)
def test_a_pattern_covers_nothing_else(pattern: str, stream: str) -> None:
    assert not covers(pattern, stream)


def test_all_symbols_need_a_pattern_for_all_symbols_and_not_one_for_each() -> None:
    grant = Grant(streams=("spot:btcusdt@trade", "spot:ethusdt@trade"))
    assert grant.covers(StreamName.parse("btcusdt@trade"))
    assert not grant.covers(StreamName.parse("*@trade"))


@given(st.text("ab*", max_size=12), st.text("ab", max_size=12))
def test_a_star_stands_for_any_characters(pattern: str, text: str) -> None:
    def fits(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return fits(pattern[1:], text) or (bool(text) and fits(pattern, text[1:]))
        return bool(text) and text[0] == pattern[0] and fits(pattern[1:], text[1:])

    assert Pattern("*", pattern, "*").matches("spot", text, "trade") is fits(pattern, text)


@pytest.mark.parametrize(
    "text",
    ["", "btcusdt@trade", "spot:", "spot:@trade", "spot:btcusdt@", "kraken:*", "spot:a:b", "spot:a\n", "a" * 101],
)
def test_what_is_no_pattern_makes_claims_malformed(text: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        parse_claims({"streams": [text]})


@pytest.mark.parametrize(
    "claims",
    [
        None,
        [],
        "spot:*",
        {"streams": "spot:*"},
        {"streams": [1]},
        {"streams": ["spot:*"] * 257},
        {"max_stream": 5},
        {"max_streams": -1},
        {"max_streams": "5"},
        {"max_streams": True},
        {"max_connections": 1.5},
        {"commands_per_second": 0},
        {"commands_per_second": float("nan")},
        {"commands_per_second": float("inf")},
        {"operator": 1},
    ],
)
def test_malformed_claims_are_refused_as_a_whole(claims: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_claims(claims)


def test_claims_become_a_grant_and_raise_no_limit_of_the_replicas() -> None:
    claims = parse_claims(
        {"streams": [], "max_streams": 5000, "max_connections": 2, "commands_per_second": 1, "operator": True}
    )
    grant = claims.grant("alice", expires_at=7.5)
    assert grant == Grant(
        subject="alice",
        streams=(),
        max_streams=ANYONE.max_streams,
        max_connections=2,
        commands_per_second=1.0,
        expires_at=7.5,
        is_operator=True,
    )
    assert not grant.covers(StreamName.parse("btcusdt@trade"))
    assert parse_claims({}).grant("") == ANYONE


def test_what_is_not_covered_is_forbidden_before_it_is_known_to_exist() -> None:
    def unknown(stream: StreamName) -> None:
        raise MarketError(Code.UNKNOWN_SYMBOL, str(stream))

    check = Grant(streams=("spot:eth*",)).guarding(unknown)
    for stream, code in (("btcusdt@trade", Code.FORBIDDEN), ("ethxyz@trade", Code.UNKNOWN_SYMBOL)):
        with pytest.raises(MarketError) as refused:
            check(StreamName.parse(stream))
        assert refused.value.code is code
