import pytest

from binance.watchdog import ARRAY_TOLERANCE_S, RENEW_EVERY_S, TOLERANCE_S, Silence, Watchdog
from market.streams import Kind, StreamName

QUOTES = StreamName.parse("btcusdt@bookTicker")
TRADES = StreamName.parse("dogeusdt@trade")
MARKS = StreamName.parse("futures:btcusdt@markPrice@1s")
QUOTES_S, TRADES_S, MARKS_S = (TOLERANCE_S[stream.kind] for stream in (QUOTES, TRADES, MARKS))


@pytest.fixture
def watchdog() -> Watchdog:
    made = Watchdog()
    made.watch([QUOTES, TRADES, MARKS], 0.0)
    return made


def test_each_kind_has_its_own_tolerance(watchdog: Watchdog) -> None:
    assert watchdog.check(MARKS_S) == Silence()
    assert watchdog.check(MARKS_S + 1) == Silence(renew=(MARKS,))
    watchdog = Watchdog()
    watchdog.watch([QUOTES, TRADES], 0.0)
    assert watchdog.check(QUOTES_S + 1) == Silence(renew=(QUOTES,))


def test_a_stream_that_speaks_is_left_alone(watchdog: Watchdog) -> None:
    for now in range(0, 300, 10):
        watchdog.hear([QUOTES, TRADES, MARKS], now)
        assert watchdog.check(now + 9) == Silence()


def test_liquidations_are_not_watched_and_all_market_streams_are() -> None:
    watchdog = Watchdog()
    array = StreamName.parse("!miniTicker@arr")
    watchdog.watch([StreamName.parse("btcusdt@forceOrder"), StreamName.parse("!forceOrder@arr"), array], 0.0)
    assert watchdog.check(ARRAY_TOLERANCE_S + 1) == Silence(renew=(array,))
    assert Kind.FORCE_ORDER not in TOLERANCE_S
    assert watchdog.check(1_000_000) == Silence(stalled=(array,))


def test_a_stream_is_renewed_once_and_then_reported_once(watchdog: Watchdog) -> None:
    assert watchdog.check(MARKS_S + 1).renew == (MARKS,)
    watchdog.restart(20.0)
    assert watchdog.check(20.0 + MARKS_S) == Silence()
    assert watchdog.check(20.0 + MARKS_S + 1) == Silence(stalled=(MARKS,))
    assert watchdog.stalled == {MARKS}
    watchdog.restart(40.0)
    watchdog.hear([QUOTES], 60.0)
    assert watchdog.check(60.0) == Silence()
    assert watchdog.hear([MARKS, QUOTES], 61.0) == [MARKS]
    assert watchdog.stalled == frozenset()


def test_streams_that_fall_silent_one_after_the_other_share_a_new_connection(watchdog: Watchdog) -> None:
    renewed_at = MARKS_S + 1
    assert watchdog.check(renewed_at).renew == (MARKS,)
    watchdog.hear([MARKS], renewed_at + 1)
    assert watchdog.check(QUOTES_S + 1).renew == ()
    watchdog.hear([MARKS], renewed_at + RENEW_EVERY_S)
    assert watchdog.check(renewed_at + RENEW_EVERY_S).renew == (QUOTES,)


def test_a_stream_that_is_quiet_by_nature_is_granted_longer_silences(watchdog: Watchdog) -> None:
    silence_s = TRADES_S * 0.9
    watchdog.hear([TRADES], silence_s)
    watchdog.hear([QUOTES, MARKS], silence_s)
    watchdog.watch([TRADES], silence_s)
    assert watchdog.check(silence_s + 2.5 * silence_s) == Silence()
    assert watchdog.check(silence_s + 3.1 * silence_s).renew == (TRADES,)


def test_a_silence_that_a_new_connection_ended_teaches_nothing(watchdog: Watchdog) -> None:
    watchdog.watch([QUOTES], 0.0)
    assert watchdog.check(QUOTES_S + 1).renew == (QUOTES,)
    watchdog.restart(40.0)
    watchdog.hear([QUOTES], 41.0)
    now = 41.0 + RENEW_EVERY_S
    watchdog.hear([QUOTES], now)  # this one teaches
    assert watchdog.check(now + 3 * RENEW_EVERY_S).renew == ()
    assert watchdog.check(now + 3 * RENEW_EVERY_S + 1).renew == (QUOTES,)


def test_streams_that_are_given_up_are_forgotten(watchdog: Watchdog) -> None:
    watchdog.check(1_000.0)
    watchdog.check(2_000.0)
    assert watchdog.stalled == {QUOTES, TRADES, MARKS}
    watchdog.watch([TRADES], 2_000.0)
    assert watchdog.stalled == {TRADES}
