"""Stored passwords and the sessions of the admin namespace."""

import asyncio
import subprocess
import sys

import pytest

from server.access import admin_login
from server.access.admin_login import BUSY, FAILURES_S, MAX_FAILURES, SESSION_S, WRONG, AdminLogin, LoginRefused
from server.access.passwords import PasswordHash
from tests.support.processes import ROOT

CHEAP = PasswordHash.parse("scrypt:4:8:1:c2FsdHNhbHRzYWx0c2FsdA==:8fMVNQRIS3XNsc6gAOqWRDEoI09km9Ol5J49QfkUo8E=")
"""Of PASSWORD, made with costs that a test can pay many times."""
PASSWORD = "secret"  # noqa: S105 # of a test


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def login(clock: Clock | None = None) -> AdminLogin:
    return AdminLogin("admin", CHEAP, clock or Clock())


def shown(password: str = PASSWORD, user: str = "admin") -> dict[str, str]:
    return {"username": user, "password": password}


async def refusal(one: AdminLogin, what: object, address: str = "a") -> str:
    with pytest.raises(LoginRefused) as refused:
        await one.check(address, what)
    return str(refused.value)


def test_a_password_matches_its_own_hash_alone() -> None:
    made = PasswordHash.make("correct horse")
    again = PasswordHash.parse(str(made))
    assert again == made
    assert again.matches("correct horse")
    assert not again.matches("correct horsf")
    assert PasswordHash.make("correct horse") != made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$2b$10$abcdefghijklmnopqrstuv",
        "scrypt:15:8:3:AAAA",
        "scrypt:15:8:x:AAAA:AAAA",
        "scrypt:99:8:1:AAAA:AAAA",
        "scrypt:0:8:1:AAAA:AAAA",
        "scrypt:15:8:3:AAAA:AAAA",
        "bcrypt:15:8:3:AAAA:AAAA",
    ],
)
def test_what_is_no_password_hash_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"hash|padding"):
        PasswordHash.parse(text)


def test_the_command_prints_the_hash_of_the_password_on_its_input() -> None:
    command = [sys.executable, "-m", "server.access.passwords"]
    run = subprocess.run(command, input="pass word\n", capture_output=True, text=True, cwd=ROOT, check=True)
    assert PasswordHash.parse(run.stdout.strip()).matches("pass word")
    empty = subprocess.run(command, input="\n", capture_output=True, text=True, cwd=ROOT, check=False)
    assert (empty.returncode, empty.stdout) == (1, "")


async def test_user_and_password_open_a_session_that_any_replica_recognizes_until_it_ends() -> None:
    clock = Clock()
    session = await login(clock).check("a", shown())
    assert session is not None
    elsewhere = login(clock)
    assert await elsewhere.check("a", {"sessionId": session}) is None
    clock.now += SESSION_S
    assert await refusal(elsewhere, {"sessionId": session}) == WRONG


@pytest.mark.parametrize(
    "what",
    [
        None,
        [],
        "admin",
        {},
        {"username": "admin"},
        {"username": "admin", "password": 1},
        shown("wrong"),
        shown(user="root"),
        {"sessionId": ""},
        {"sessionId": "9999999999."},
        {"sessionId": "9999999999." + "0" * 64},
        {"sessionId": "9" * 5000},
        {"sessionId": "é"},
        {"sessionId": 7},
    ],
)
async def test_anything_else_is_refused_and_counted(what: object) -> None:
    one = login()
    assert await refusal(one, what) == WRONG
    assert one.refused_total == 1


async def test_a_session_of_another_password_is_none() -> None:
    session = await login().check("a", shown())
    other = AdminLogin("admin", PasswordHash(4, 8, 1, b"salt", b"h" * 32), Clock())
    assert await refusal(other, {"sessionId": session}) == WRONG


async def test_an_address_that_guesses_is_refused_unseen_for_a_while_and_others_are_not() -> None:
    clock = Clock()
    one = login(clock)
    for _ in range(MAX_FAILURES):
        assert await refusal(one, shown("wrong")) == WRONG
    assert await refusal(one, shown()) == BUSY
    assert await one.check("b", shown()) is not None
    clock.now += FAILURES_S
    assert await one.check("a", shown()) is not None


async def test_no_more_addresses_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_login, "MAX_ADDRESSES", 2)
    one = login()
    for address in ("a", "b", "c"):
        await refusal(one, shown("wrong"), address)
    assert list(one._failures) == ["b", "c"]


async def test_attempts_past_the_queue_are_refused_at_once() -> None:
    one = login()
    asked = [asyncio.create_task(one.check(str(at), shown())) for at in range(admin_login.MAX_WAITING + 3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(answer) for answer in answers if isinstance(answer, LoginRefused)] == [BUSY] * 3
