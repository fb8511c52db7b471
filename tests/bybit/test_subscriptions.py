import pytest
from hypothesis import given
from hypothesis import strategies as st

from bybit.names import MAX_TOPICS
from bybit.subscriptions import MAX_ARGS, Op, Subscriptions

TOPICS = [f"tickers.S{number}USDT" for number in range(25)]


def settle(subscriptions: Subscriptions, bad: frozenset[str] = frozenset()) -> list[tuple[Op, int]]:
    """Play the server until nothing is left to say; it refuses a request that names a `bad` topic."""
    said = []
    while not subscriptions.is_settled():
        request = subscriptions.next_request()
        assert request is not None
        assert 1 <= len(request.args) <= MAX_ARGS
        said.append((request.op, len(request.args)))
        if bad.intersection(request.args) and request.op is Op.SUBSCRIBE:
            subscriptions.refuse(request)
        else:
            subscriptions.accept(request)
    return said


def test_topics_are_asked_for_as_many_at_once_as_bybit_allows() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(TOPICS)
    assert settle(subscriptions) == [(Op.SUBSCRIBE, 10), (Op.SUBSCRIBE, 10), (Op.SUBSCRIBE, 5)]
    assert subscriptions.confirmed == set(TOPICS)


def test_what_is_wanted_no_longer_leaves_first() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(TOPICS[:3])
    settle(subscriptions)
    subscriptions.want(TOPICS[2:6])
    assert settle(subscriptions) == [(Op.UNSUBSCRIBE, 2), (Op.SUBSCRIBE, 3)]


def test_one_topic_that_bybit_dislikes_costs_the_others_nothing() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(TOPICS[:10])
    bad = TOPICS[4]
    settle(subscriptions, frozenset({bad}))
    assert subscriptions.refused == {bad}
    assert subscriptions.confirmed == set(TOPICS[:10]) - {bad}


def test_a_renewed_topic_is_left_and_asked_for_again() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(TOPICS[:2])
    settle(subscriptions)
    subscriptions.renew(TOPICS[0])
    assert settle(subscriptions) == [(Op.UNSUBSCRIBE, 1), (Op.SUBSCRIBE, 1)]
    subscriptions.renew("tickers.NEVER")
    assert subscriptions.is_settled()


def test_a_new_connection_begins_with_nothing() -> None:
    subscriptions = Subscriptions()
    subscriptions.want(TOPICS[:2])
    settle(subscriptions, frozenset({TOPICS[0]}))
    subscriptions.forget()
    assert settle(subscriptions) == [(Op.SUBSCRIBE, 2)]
    assert not subscriptions.refused


def test_more_than_a_connection_may_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        Subscriptions().want(f"tickers.S{number}" for number in range(MAX_TOPICS + 1))


topics = st.frozensets(st.sampled_from(TOPICS), max_size=25)


@given(st.lists(topics, min_size=1, max_size=5), topics)
def test_in_the_end_everything_wanted_is_carried_but_what_is_refused(
    wishes: list[frozenset[str]], bad: frozenset[str]
) -> None:
    subscriptions = Subscriptions()
    for wanted in wishes:
        subscriptions.want(wanted)
        settle(subscriptions, bad)
        assert subscriptions.confirmed == wanted - bad
        assert subscriptions.refused == wanted & bad
