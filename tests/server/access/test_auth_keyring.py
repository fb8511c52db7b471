"""Where the keys of tokens come from: a URL that may be away, and a file that changes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from server.access import keyring as keyring_module
from server.access import watched_file
from server.access.authenticator import Authenticator
from server.access.credentials import Credentials
from server.access.jwks import MAX_BYTES
from server.access.keyring import FileKeyring, UrlKeyring
from server.access.tokens import Tokens
from server.access.unauthorized import Reason, UnauthorizedError
from tests.server.access.minting import Key, ec_key, jwks
from tests.server.conftest import until

FIRST, SECOND, NOBODYS = ec_key("first"), ec_key("second"), ec_key("nobody's")


class Issuer:
    """A real HTTP server with a key set."""

    def __init__(self) -> None:
        self.keys = [FIRST]
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.url = ""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.may_answer.wait()
        body = jwks(*self.keys) if self.body is None else self.body
        return web.Response(status=self.status, body=body, headers=self.headers)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks.json", issuer.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks.json"
    yield issuer
    issuer.may_answer.set()
    await runner.cleanup()


@pytest.fixture
async def authenticator(issuer: Issuer) -> AsyncIterator[Authenticator]:
    keyring = UrlKeyring(issuer.url)
    authenticator = Authenticator(
        is_required=True,
        tokens=Tokens(secret="", keyring=keyring, issuer="", audience=""),
        keyring=keyring,
        api_keys=None,
    )
    await authenticator.start()
    yield authenticator
    await authenticator.close()


async def subject(authenticator: Authenticator, key: Key) -> str:
    return (await authenticator.authenticate(Credentials(key.mint(), is_api_key=False))).subject


async def test_a_new_key_of_the_issuers_is_fetched_once_for_all_who_wait(
    issuer: Issuer, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await subject(authenticator, FIRST) == "alice"
    assert issuer.asked == 1
    monkeypatch.setattr(keyring_module, "UNKNOWN_KEY_S", 0.0)
    keyring = authenticator._keyring
    assert isinstance(keyring, UrlKeyring)
    keyring._next_s = 0.0  # as if the first fetch had been long ago
    issuer.keys = [FIRST, SECOND]
    issuer.may_answer.clear()
    waiting = [asyncio.create_task(subject(authenticator, SECOND)) for _ in range(20)]
    await until(lambda: issuer.asked == 2, "the keys are asked for")
    issuer.may_answer.set()
    assert await asyncio.gather(*waiting) == ["alice"] * 20
    assert issuer.asked == 2


async def test_keys_that_nobody_has_make_for_one_fetch_in_a_while(issuer: Issuer, authenticator: Authenticator) -> None:
    keyring = authenticator._keyring
    assert isinstance(keyring, UrlKeyring)
    keyring._next_s = 0.0
    for _ in range(50):
        with pytest.raises(UnauthorizedError) as refused:
            await subject(authenticator, NOBODYS)
        assert refused.value.reason is Reason.UNKNOWN_KEY
    assert issuer.asked == 2


async def test_only_so_many_wait_for_a_fetch(
    issuer: Issuer, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring_module, "WAITING_MAX", 3)
    keyring = authenticator._keyring
    assert isinstance(keyring, UrlKeyring)
    keyring._next_s = 0.0
    issuer.may_answer.clear()
    waiting = [asyncio.create_task(keyring.look_again()) for _ in range(3)]
    await until(lambda: issuer.asked == 2, "the keys are asked for")
    assert await keyring.look_again() is False
    issuer.may_answer.set()
    assert await asyncio.gather(*waiting) == [True] * 3


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (503, None, {}),
        (200, b"<html>", {}),
        (200, b'{"keys":[]}', {}),
        (200, b" " * (MAX_BYTES + 1), {}),
        (302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
    ],
)
async def test_the_last_keys_hold_while_the_issuer_is_not_well(
    issuer: Issuer, authenticator: Authenticator, status: int, body: bytes | None, headers: dict[str, str]
) -> None:
    issuer.status, issuer.body, issuer.headers = status, body, headers
    keyring = authenticator._keyring
    assert isinstance(keyring, UrlKeyring)
    keyring._next_s = 0.0
    assert await keyring.look_again() is False
    assert authenticator.key_failures_total == 1
    assert await subject(authenticator, FIRST) == "alice"


async def test_an_issuer_that_is_away_at_first_is_asked_again(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "RETRY_S", 0.02)
    issuer.status = 500
    keyring = UrlKeyring(issuer.url)
    await keyring.load()
    assert keyring.find("first") is None
    keeping = asyncio.create_task(keyring.keep())
    await until(lambda: issuer.asked >= 3, "it is asked again")
    issuer.status = 200
    await until(lambda: keyring.find("first"), "the keys are there")
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_an_issuer_that_does_not_answer_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring_module, "FETCH_S", 0.05)
    issuer.may_answer.clear()
    keyring = UrlKeyring(issuer.url)
    await keyring.load()
    assert keyring.failures_total == 1


async def test_a_file_of_keys_is_read_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_file, "WATCH_S", 0.01)
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(FIRST))
    keyring = FileKeyring(path)
    await keyring.load()
    keeping = asyncio.create_task(keyring.keep())
    path.write_bytes(b"not yet whole")
    await until(lambda: keyring.failures_total == 1, "the change is seen")
    assert keyring.find("first") is not None
    path.write_bytes(jwks(SECOND))
    await until(lambda: keyring.find("second"), "the new keys hold")
    assert keyring.find("first") is None
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
