"""Which pages may connect: an origin is what a browser would write, and nothing that merely looks like it."""

import pytest

from server.addresses import origin_policy

HOST = {"HTTP_HOST": "ticks.example:8080"}


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:5173",
        "HTTP://LOCALHOST:3000",
        "https://127.0.0.1:8443",
        "http://[::1]:5173",
        "http://ticks.example:8080",
        "https://Ticks.Example:8080",
    ],
)
def test_pages_of_this_machine_and_the_servers_own_may_connect(origin: str) -> None:
    assert origin_policy(())(origin, HOST)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "localhost",
        "http://",
        "http://localhost.evil.com",
        "http://evil.com#localhost",
        "http://evil.com?localhost",
        "http://evil.com/localhost",
        "http://evil.com\\@localhost",
        "http://evil.com@localhost",
        "http://localhost@evil.com",
        "http://localhost:80@evil.com",
        "http://localhost/",
        "http://localhost:",
        "http://localhost:80x",
        "http://localhost\n",
        "http://localhost.",
        "http://127.0.0.1.nip.io",
        "http://127.0.0.2",
        "http://[::ffff:127.0.0.1]",
        "http://ticks.example",
        "http://ticks.example:8081",
        "http://evil.com:8080",
        "file://localhost",
        "capacitor://localhost",
        "http://xn--lcalhost-n1a",
    ],
)
def test_what_only_looks_like_it_may_not(origin: str) -> None:
    assert not origin_policy(())(origin, HOST)


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://ticks.example", "ticks.example", True),
        ("http://ticks.example", "ticks.example:80", True),
        ("http://ticks.example:80", "ticks.example", True),
        ("https://ticks.example", "TICKS.example:443", True),
        ("https://ticks.example", "ticks.example:80", False),
        ("http://ticks.example", "ticks.example:443", False),
        ("http://ticks.example", "", False),
        ("http://ticks.example", "ticks.example@evil.com", False),
        ("http://[::1]:8080", "[::1]:8080", True),
    ],
)
def test_a_port_that_goes_without_saying_makes_no_difference(origin: str, host: str, *, is_own: bool) -> None:
    assert origin_policy(("https://friend.example",))(origin, {"HTTP_HOST": host}) is is_own


@pytest.mark.parametrize("named", ["https://friend.example", "https://Friend.Example/", "https://friend.example:443"])
def test_a_named_origin_may_be_written_as_people_do(named: str) -> None:
    is_allowed = origin_policy((named,))
    assert is_allowed("https://friend.example", HOST)
    assert is_allowed("https://FRIEND.example:443", HOST)
    for other in ("http://friend.example", "https://friend.example.evil.com", "https://friend.example:8443", "null"):
        assert not is_allowed(other, HOST)
    assert not is_allowed("http://localhost:5173", HOST)


def test_what_is_no_web_origin_may_connect_where_it_is_named() -> None:
    is_allowed = origin_policy(("capacitor://localhost", "null"))
    assert is_allowed("capacitor://localhost", HOST)
    assert is_allowed("null", HOST)
    assert not is_allowed("ionic://localhost", HOST)
