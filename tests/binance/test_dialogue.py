import pytest
from hypothesis import given
from hypothesis import strategies as st

from binance import dialogue
from binance.counters import Trouble
from binance.dialogue import Dialogue, Ping, Pong, client_window
from binance.entrances import MESSAGES_PER_SECOND
from binance.frames import Reply
from binance.subscriptions import Request
from market.streams import BINANCE_MARKETS, Market, StreamName

LEEWAY_S = 0.4
"""How far delays on the way may push messages together without harm."""


def _streams(count: int) -> list[StreamName]:
    return [StreamName.parse(f"s{number}usdt@trade") for number in range(count)]


def _assert_within_the_limit(market: Market, times: list[float]) -> None:
    limit = MESSAGES_PER_SECOND[market]
    for first, beyond in zip(times, times[limit:], strict=False):
        assert beyond - first > 1.0 + LEEWAY_S - 1e-6


@given(market=st.sampled_from(BINANCE_MARKETS), steps=st.lists(st.floats(min_value=0, max_value=2), max_size=300))
def test_no_window_of_a_second_ever_has_more_messages_than_the_server_admits(
    market: Market, steps: list[float]
) -> None:
    window, now, times = client_window(market), 1_000_000.0, []
    for step in steps:
        now += step
        if window.allow(now):
            times.append(now)
    _assert_within_the_limit(market, times)


_EVENTS = st.sampled_from(["ping", "want", "unwant", "reply", "refuse", "hear", "nothing"])


@given(
    market=st.sampled_from(BINANCE_MARKETS),
    events=st.lists(st.tuples(_EVENTS, st.floats(min_value=0, max_value=0.4)), max_size=300),
)
def test_whatever_happens_a_client_says_no_more_than_the_server_admits(
    market: Market, events: list[tuple[str, float]]
) -> None:
    now, times = 1_000_000.0, []
    talk = Dialogue(market, now)
    asked: Request | None = None
    for event, step in events:
        now += step
        if event == "ping":
            talk.hear_ping(b"1")
        elif event in ("want", "unwant"):
            talk.subscriptions.want(_streams(500 if event == "want" else 1))
        elif event in ("reply", "refuse") and asked is not None:
            talk.hear_reply(Reply(asked.id, None if event == "reply" else (2, "no")))
        elif event == "hear":
            talk.hear(now)
        talk.check(now)
        while (say := talk.next(now)) is not None:
            times.append(now)
            asked = say if isinstance(say, Request) else asked
    _assert_within_the_limit(market, times)


def test_a_ping_is_answered_with_its_payload_before_anything_else() -> None:
    talk = Dialogue(Market.SPOT, 0.0)
    talk.subscriptions.want(_streams(1))
    talk.hear_ping(b"1788015862624")
    assert talk.next(0.0) == Pong(b"1788015862624")
    assert isinstance(talk.next(0.0), Request)


def test_pings_that_pour_in_do_not_keep_requests_waiting() -> None:
    talk = Dialogue(Market.FUTURES, 0.0)
    talk.subscriptions.want(_streams(1_000))
    said = []
    for tick in range(40):
        talk.hear_ping(b"%d" % tick)
        if (say := talk.next(tick / 20)) is not None:
            said.append(say)
            if isinstance(say, Request):
                talk.hear_reply(Reply(say.id))
    kinds = [type(say) for say in said]
    assert kinds[:6] == [Pong, Request] * 3
    assert talk.is_settled


def test_a_quiet_server_is_pinged_once_and_given_up_when_it_stays_quiet() -> None:
    talk = Dialogue(Market.SPOT, 0.0)
    assert talk.next(dialogue.QUIET_S - 0.1) is None
    assert talk.next(dialogue.QUIET_S) == Ping()
    assert talk.next(dialogue.QUIET_S + 1) is None
    assert talk.check(dialogue.QUIET_S + dialogue.PONG_S - 0.1) is None
    assert talk.check(dialogue.QUIET_S + dialogue.PONG_S) is Trouble.HALF_OPEN


def test_whatever_the_server_sends_is_a_sign_of_life() -> None:
    talk = Dialogue(Market.SPOT, 0.0)
    talk.next(dialogue.QUIET_S)
    talk.hear(dialogue.QUIET_S + 1)
    assert talk.check(dialogue.QUIET_S + dialogue.PONG_S) is None
    assert talk.next(2 * dialogue.QUIET_S + 1) == Ping()


def test_requests_without_a_reply_are_repeated_and_then_the_server_is_given_up() -> None:
    talk = Dialogue(Market.SPOT, 0.0)
    talk.subscriptions.want(_streams(1))
    now, troubles = 0.0, []
    for _ in range(dialogue.MAX_UNANSWERED):
        talk.hear(now)
        assert isinstance(talk.next(now), Request)
        now += dialogue.REPLY_TIMEOUT_S
        troubles.append(talk.check(now))
    assert troubles == [Trouble.REPLY_TIMEOUT, Trouble.REPLY_TIMEOUT, Trouble.UNANSWERED]


@pytest.mark.parametrize(
    ("reply", "trouble"),
    [
        (Reply(1), None),
        (Reply(2), Trouble.STRAY_REPLY),
        (Reply(None), Trouble.STRAY_REPLY),
        (Reply(1, (2, "Invalid request: invalid stream")), Trouble.REFUSED_STREAM),
        (Reply(None, (3, "Invalid JSON")), Trouble.REFUSED_STREAM),
    ],
)
def test_replies_are_told_apart_by_their_id(reply: Reply, trouble: Trouble | None) -> None:
    talk = Dialogue(Market.SPOT, 0.0)
    talk.subscriptions.want(_streams(1))
    assert talk.hear_reply(reply) is Trouble.STRAY_REPLY  # nothing was asked yet
    talk.next(0.0)
    assert not talk.is_settled
    assert talk.hear_reply(reply) is trouble
    assert talk.is_settled == (trouble is not Trouble.STRAY_REPLY)


def test_a_sign_is_asked_for_at_once_with_its_payload() -> None:
    talk = Dialogue(Market.SPOT, 0.0)
    talk.ask_sign(b"7")
    assert talk.next(0.0) == Ping(b"7")
    assert talk.next(0.0) is None
