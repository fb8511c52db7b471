"""Signed control requests: what a replica obeys, and what another tenant of its Redis can do to it."""

import asyncio
import json
import os
import pickle
import re
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from binance.settings import SettingsError, load_settings
from bus import open_bus
from clients.python.tickcast_emitter import sign
from server.control_settings import ControlSettings
from server.doors import control_signing
from server.doors.control_signing import REQUEST_MAX_BYTES, WINDOW_S, ControlSigning, Flaw, RefusedRequestError
from server.doors.control_start import control_spec
from server.replica import Replica
from tests.server.conftest import Client, replica_settings, until
from tests.server.test_control_plane import STOCK_EMIT
from tests.support.processes import ROOT, Process

KEY = "0123456789abcdef0123456789abcdef"
EMIT: dict[str, Any] = {"method": "emit", "namespace": "/", "room": None, "event": "notice", "data": [{"text": "hi"}]}


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def signing(clock: Clock, key: str = KEY, *, takes_unsigned: bool = False) -> ControlSigning:
    return ControlSigning(key.encode(), takes_unsigned=takes_unsigned, clock=clock)


def flaw_of(by: ControlSigning, body: bytes) -> Flaw:
    before = by.refused.total()
    with pytest.raises(RefusedRequestError) as caught:
        by.unseal(body)
    assert by.refused.total() == before + 1
    assert by.refused[caught.value.flaw]
    return caught.value.flaw


def test_what_one_replica_seals_another_one_obeys_once() -> None:
    clock = Clock()
    one, other = signing(clock), signing(clock)
    body = one.seal(EMIT)
    assert other.unseal(body) == EMIT
    assert flaw_of(other, body) is Flaw.REPLAYED
    assert one.unseal(body) == EMIT, "each remembers for itself"


def test_a_sealed_body_is_an_object_that_stock_managers_ignore() -> None:
    assert "method" not in json.loads(signing(Clock()).seal(EMIT))


def test_no_part_of_a_signed_request_can_be_changed() -> None:
    clock = Clock()
    body = json.loads(signing(clock).seal(EMIT))
    changes = {"signed": json.dumps({**EMIT, "event": "forged"}), "sent_ms": body["sent_ms"] + 1}
    changes |= {"nonce": secrets.token_hex(16), "signature": "0" * 64}
    for field, value in changes.items():
        assert flaw_of(signing(clock), json.dumps({**body, field: value}).encode()) is Flaw.SIGNATURE
    assert flaw_of(signing(clock, KEY[::-1]), json.dumps(body).encode()) is Flaw.SIGNATURE


def test_the_parts_of_what_is_signed_cannot_be_shifted_into_each_other() -> None:
    clock = Clock()
    body = json.loads(signing(clock).seal({**EMIT, "event": 'a."method":"emit"'}))
    before, _, after = body["signed"].partition(".")
    shifted = {**body, "nonce": f"{body['nonce']}.{before}", "signed": after}
    assert flaw_of(signing(clock), json.dumps(shifted).encode()) is Flaw.MALFORMED
    assert signing(clock).unseal(json.dumps(body).encode())


@pytest.mark.parametrize("late_s", [WINDOW_S + 1, -WINDOW_S - 1])
def test_a_request_from_another_time_is_stale(late_s: float) -> None:
    clock = Clock()
    receiver = signing(clock)
    clock.now += 2 * WINDOW_S
    body = signing(clock).seal(EMIT)
    clock.now += late_s
    assert flaw_of(receiver, body) is Flaw.STALE


def test_a_request_that_was_sent_before_the_replica_started_is_stale_for_it() -> None:
    clock = Clock()
    body = signing(clock).seal(EMIT)
    clock.now += 1
    assert flaw_of(signing(clock), body) is Flaw.STALE


def test_a_request_from_a_clock_that_is_ahead_is_obeyed_once_as_long_as_it_is_fresh() -> None:
    clock, ahead = Clock(), Clock(Clock().now + WINDOW_S - 1)
    receiver = signing(clock)
    body = signing(ahead).seal(EMIT)
    assert receiver.unseal(body) == EMIT
    for _ in range(3):
        clock.now += WINDOW_S / 2
        assert flaw_of(receiver, body) is Flaw.REPLAYED
    clock.now += WINDOW_S
    assert flaw_of(receiver, body) is Flaw.STALE


def test_no_more_is_remembered_than_the_limit_and_for_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_signing, "SEEN_MAX", 3)
    clock = Clock()
    receiver = signing(clock)
    for _ in range(3):
        receiver.unseal(signing(clock).seal(EMIT))
    assert flaw_of(receiver, signing(clock).seal(EMIT)) is Flaw.FLOODED
    clock.now += 2 * WINDOW_S + 1
    assert receiver.unseal(signing(clock).seal(EMIT)) == EMIT
    assert len(receiver._seen) == len(receiver._expiries) == 1


class Exploit:
    """What runs a command when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._proof),)


@pytest.mark.parametrize("takes_unsigned", [False, True])
def test_pickle_is_malformed_and_never_loaded(takes_unsigned: bool, tmp_path: Path) -> None:  # noqa: FBT001 # parameter of the test
    proof = tmp_path / "proof"
    body = pickle.dumps(Exploit(proof))
    assert flaw_of(signing(Clock(), takes_unsigned=takes_unsigned), body) is Flaw.MALFORMED
    assert not proof.exists()
    pickle.loads(body)  # noqa: S301 # our own: it would have been seen
    assert proof.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{",
        b"{}",
        b'{"method":"dance"}',
        b'{"method":"emit"}',
        b'{"method":"emit","event":["a"],"data":[]}',
        b'{"method":"disconnect","sid":7}',
        b'{"method":"enter_room","sid":"a"}',
        b'{"method":"emit","event":"a","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"signature":"x"}',
        b'{"signed":"{}","sent_ms":"now","nonce":"a","signature":"b"}',
    ],
)
def test_what_no_manager_would_send_is_malformed(body: bytes) -> None:
    assert flaw_of(signing(Clock(), takes_unsigned=True), body) is Flaw.MALFORMED


def test_also_signed_nonsense_is_malformed() -> None:
    clock = Clock()
    assert flaw_of(signing(clock), signing(clock).seal({"method": "dance"})) is Flaw.MALFORMED


def test_what_is_too_long_is_neither_read_nor_sent() -> None:
    long = {**EMIT, "data": ["x" * REQUEST_MAX_BYTES]}
    assert flaw_of(signing(Clock()), json.dumps(long).encode()) is Flaw.OVERSIZE
    with pytest.raises(RefusedRequestError):
        signing(Clock()).seal(long)


def test_unsigned_requests_pass_only_where_they_may() -> None:
    body = json.dumps(EMIT).encode()
    assert flaw_of(signing(Clock()), body) is Flaw.UNSIGNED
    assert signing(Clock(), takes_unsigned=True).unseal(body) == EMIT
    without_key = signing(Clock(), key="", takes_unsigned=True)
    assert without_key.unseal(without_key.seal(EMIT)) == EMIT


@pytest.mark.parametrize(
    ("env", "takes_unsigned"),
    [
        ({}, True),
        ({"CONTROL_KEY": KEY}, False),
        ({"CONTROL_KEY": KEY, "CONTROL_SIGNED": "false"}, True),
        ({"CONTROL_KEY_FILE": "{file}"}, False),
    ],
)
def test_a_key_makes_signatures_the_rule(
    env: dict[str, str],
    takes_unsigned: bool,  # noqa: FBT001 # expected
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    for name, value in env.items():
        monkeypatch.setenv(name, value.format(file=tmp_path / "key"))
    settings = load_settings(ControlSettings)
    assert settings.takes_unsigned is takes_unsigned
    assert settings.control_secret == (KEY.encode() if env else b"")
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"CONTROL_KEY": "short-and-secret"}, "CONTROL_KEY=... is not valid: must have 32 bytes at least"),
        ({"CONTROL_SIGNED": "true"}, "CONTROL_SIGNED=true wants a key"),
        ({"CONTROL_KEY_FILE": "/no/such"}, "CONTROL_KEY_FILE='/no/such' is not valid: must be a file"),
        ({"CONTROL_KEY": KEY, "CONTROL_KEY_FILE": __file__}, "set one of them"),
    ],
)
def test_a_key_that_protects_nothing_stops_the_start(
    env: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings(ControlSettings)
    assert sentence in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({"bus_url": "redis://redis:6379"}, True),
        ({"bus_url": "nats://localhost,10.0.0.1"}, True),
        ({"bus_url": "redis://redis:6379", "control_key": KEY}, False),
        ({"bus_url": "redis://127.0.0.1:6379,redis://[::1]:1"}, False),
        ({}, False),
    ],
)
def test_a_bus_elsewhere_without_a_key_is_warned_of(changes: dict[str, str], warned: bool, exchange: Process) -> None:  # noqa: FBT001 # expected
    with capture_logs() as logs:
        control_spec(replica_settings(exchange, **changes))
    assert bool(logs) is warned


@dataclass
class Signed:
    """Two replicas that share a Redis and a key, with a client each."""

    url: str
    redis: Redis
    ports: list[int]
    replicas: list[Replica]
    clients: list[Client]

    def refused(self, flaw: Flaw) -> int:
        """How many requests the first replica refused for a flaw."""
        return int(self.replicas[0]._door.server.manager.refused[flaw])

    def texts(self, number: int) -> list[str]:
        return [body["text"] for body in self.clients[number].named("notice")]

    async def run(self, *command: str) -> None:
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        assert await process.wait() == 0


@pytest.fixture
async def signed(redis: Process, exchange: Process) -> AsyncIterator[Signed]:
    url = f"redis://127.0.0.1:{redis.port}"
    signed = Signed(url, Redis(port=redis.port), [], [], [])
    buses = []
    for name in ("r1", "r2"):
        bus = open_bus(url)
        replica = Replica(replica_settings(exchange, replica=name, bus_url=url, control_key=KEY), bus)
        await bus.start()
        signed.ports.append(await replica.start())
        client = Client()
        await client.connect(f"http://127.0.0.1:{signed.ports[-1]}", "websocket")
        signed.replicas.append(replica)
        signed.clients.append(client)
        buses.append(bus)

    async def all_hear() -> bool:
        return (await signed.redis.pubsub_numsub("socketio"))[0][1] == 2

    await until(all_hear, "both replicas hear the control channel")
    yield signed
    for client in signed.clients:
        await client.io.disconnect()
    for replica, bus in zip(signed.replicas, buses, strict=True):
        await replica.close()
        await bus.close()
    await signed.redis.aclose()


SIGNED_EMIT = """
import sys
from clients.python.tickcast_emitter import SignedRedisManager
SignedRedisManager(sys.argv[1], sys.argv[2]).emit("notice", {"text": sys.argv[3]})
"""


async def test_another_tenant_of_the_redis_can_neither_emit_nor_disconnect(signed: Signed) -> None:
    one = signed.clients[0]
    sid = one.io.get_sid()
    await signed.run(sys.executable, "-c", STOCK_EMIT, signed.url, "", "stock")
    await signed.run(sys.executable, "-c", SIGNED_EMIT, signed.url, KEY[::-1], "wrong key")
    heard = signed.redis.pubsub()
    await heard.subscribe("socketio")
    await signed.run(sys.executable, "-c", SIGNED_EMIT, signed.url, KEY, "right key")
    await until(lambda: "right key" in signed.texts(0) and "right key" in signed.texts(1), "who has the key is heard")
    while (overheard := await heard.get_message(timeout=5)) is not None and overheard["type"] != "message":
        pass
    assert overheard is not None
    await signed.redis.publish("socketio", overheard["data"])
    await signed.redis.publish("socketio", json.dumps({"method": "disconnect", "sid": sid, "namespace": "/"}))
    await signed.redis.publish("socketio", pickle.dumps({"method": "disconnect", "sid": sid, "namespace": "/"}))
    wanted = {Flaw.UNSIGNED: 2, Flaw.SIGNATURE: 1, Flaw.REPLAYED: 1, Flaw.MALFORMED: 1}
    await until(lambda: all(signed.refused(flaw) == count for flaw, count in wanted.items()), "each is counted")
    assert [signed.texts(number) for number in (0, 1)] == [["right key"]] * 2
    assert one.io.connected
    await heard.aclose()  # type: ignore[no-untyped-call] # redis-py
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{signed.ports[0]}/metrics") as metrics:
        assert 'tickcast_control_requests_refused_total{reason="unsigned"} 2.0' in await metrics.text()


async def test_over_nats_too_only_signed_requests_are_obeyed(nats: Process, exchange: Process) -> None:
    url = f"nats://127.0.0.1:{nats.port}"
    bus, other, client = open_bus(url), open_bus(url), Client()
    replica = Replica(replica_settings(exchange, bus_url=url, control_key=KEY), bus)
    await bus.start()
    await other.start()
    try:
        await client.connect(f"http://127.0.0.1:{await replica.start()}", "websocket")
        await until(lambda: bus.connected and other.connected, "both ends")
        for request in (EMIT, sign(KEY[::-1].encode(), EMIT), sign(KEY.encode(), EMIT)):
            await other.announce("socketio", json.dumps(request).encode())
        await until(lambda: client.named("notice"), "the last one is heard")
        assert client.named("notice") == [{"text": "hi"}]
        assert replica._door.server.manager.refused == {Flaw.UNSIGNED: 1, Flaw.SIGNATURE: 1}
    finally:
        await client.io.disconnect()
        await replica.close()
        await other.close()
        await bus.close()


async def test_replicas_manage_each_other_s_clients_with_signed_requests(signed: Signed) -> None:
    other = signed.clients[1]
    other.io.on("question", lambda body: {"echo": body})
    io, sid = signed.replicas[0]._door.server, other.io.get_sid() or ""
    answers: list[Any] = []
    await io.emit("question", 42, room=sid, callback=answers.append)
    await until(lambda: answers == [{"echo": 42}], "the answer")
    await io.disconnect(sid)
    await until(lambda: not other.io.connected, "the client is disconnected")
    assert signed.refused(Flaw.UNSIGNED) == signed.refused(Flaw.MALFORMED) == 0


async def test_the_documented_recipe_for_node_is_obeyed(signed: Signed) -> None:
    documented = (ROOT / "docs" / "bus-security.md").read_text()
    (recipe,) = re.findall(r"```js\n(.*?)```", documented, re.DOTALL)
    script = f'{recipe}\nemit("{signed.url}", "{KEY}", "notice", {{ text: "from Node ✓" }});'
    await signed.run("node", "-e", script)
    await until(lambda: signed.texts(0) == signed.texts(1) == ["from Node ✓"], "both clients hear it")


def test_what_the_python_emitter_signs_is_obeyed_as_it_was_meant() -> None:
    receiver = ControlSigning(KEY.encode(), takes_unsigned=False)
    request = {**EMIT, "data": [{"text": "✓ \ud83d\ude00", "n": 1.5}]}
    assert receiver.unseal(json.dumps(sign(KEY.encode(), request)).encode())["data"][0]["text"] == "✓ 😀"
