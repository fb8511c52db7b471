"""Floods of what must be kept, of guesses, of nonsense on the bus: bounded, counted and told once."""

import asyncio
import json

import aiohttp
import pytest

from market.announcements import REFUSALS_TOPIC, REPAIRED_TOPIC, resume_answers
from server import inbox as inbox_module
from server.access.admin_login import BUSY, MAX_FAILURES, WRONG, AdminLogin
from server.inbox import Inbox
from tests.server.access.attackers import BINARY, CLOSE, SOCKETIO, frame, refused, socketio_wire, wire
from tests.server.access.test_passwords import CHEAP, login, refusal, shown
from tests.server.conftest import Served, until
from tests.server.json_client import json_client

HASTY = {"request_timeout_s": 0.3}
LOOKED_AFTER = {"admin_user": "admin", "admin_password_hash": str(CHEAP)}
TWO_PARTS = frame(b'452-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
LOGIN = frame(b'40/admin,{"username":"admin","password":"guessed"}')
PART_BYTES = 600_000
GUESSES = 40
NONSENSE = (b"", b"{", b"null", b"[" * 10_000, b"\xff" * 100, b'{"stream":7,"ask":"x","streams":{}}')


@pytest.mark.parametrize("served", [HASTY], indirect=True)
async def test_a_packet_whose_attachments_are_kept_back_ends_its_session(served: Served) -> None:
    async with socketio_wire(served.url) as attacker, socketio_wire(served.url, "127.0.1.2") as neighbour:
        await attacker.send(TWO_PARTS + frame(bytes(9), BINARY))
        assert await attacker.closed_with() == (1008, "Message not finished in time")
        await neighbour.send(TWO_PARTS + frame(b"a", BINARY) + frame(b"b", BINARY) + frame(b'427["subscriptions"]'))
        async for _, payload in neighbour.frames():
            if payload.startswith(b"437["):
                break
        else:
            raise AssertionError("who finishes goes on")
    assert await refused(served.url) == {"slow_message": 1}


async def test_attachments_are_no_more_together_than_a_message_may_be(served: Served) -> None:
    async with socketio_wire(served.url) as attacker:
        await attacker.send(TWO_PARTS + frame(bytes(PART_BYTES), BINARY) * 2)
        async for opcode, payload in attacker.frames():
            if opcode == CLOSE:
                assert payload == (1000).to_bytes(2, "big")
                break
        else:
            raise AssertionError("it was not closed")


def test_an_inbox_is_full_by_messages_or_by_bytes_and_has_room_again_at_half() -> None:
    inbox = Inbox()
    for _ in range(inbox_module.MAX_MESSAGES):
        assert not inbox.is_full
        inbox.put("x")
    assert inbox.is_full
    while not inbox.has_room:
        assert inbox.take() == "x"
    assert len(inbox) == inbox_module.MAX_MESSAGES // 2
    inbox.put(bytes(inbox_module.MAX_BYTES))
    assert inbox.is_full
    while len(inbox):
        inbox.take()
    assert inbox.has_room
    assert not inbox.is_full


@pytest.mark.parametrize("served", [LOOKED_AFTER], indirect=True)
async def test_no_more_than_a_megabyte_waits_behind_a_command_that_takes_its_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()
    most = 0
    put = Inbox.put

    def watched(inbox: Inbox, message: str | bytes) -> None:
        nonlocal most
        put(inbox, message)
        most = max(most, inbox._size)

    async def slow(*_: object) -> None:
        asked.set()
        await answered.wait()

    monkeypatch.setattr(Inbox, "put", watched)
    monkeypatch.setattr(AdminLogin, "check", slow)
    async with socketio_wire(served.url) as attacker:
        await attacker.send(LOGIN)
        await asked.wait()
        pouring = asyncio.create_task(
            attacker.send(frame(b'42["x","%b"]' % bytes(PART_BYTES).replace(b"\0", b"y")) * 30)
        )
        async with json_client(served.url, local_addr=("127.0.1.2", 0)) as neighbour:
            await until(lambda: most >= inbox_module.MAX_BYTES, "it is full")
            await neighbour.settle()
        assert not pouring.done(), "nothing more is read"
        assert most < inbox_module.MAX_BYTES + 2 * PART_BYTES
        answered.set()
        assert (await attacker.closed_with())[0] == 1008
        await pouring


@pytest.mark.parametrize("served", [{"commands_per_second": 10}], indirect=True)
async def test_a_websocket_that_proves_itself_without_end_is_closed(served: Served) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/socket.io/?EIO=4&transport=polling") as answer:
            sid = json.loads((await answer.text())[1:])["sid"]
        async with wire(served.url) as attacker:
            assert (await attacker.upgrade(f"{SOCKETIO}&sid={sid}"))[0] == 101
            flood = asyncio.create_task(attacker.send(frame(b"2probe") * 10_000))
            assert await attacker.closed_with() == (1008, "Too many requests")
            await flood
    assert (await refused(served.url))["flood"] == 1


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


@pytest.mark.parametrize(
    ("topic", "line"),
    [
        (resume_answers("r1"), "resume answer not understood"),
        (REPAIRED_TOPIC, "repair not understood"),
        (REFUSALS_TOPIC, "refusals not understood"),
    ],
)
async def test_nonsense_on_the_bus_is_counted_and_logged_once(
    served: Served, topic: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with json_client(served.url) as neighbour:
        await neighbour.ask("subscribed", type="subscribe", rawStreams=["ethusdt@trade"])
        for body in NONSENSE * 5:
            await served.publisher.announce(topic, body)
        await served.publish("ethusdt@trade", count=20)
        await until(lambda: len(neighbour.of_stream("ethusdt@trade")) == 20, "the neighbour's trades")
    assert [line in told for told in capsys.readouterr().out.splitlines()].count(True) == 1
