"""The shipped users: all of what our processes do passes, and nothing else."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_client
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry
from structlog.testing import capture_logs

from bus import nats_wire, open_bus
from bus.nats_link import open_link
from bus.nats_servers import Servers
from deploy.secure import Secrets, User
from market.announcements import DEMAND_TOPIC, FEED_TOPIC, resume_answers
from market.streams import price_key
from tests.bus.support import BTC, Inbox, connected, end_on, message, until
from tests.support.processes import Process
from tests.support.secured import client_of, refusals, secured_nats, secured_redis, trust, url_of


@pytest.fixture(scope="module")
def redis_server(secrets: Secrets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with secured_redis(secrets, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def nats_server(secrets: Secrets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with secured_nats(secrets, tmp_path_factory.mktemp("nats")) as server:
        yield server


async def test_connecting_asks_for_nothing_that_a_server_could_refuse(redis: Process) -> None:
    async with end_on(redis, "end") as end:
        await connected(end)
        with redis_client.Redis(port=redis.port, protocol=2, driver_info=None) as looker:
            assert looker.info("stats")["total_error_replies"] == 0


@pytest.mark.parametrize("scheme", ["rediss", "tls"])
async def test_ingestor_and_replica_do_their_work_with_least_rights(
    scheme: str, secrets: Secrets, request: pytest.FixtureRequest
) -> None:
    server: Process = request.getfixturevalue("redis_server" if scheme == "rediss" else "nats_server")
    inbox, heard = Inbox(), [[], []]  # type: ignore[var-annotated] # lists of bodies
    ingestor, replica = (
        open_bus(url_of(server, secrets, user, scheme), user, trust(secrets)) for user in ("ingestor", "replica")
    )
    replica.on_messages(inbox.take)
    ingestor.listen(DEMAND_TOPIC, heard[0].append)
    for topic in (FEED_TOPIC, resume_answers("r1")):
        replica.listen(topic, heard[1].append)
    with capture_logs() as logs:
        for end in (ingestor, replica):
            await end.start()
            await connected(end)
        await replica.subscribe([BTC])
        await ingestor.publish([message()])
        await replica.announce(DEMAND_TOPIC, b"{}")
        await ingestor.announce(FEED_TOPIC, b"{}")
        await ingestor.announce(resume_answers("r1"), b"{}")
        assert await inbox.holds(1) == [message()]
        await until(lambda: [len(bodies) for bodies in heard] == [1, 2], "announcements arrive")
        await ingestor.put({BTC.last_key: b"1", price_key("BTCUSDT"): b"2"})
        await replica.put({"klines:7": b"3", "pause:spot:a": b"4"})
        assert await replica.get([BTC.last_key, price_key("BTCUSDT"), "klines:7"]) == [b"1", b"2", b"3"]
        assert await ingestor.get(["pause:spot:a"]) == [b"4"]
        assert [await end.spend("weight:spot:a:1", 2, 10, 60) for end in (ingestor, replica)] == [2, 4]
        await replica.unsubscribe([BTC])
        await ingestor.close()
        await replica.close()
    assert [end.dropped_total + end.spent_alone_total for end in (ingestor, replica)] == [0, 0]
    assert [line for line in logs if line["log_level"] in ("warning", "error")] == []


async def test_a_replica_s_market_data_is_refused_and_counted(redis_server: Process, secrets: Secrets) -> None:
    replica = open_bus(url_of(redis_server, secrets, "replica"), "replica", trust(secrets))
    with capture_logs() as logs:
        await replica.start()
        await connected(replica)
        await replica.publish([message()])
        await replica.put({BTC.last_key: b"forged"})
        assert await replica.get([BTC.last_key]) in ([None], [b"1"])
        assert replica.dropped_total == 1
        await replica.close()
    assert any(line["event"] == "redis refused a command" for line in logs)


Commands = list[tuple[Any, ...]]
FORGED = ("PUBLISH", "md:spot:btcusdt@trade", "1 2 {}")
EVERYTHING: Commands = [("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("ACL", "LIST")]
EVERYTHING += [("SHUTDOWN",), ("SCRIPT", "FLUSH"), ("MONITOR",), ("CLIENT", "KILL", "ID", "1"), ("PSUBSCRIBE", "*")]


@pytest.mark.parametrize(
    ("user", "commands"),
    [
        ("replica", [FORGED, ("PUBLISH", "ctl:feed", "{}"), ("SET", BTC.last_key, "x"), ("SUBSCRIBE", "ctl:demand")]),
        ("replica", [("EVAL", "return redis.call('FLUSHALL')", "0"), ("EVAL", "return redis.call('KEYS', '*')", "0")]),
        ("ingestor", [("PUBLISH", "socketio", "{}"), ("SUBSCRIBE", "socketio"), ("PUBLISH", "ctl:demand", "{}")]),
        ("ingestor", [("SUBSCRIBE", "md:spot:btcusdt@trade"), ("GET", "prices:BTCUSDT"), ("DEL", BTC.last_key)]),
        ("emitter", [("SUBSCRIBE", "socketio"), ("GET", BTC.last_key), ("SET", "a", "b"), ("INFO",)]),
        ("emitter", [FORGED, ("PUBLISH", "ctl:demand", "{}"), ("EVAL", "return 1", "0")]),
        ("operator", [FORGED, ("GET", BTC.last_key), ("PUBLISH", "socketio", "{}"), ("SUBSCRIBE", "ctl:demand")]),
    ],
)
def test_a_user_may_do_nothing_but_its_work(
    user: str, commands: Commands, redis_server: Process, secrets: Secrets
) -> None:
    with client_of(redis_server, secrets, user) as client:
        for command in commands + EVERYTHING:
            with pytest.raises(ResponseError, match=r"permission|can't run"):
                client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py


def test_what_a_user_was_refused_is_seen_by_the_operator(redis_server: Process, secrets: Secrets) -> None:
    with client_of(redis_server, secrets, "emitter") as emitter, pytest.raises(NoPermissionError):
        emitter.get("last:a")
    with client_of(redis_server, secrets, "operator") as operator:
        assert ("tickcast-emitter", "get") in refusals(operator)
        assert operator.info("clients")["connected_clients"] > 0


def test_an_emitter_may_emit(redis_server: Process, secrets: Secrets) -> None:
    with client_of(redis_server, secrets, "emitter") as emitter:
        assert emitter.publish("socketio", "{}") == 0


def test_nobody_comes_in_without_a_name(redis_server: Process, secrets: Secrets) -> None:
    options: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(secrets.ca)}
    nobody = redis_client.Redis(port=redis_server.port, host="127.0.0.1", retry=Retry(NoBackoff(), 0), **options)
    with nobody, pytest.raises(AuthenticationError):
        nobody.ping()


async def refused_by_nats(server: Process, secrets: Secrets, user: User, command: bytes) -> list[str]:
    """What the server says to one command of a user."""
    said: list[str] = []
    servers = Servers(url_of(server, secrets, user, "tls"), trust(secrets))
    link = await open_link(servers.all[0], servers, user, lambda _read: None, said.append)
    await link.settle([command])
    link.abort()
    await link.lost
    return said


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("replica", "md.spot.btcusdt.trade"),
        ("replica", "ctl.feed"),
        ("replica", "$JS.API.STREAM.DELETE.KV_tickcast"),
        ("ingestor", "ctl.socketio"),
        ("ingestor", "ctl.demand"),
        ("emitter", "ctl.demand"),
        ("emitter", "md.spot.btcusdt.trade"),
    ],
)
async def test_nats_refuses_what_is_not_a_user_s_to_publish(
    user: User, subject: str, nats_server: Process, secrets: Secrets
) -> None:
    said = await refused_by_nats(nats_server, secrets, user, nats_wire.publish(subject.encode(), b"{}"))
    assert said == [f'Permissions Violation for Publish to "{subject}"']


@pytest.mark.parametrize(
    ("user", "subject"), [("emitter", "ctl.socketio"), ("replica", "ctl.demand"), ("ingestor", "md.>")]
)
async def test_nats_refuses_what_is_not_a_user_s_to_hear(
    user: User, subject: str, nats_server: Process, secrets: Secrets
) -> None:
    said = await refused_by_nats(nats_server, secrets, user, nats_wire.subscribe(subject.encode(), b"1"))
    assert said == [f'Permissions Violation for Subscription to "{subject}"']


async def test_an_emitter_may_emit_over_nats(nats_server: Process, secrets: Secrets) -> None:
    assert await refused_by_nats(nats_server, secrets, "emitter", nats_wire.publish(b"ctl.socketio", b"{}")) == []
