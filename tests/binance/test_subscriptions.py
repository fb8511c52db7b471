import pytest
from hypothesis import given
from hypothesis import strategies as st

from binance.routes import MAX_STREAMS
from binance.subscriptions import Method, Subscriptions, encode_request
from market.backoff import FIRST_S, MAX_S, Backoff
from market.streams import StreamName


def _streams(*symbols: str) -> list[StreamName]:
    return [StreamName.parse(f"{symbol}@trade") for symbol in symbols]


def _settle(subscriptions: Subscriptions, bad: frozenset[str] = frozenset()) -> list[Method]:
    """Play the server, which refuses any request with a bad name."""
    methods = []
    while request := subscriptions.next_request():
        methods.append(request.method)
        if bad.intersection(request.params):
            subscriptions.refuse(request)
        else:
            subscriptions.accept(request)
    return methods


def test_what_is_wanted_is_subscribed_once() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(_streams("a", "b"))
    assert _settle(subscriptions) == [Method.SUBSCRIBE]
    subscriptions.want(_streams("b", "a"))
    assert subscriptions.is_settled()
    assert subscriptions.next_request() is None


def test_streams_leave_before_others_come() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(_streams("a"))
    _settle(subscriptions)
    subscriptions.want(_streams("b"))
    assert _settle(subscriptions) == [Method.UNSUBSCRIBE, Method.SUBSCRIBE]
    assert subscriptions.confirmed == {"b@trade"}


def test_a_bad_name_is_found_and_set_aside_without_harm_to_others() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(_streams(*(f"s{i}" for i in range(50))))
    _settle(subscriptions, frozenset({"s17@trade"}))
    assert subscriptions.refused == {"s17@trade"}
    assert len(subscriptions.confirmed) == 49
    assert subscriptions.is_settled()


def test_what_the_server_will_not_end_counts_as_ended() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(_streams("a", "b"))
    _settle(subscriptions)
    subscriptions.want([])
    _settle(subscriptions, frozenset({"a@trade"}))
    assert subscriptions.is_settled()
    assert not subscriptions.confirmed


def test_a_new_connection_carries_nothing_yet() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(_streams("a"))
    _settle(subscriptions)
    subscriptions.forget()
    request = subscriptions.next_request()
    assert request is not None
    assert request.params == ["a@trade"]


def test_more_streams_than_a_connection_may_carry_are_refused_clearly() -> None:
    with pytest.raises(ValueError, match="at most 1024 streams"):
        Subscriptions().want(_streams(*(f"s{i}" for i in range(MAX_STREAMS + 1))))


def test_requests_are_written_as_binance_reads_them() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(_streams("牛来usdt"))
    request = subscriptions.next_request()
    assert request is not None
    assert encode_request(request) == '{"method":"SUBSCRIBE","params":["牛来usdt@trade"],"id":1}'


_names = st.sets(st.sampled_from([f"s{i}" for i in range(12)]))


@given(steps=st.lists(_names, max_size=6), bad=_names)
def test_any_sequence_of_wishes_settles_on_the_last_one(steps: list[set[str]], bad: set[str]) -> None:
    subscriptions = Subscriptions()
    for wanted in steps:
        subscriptions.want(_streams(*wanted))
        _settle(subscriptions, frozenset(f"{name}@trade" for name in bad))
        assert subscriptions.is_settled()
        assert subscriptions.confirmed == {f"{name}@trade" for name in wanted - bad}


def test_waits_grow_with_jitter_and_stay_within_their_bounds() -> None:
    backoff = Backoff()
    waits = [backoff.next_s() for _ in range(200)]
    assert all(FIRST_S <= wait <= MAX_S for wait in waits)
    assert waits[0] <= 3 * FIRST_S
    assert max(waits) > 5
    assert len(set(waits)) > 50
    backoff.reset()
    assert backoff.next_s() <= 3 * FIRST_S


def test_a_backoff_is_fresh_until_it_makes_somebody_wait() -> None:
    backoff = Backoff()
    fresh = [backoff.is_fresh]
    backoff.next_s()
    fresh.append(backoff.is_fresh)
    backoff.reset()
    fresh.append(backoff.is_fresh)
    assert fresh == [True, False, True]
