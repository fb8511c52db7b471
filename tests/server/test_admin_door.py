"""The admin namespace, as a stock client of it sees it. With the official page: tests/web/test_admin_ui.py."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import socketio
from socketio.exceptions import ConnectionError as Refused

from market.announcements import encode
from market.figures import FIGURES_TOPIC
from server.access.admin_login import AdminLogin
from server.cluster import figures as figures_module
from server.doors import admin as admin_module
from server.doors.admin import AdminDoor
from server.settings import ReplicaSettings
from tests.server.access.test_passwords import CHEAP, PASSWORD
from tests.server.conftest import Client, Served, until
from tests.server.test_cluster_view import figures

LOOKING = {"admin_user": "admin", "admin_password_hash": str(CHEAP)}
TOUCHING = {**LOOKING, "admin_read_only": False}
CLOSE, DISCONNECT_ONLY = True, False
SHOWN = {"username": "admin", "password": PASSWORD}


class Admin:
    """A stock client of the namespace that keeps all it is told."""

    def __init__(self, **options: Any) -> None:
        self.events: list[tuple[str, list[Any]]] = []
        self.io = socketio.AsyncClient(reconnection=False, **options)
        self.io.on("*", self._keep, namespace="/admin")

    async def _keep(self, event: str, *arguments: Any) -> None:
        self.events.append((event, list(arguments)))

    async def connect(self, url: str, shown: object = SHOWN) -> None:
        await self.io.connect(url, auth=shown, namespaces=["/admin"], transports=["websocket"], wait_timeout=10)

    def named(self, event: str) -> list[list[Any]]:
        return [arguments for name, arguments in self.events if name == event]

    async def command(self, name: str, *arguments: Any) -> None:
        await self.io.emit(name, arguments, namespace="/admin")


@pytest.fixture(autouse=True)
def _soon(doors: list[AdminDoor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_module, "REPEAT_S", 0.05)
    monkeypatch.setattr(admin_module, "REPEAT_S", 0.05)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> list[AdminDoor]:
    """The doors that replicas open from now on."""
    opened: list[AdminDoor] = []
    make = AdminDoor.__init__

    def note(door: AdminDoor, *arguments: Any, **options: Any) -> None:
        opened.append(door)
        make(door, *arguments, **options)

    monkeypatch.setattr(AdminDoor, "__init__", note)
    return opened


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    made = Client()
    await made.connect(served.url, "websocket")
    yield made
    await made.io.disconnect()


@pytest.fixture
async def admin(served: Served, client: Client) -> AsyncIterator[Admin]:
    """One who looks, while a client is connected."""
    made = Admin()
    await made.connect(served.url)
    await until(lambda: made.named("all_sockets"), "all sockets")
    yield made
    await made.io.disconnect()


looking = pytest.mark.parametrize("served", [LOOKING], indirect=True)
touching = pytest.mark.parametrize("served", [TOUCHING], indirect=True)


async def test_there_is_no_admin_namespace_unless_a_user_is_set(served: Served) -> None:
    with pytest.raises(Refused):
        await Admin().connect(served.url)


@looking
@pytest.mark.parametrize("shown", [None, {}, {**SHOWN, "password": "wrong"}, {"sessionId": "1.2"}])
async def test_wrong_credentials_are_refused_in_the_pages_words(served: Served, shown: object) -> None:
    admin = Admin()
    told: list[Any] = []
    admin.io.on("connect_error", told.append, namespace="/admin")
    with pytest.raises(Refused):
        await admin.connect(served.url, shown)
    assert told == [{"message": "invalid credentials"}]
    await admin.io.disconnect()


@looking
async def test_an_admin_is_told_session_features_clients_and_servers(
    served: Served, admin: Admin, client: Client
) -> None:
    assert [name for name, _ in admin.events[:3]] == ["session", "config", "all_sockets"]
    ((config,),) = admin.named("config")
    assert config == {"supportedFeatures": ["AGGREGATED_EVENTS", "ALL_EVENTS"]}
    (((socket,),),) = admin.named("all_sockets")
    assert (socket["id"], socket["transport"], socket["nsp"]) == (client.io.get_sid(), "websocket", "/")
    assert socket["handshake"]["address"] == "127.0.0.1"
    await until(lambda: [s for (s,) in admin.named("server_stats") if s["clientsCount"]], "server stats")
    stats = admin.named("server_stats")[-1][0]
    assert (stats["serverId"], stats["clientsCount"], stats["pollingClientsCount"]) == ("r1", 1, 0)
    assert stats["namespaces"] == [{"name": "/", "socketsCount": 1}]
    ((session,),) = admin.named("session")
    again = Admin()
    await again.connect(served.url, {"sessionId": session})
    await until(lambda: again.named("config"), "let in by its session")
    assert again.named("session") == []
    await again.io.disconnect()


@looking
async def test_every_replica_is_shown_with_what_happens_there(served: Served, admin: Admin, client: Client) -> None:
    async def say(uptime_s: float, delivered: int) -> None:
        await served.publisher.announce(
            FIGURES_TOPIC, encode(figures(replica="app2", uptime_s=uptime_s, delivered_total=delivered))
        )

    def told(kind: str) -> int:
        stats = [stats for (stats,) in admin.named("server_stats") if stats["serverId"] == "app2"]
        return sum(event["count"] for one in stats for event in one["aggregatedEvents"] if event["type"] == kind)

    await say(1.0, 100)
    await until(lambda: any(stats["serverId"] == "app2" for (stats,) in admin.named("server_stats")), "the other")
    await say(3.0, 175)
    await until(lambda: told("packetsOut") == 75, "what it sent meanwhile, counted once")
    before = len(admin.named("server_stats"))
    await until(lambda: len(admin.named("server_stats")) > before + 4, "told again")
    assert told("packetsOut") == 75


@looking
async def test_clients_that_come_subscribe_and_go_are_told(served: Served, admin: Admin) -> None:
    other = Client()
    await other.connect(served.url, "polling")
    sid = other.io.get_sid()
    await until(lambda: [s for s, _ in admin.named("socket_connected") if s["id"] == sid], "it came")
    await other.call("subscribe", {"streams": ["btcusdt@trade"]})
    room = ["/", "spot:btcusdt@trade", sid]
    await until(lambda: room in [joined[:3] for joined in admin.named("room_joined")], "its stream")
    await other.io.disconnect()
    await until(lambda: sid in [gone[1] for gone in admin.named("socket_disconnected")], "it went")


@looking
@pytest.mark.parametrize("command", [("_disconnect", "/", False), ("emit", "/", None, "x", 1), ("join", "/", "room")])
async def test_read_only_means_that_nothing_can_be_touched(
    served: Served, admin: Admin, client: Client, command: tuple[Any, ...]
) -> None:
    await admin.command(*command)
    before = len(admin.named("server_stats"))
    await until(lambda: len(admin.named("server_stats")) > before + 3, "some time")
    assert client.named("x") == []
    assert (await client.call("subscriptions"))["ok"] is True
    assert admin.named("room_joined") == []


@touching
async def test_who_may_touch_emits_moves_clients_between_rooms_and_disconnects_them(
    served: Served, admin: Admin, client: Client
) -> None:
    assert "DISCONNECT" in admin.named("config")[0][0]["supportedFeatures"]
    sid = client.io.get_sid()
    await admin.command("join", "/", "vip", sid)
    await until(lambda: ["/", "vip", sid] in [joined[:3] for joined in admin.named("room_joined")], "joined")
    await admin.command("emit", "/", "vip", "hello", {"a": 1})
    await until(lambda: client.named("hello") == [{"a": 1}], "told")
    await admin.command("leave", "/", "vip")
    await admin.command("leave", "/", "vip", None)
    await until(lambda: admin.named("room_left"), "left")
    await admin.command("_disconnect", "/", DISCONNECT_ONLY, sid)
    await until(lambda: not client.io.connected, "disconnected")


@touching
async def test_a_whole_session_can_be_closed(served: Served, admin: Admin, client: Client) -> None:
    await admin.command("_disconnect", "/", CLOSE, None)
    await until(lambda: not client.io.connected, "closed")
    assert admin.io.connected


@touching
@pytest.mark.parametrize(
    "command",
    [
        ("emit",),
        ("emit", "/admin", None, "x"),
        ("emit", "/", 7, "x"),
        ("emit", "/", None, "disconnect"),
        ("join", "/", ""),
        ("join", "/", "room", ["a"]),
        ("leave", "/", None),
        ("_disconnect", "/", "yes"),
        ("_disconnect", "/", False, {}, 1),
    ],
)
async def test_commands_that_make_no_sense_are_refused(
    served: Served, admin: Admin, client: Client, command: tuple[Any, ...]
) -> None:
    await admin.command(*command)
    await admin.command("emit", "/", None, "after")
    await until(lambda: client.named("after"), "the next command")
    assert [name for name, _ in client.events if name not in {"connected", "status"}] == ["after"]
    assert admin.io.connected


@looking
async def test_when_nobody_looks_nothing_is_watched(
    served: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []
    whole = admin_module.AdminDoor._look

    def look(door: admin_module.AdminDoor) -> list[Any]:
        looks.append(door)
        return whole(door)

    monkeypatch.setattr(admin_module.AdminDoor, "_look", look)
    admin = Admin()
    await admin.connect(served.url)
    await until(lambda: len(looks) > 2, "watched")
    await admin.io.disconnect()
    await until(lambda: looks[0].admins == 0 and looks[0]._task is None, "nobody looks")
    again = Admin()
    await again.connect(served.url)
    await until(lambda: again.named("all_sockets"), "watched again")
    assert len(again.named("all_sockets")[0][0]) == 1
    await again.io.disconnect()


@looking
async def test_who_leaves_while_the_password_is_checked_leaves_nothing_behind(
    served: Served, doors: list[AdminDoor], monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[asyncio.Event] = []

    async def check(*_: object) -> None:
        checks.append(asyncio.Event())
        await checks[0].wait()

    monkeypatch.setattr(AdminLogin, "check", check)
    url = f"{served.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as ws:
        await ws.receive()
        await ws.send_str("40/admin,{}")
        await until(lambda: checks, "asked")
    (door,) = doors
    await until(lambda: not door._server.eio.sockets, "it left")
    checks[0].set()
    await until(lambda: "/admin" not in door._server.manager.get_namespaces(), "forgotten")
    assert door.admins == 0


@looking
async def test_a_page_that_speaks_messagepack_is_told_the_same(served: Served, client: Client) -> None:
    admin = Admin(serializer="msgpack")
    await admin.connect(served.url)
    await until(lambda: admin.named("all_sockets"), "all sockets")
    assert admin.named("all_sockets")[0][0][0]["id"] == client.io.get_sid()
    await admin.io.disconnect()


@looking
async def test_only_so_many_look_at_once(served: Served, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_module, "MAX_ADMINS", 1)
    late = Admin()
    with pytest.raises(Refused):
        await late.connect(served.url)
    await late.io.disconnect()


@pytest.mark.parametrize(
    "settings",
    [{"admin_user": "a"}, {"admin_password_hash": str(CHEAP)}, {"admin_user": "a", "admin_password_hash": "plain"}],
)
def test_a_user_without_a_proper_hash_stops_the_start(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"(?i)admin_password_hash"):
        ReplicaSettings(**settings)
