import pytest

from market.event_times import event_ms

MS = 1_714_000_000_123


@pytest.mark.parametrize(
    "payload",
    [
        b'{"e":"trade","E":1714000000123,"s":"BTCUSDT","t":1}',
        b'[{"e":"24hrMiniTicker","E":1714000000123},{"e":"24hrMiniTicker","E":1714000000999}]',
        b'{"e":"bookTicker","u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4","T":1,"E":1714000000123}',
    ],
)
def test_the_event_time_is_found_wherever_it_stands(payload: bytes) -> None:
    assert event_ms(payload) == MS


@pytest.mark.parametrize(
    "payload", [b'{"u":1,"s":"BTCUSDT","b":"1"}', b'{"E":1}', b'{"E":"1714000000123"}', b"", b"[]"]
)
def test_what_has_no_such_time_has_none(payload: bytes) -> None:
    assert event_ms(payload) is None
