"""Where credentials are read from, and where they are left out."""

import pytest

from server.access.credentials import Credentials, in_packet, of_token, without_credentials
from server.access.unauthorized import UnauthorizedError


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", ""),
        ("EIO=4&transport=polling", "EIO=4&transport=polling"),
        ("EIO=4&token=a.b.c&transport=polling", "EIO=4&transport=polling"),
        ("apiKey=tck_1_2", ""),
        ("tok%65n=a.b.c&x=1", "x=1"),
        ("x=1&token=a&token=b&apiKey=c", "x=1"),
        ("room=a%20b", "room=a+b"),
    ],
)
def test_what_is_remembered_of_a_request_holds_no_credentials(query: str, kept: str) -> None:
    assert without_credentials(query) == kept


@pytest.mark.parametrize("auth", [None, {}, [], "token", {"token": None}, {"token": ""}, {"other": "x"}])
def test_a_packet_without_credentials_is_just_that(auth: object) -> None:
    assert in_packet(auth) is None


@pytest.mark.parametrize("auth", [{"token": 7}, {"token": ["a"]}, {"apiKey": {"a": 1}}, {"token": "a", "apiKey": 1}])
def test_credentials_that_are_no_text_are_refused(auth: object) -> None:
    with pytest.raises(UnauthorizedError):
        in_packet(auth)


def test_an_api_key_is_known_wherever_it_stands_and_nothing_is_shown() -> None:
    found = in_packet({"token": "tck_1_secret"})
    assert found is not None
    assert found.is_api_key
    assert of_token("tck_1_secret").is_api_key
    assert "secret" not in f"{found!r} {found} {Credentials('a.secret.c', is_api_key=False)!r}"
