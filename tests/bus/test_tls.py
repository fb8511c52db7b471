"""The bus over TLS: whom it trusts, what it says when it may not, and that it never says a password."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from binance.settings import SettingsError, load_settings
from bus import open_bus
from bus.nats_servers import Servers
from bus.redis_url import RedisUrl
from bus.settings import BusSettings
from bus.tls import SYSTEM_TRUST, BusTls
from deploy.secure import Secrets
from tests.bus.support import BTC, Inbox, admin_of, connected, end_on, message, until
from tests.support.processes import Process, free_port, redis_server
from tests.support.secured import client_of, secured_nats, secured_redis, trust, url_of

SERVERS = {"rediss": secured_redis, "tls": secured_nats}


@pytest.fixture(scope="module", params=SERVERS)
def secured(
    request: pytest.FixtureRequest, secrets: Secrets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a secured server for a replica."""
    with SERVERS[request.param](secrets, tmp_path_factory.mktemp("server")) as server:
        yield url_of(server, secrets, "replica", request.param)


async def in_vain(url: str, tls: BusTls) -> tuple[str, str]:
    """The trouble of an end that cannot connect, and all that was logged meanwhile."""
    with capture_logs() as logs:
        end = open_bus(url, "end", tls)
        await end.start()
        await until(lambda: bool(end.trouble), "it has trouble")
        assert not end.connected
        await end.close()
    return end.trouble, repr(logs)


async def test_a_server_that_the_authority_vouches_for_is_used(secured: str, secrets: Secrets) -> None:
    end = open_bus(secured, "end", trust(secrets))
    await end.start()
    await connected(end)
    assert end.trouble == ""
    await end.close()


async def test_a_server_that_nobody_vouches_for_gets_no_password(secured: str, secrets: Secrets) -> None:
    trouble, logs = await in_vain(secured, SYSTEM_TRUST)
    assert trouble.startswith("the server's certificate is not trusted: ")
    assert trouble in logs
    assert secrets.password("replica") not in logs


async def test_a_wrong_password_is_told_without_it(secured: str, secrets: Secrets) -> None:
    url = secured.replace(secrets.password("replica"), "open-sesame")
    trouble, logs = await in_vain(url, trust(secrets))
    assert trouble == "the server refuses our user or password"
    assert "sesame" not in logs


async def test_a_certificate_for_another_name_is_refused(secrets: Secrets, tmp_path: Path) -> None:
    with secured_redis(secrets, tmp_path, "--bind", "127.0.0.1", "127.0.0.2") as server:
        url = url_of(server, secrets, "replica").replace("127.0.0.1", "127.0.0.2")
        trouble, logs = await in_vain(url, trust(secrets))
    assert trouble == "the server's certificate is for another name"
    assert trouble in logs


async def test_an_end_connects_by_itself_once_its_password_is_right(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        async with admin_of(server) as admin:
            await admin.config_set("requirepass", "another")
            async with end_on(f"redis://:open-sesame@127.0.0.1:{server.port}") as end:
                await until(lambda: bool(end.trouble), "it is refused")
                await admin.config_set("requirepass", "open-sesame")
                await connected(end)
                assert end.trouble == ""


async def test_a_server_that_wants_a_client_certificate_gets_one(secrets: Secrets, tmp_path: Path) -> None:
    own = BusTls(secrets.ca, secrets.directory / "client.pem", secrets.directory / "client.key")
    # With TLS 1.3 a client learns of it after its handshake only, amid whatever it does then.
    with secured_redis(secrets, tmp_path, "--tls-auth-clients", "yes", "--tls-protocols", "TLSv1.2") as server:
        url = url_of(server, secrets, "replica")
        assert (await in_vain(url, trust(secrets)))[0] == "no encrypted connection comes about"
        async with end_on(url, tls=own) as end:
            await connected(end)


async def test_a_cluster_is_encrypted_and_has_the_same_users(secrets: Secrets, tmp_path: Path) -> None:
    options = [
        *("--cluster-enabled", "yes", "--tls-cluster", "yes", "--tls-replication", "yes"),
        *("--cluster-announce-ip", "127.0.0.1", "--cluster-port", str(free_port())),
    ]
    inbox = Inbox()
    with secured_redis(secrets, tmp_path, *options) as server:
        with client_of(server, secrets, "admin") as admin:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call] # redis-py
            await until(lambda: admin.cluster("info")["cluster_state"] == "ok", "it serves all slots")
        sender, receiver = (url_of(server, secrets, user, "rediss+cluster") for user in ("ingestor", "replica"))
        async with end_on(sender, tls=trust(secrets)) as one, end_on(receiver, "r", inbox, trust(secrets)) as other:
            await connected(one)
            await connected(other)
            await other.subscribe([BTC])
            await one.publish([message()])
            assert await inbox.holds(1) == [message()]
            assert await other.spend("weight:a", 1, 10, 60) == 1
            assert other.spent_alone_total == 0


def encrypted_sentinel(master: Process, secrets: Secrets, directory: Path) -> Process:
    """A Sentinel that speaks only TLS and watches `master` as `admin`."""
    port, path, files = free_port(), directory / "sentinel.conf", secrets.directory
    path.write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\ndir {directory}\ntls-replication yes\ntls-auth-clients no\n"
        f"tls-cert-file {files}/bus.pem\ntls-key-file {files}/bus.key\ntls-ca-cert-file {secrets.ca}\n"
        f"sentinel monitor feed 127.0.0.1 {master.port} 1\n"
        "sentinel auth-user feed admin\nsentinel auth-pass feed admin\n"
    )
    return Process(["redis-server", str(path), "--sentinel"], port, directory / "sentinel.log")


async def test_sentinels_and_the_master_they_name_are_encrypted(secrets: Secrets, tmp_path: Path) -> None:
    with ExitStack() as running:
        master = running.enter_context(secured_redis(secrets, tmp_path))
        sentinel = running.enter_context(encrypted_sentinel(master, secrets, tmp_path))
        password = secrets.password("replica")
        url = f"rediss+sentinel://tickcast-replica:{password}@127.0.0.1:{sentinel.port}/0/feed"
        async with end_on(url, tls=trust(secrets)) as end:
            await connected(end)
        client = await RedisUrl(url, tls=trust(secrets)).client(0)
        assert await client.publish("socketio", b"{}") == 0
        await client.aclose()
        assert (await in_vain(url, SYSTEM_TRUST))[0].startswith("the server's certificate is not trusted")


def test_nats_that_is_given_an_authority_encrypts_whatever_the_scheme(secrets: Secrets) -> None:
    servers = Servers("nats://one", trust(secrets))
    assert servers.must_encrypt
    assert servers.tls.context().check_hostname


@pytest.mark.parametrize("url", ["redis://u:12/3@host", "redis://u:1#2@host", "nats://u:open/sesame@host"])
def test_a_password_that_was_not_escaped_is_taken_for_neither_host_nor_port(url: str) -> None:
    with pytest.raises(ValueError, match=r"password|NATS URL") as caught:
        open_bus(url)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://me:open-sesame",
        "redis://me:open/sesame@host",
        "redis://me:o'pen@sesame@host:1,b:2",
        "nats://me:open sesame@host:x",
        "amqp://me:open-sesame@host",
        "me:open-sesame@host",
        "rediss://host?ssl_cert_reqs=none&ssl_password=sesame",
    ],
)
def test_no_sentence_about_a_wrong_url_has_a_part_of_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUS_URL", url)
    with pytest.raises(SettingsError, match="BUS_URL=") as caught:
        load_settings(BusSettings)
    assert "sesame" not in str(caught.value)
    assert "open" not in str(caught.value)


def settings(monkeypatch: pytest.MonkeyPatch, **env: object) -> BusSettings:
    for name, value in env.items():
        monkeypatch.setenv(name, str(value))
    return load_settings(BusSettings)


def test_a_password_comes_from_a_file_for_every_user_that_has_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("s/e@same\n")
    url = "redis://me@a:1/0,rediss://me:own@b,nats://you@c,d"
    found = settings(monkeypatch, BUS_URL=url, BUS_PASSWORD_FILE=tmp_path / "password")
    assert found.resolved_bus_url == "redis://me:s%2Fe%40same@a:1/0,rediss://me:own@b,nats://you:s%2Fe%40same@c,d"
    assert "same" not in repr(found)


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"BUS_CA": "/no/such"}, "BUS_CA='/no/such' is not valid: must be a file with certificates in PEM"),
        ({"BUS_CA": "{ca}", "BUS_URL": "redis://a"}, "want a BUS_URL that is encrypted: rediss:// or tls://"),
        ({"BUS_CERT": "{ca}", "BUS_URL": "rediss://a"}, "BUS_CERT and BUS_KEY are set together or not at all"),
        (
            {"BUS_CERT": "{ca}", "BUS_KEY": "{ca}", "BUS_URL": "rediss://a"},
            "BUS_CERT and BUS_KEY must be a certificate and its key in PEM",
        ),
        ({"BUS_PASSWORD_FILE": "/no/such"}, "must be a file that this process may read"),
        ({"BUS_PASSWORD_FILE": "{ca}", "BUS_URL": "rediss://a"}, "wants a BUS_URL that names a user and no password"),
    ],
)
def test_settings_that_do_not_fit_together_stop_the_start(
    env: dict[str, str], sentence: str, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(monkeypatch, **{name: value.format(ca=secrets.ca) for name, value in env.items()})
    assert sentence in str(caught.value)
