"""Guessing at the admin namespace: counted by network, and one line of the log."""

import pytest

from server.access.admin_login import BUSY, MAX_FAILURES, WRONG
from tests.server.access.attackers import frame, wire
from tests.server.access.test_passwords import CHEAP, login, refusal, shown
from tests.server.conftest import Served

LOOKED_AFTER = {"admin_user": "admin", "admin_password_hash": str(CHEAP)}
GUESSES = 40


async def test_all_addresses_of_an_ipv6_site_guess_together() -> None:
    one = login()
    for number in range(MAX_FAILURES):
        assert await refusal(one, shown("wrong"), f"2001:db8::{number + 1:x}") == WRONG
    assert await refusal(one, shown(), "2001:db8::ffff") == BUSY
    assert await one.check("2001:db8:0:1::1", shown()) is not None


@pytest.mark.parametrize("served", [LOOKED_AFTER], indirect=True)
async def test_guesses_are_refused_unseen_and_fill_no_log(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    guess = frame(b'40/admin,{"username":"admin","password":"guessed"}')
    answers: list[bytes] = []
    async with wire(served.url) as attacker:
        assert (await attacker.upgrade())[0] == 101
        await attacker.send(guess * GUESSES)
        async for _, payload in attacker.frames():
            if payload.startswith(b"44/admin"):
                answers.append(payload)
            if len(answers) == GUESSES:
                break
    assert [WRONG.encode() in answer for answer in answers].count(True) == MAX_FAILURES
    assert [BUSY.encode() in answer for answer in answers].count(True) == GUESSES - MAX_FAILURES
    assert len([line for line in capsys.readouterr().out.splitlines() if "admin refused" in line]) == 1
