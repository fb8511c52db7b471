"""The namespace `/admin` for the official Socket.IO admin UI (npm `@socket.io/admin-ui`, protocol of 0.5.1).

What `instrument()` of python-socketio does for its own server cannot be done to ours: it replaces methods of
python-engineio's sockets, which ours are not, and would send one event more for every event sent. Here nothing is
noted on the way of market data: every REPEAT_S, and only while somebody looks, what changed is told.

- `server_stats` of every replica of the cluster, from what they announce (server/cluster/figures.py).
- `all_sockets`, `socket_connected`, `socket_updated`, `socket_disconnected`, `room_joined`, `room_left`: of this
  replica's Socket.IO clients, MAX_LISTED at most; a client's streams are shown as its rooms.
- `emit`, `join`, `leave`, `_disconnect`: unless read-only. `emit` reaches all replicas, the rest this one's clients;
  a client's own subscriptions stay its own.

`event_received` and `event_sent` are never told: that would be the market data once more.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from socketio.exceptions import ConnectionRefusedError as Refused

from market.announcements import REPEAT_S
from market.figures import ReplicaFigures
from server.access.admin_login import AdminLogin, LoginRefused
from server.bounded_log import BoundedLog
from server.cluster.figures import FiguresExchange
from server.cluster.view import Sighting
from server.doors.admin_sockets import MAX_ROOMS, Event, Listing, Seen
from server.doors.packets import is_reserved
from server.doors.socket_server import MAIN, SocketServer
from server.doors.socketio_connection import SocketIOConnection

NAMESPACE: Final = "/admin"
MAX_ADMINS: Final = 20
"""Pages that may look at one replica at once."""
MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
"""A page that is owed more than this is told nothing new until it has read some of it."""
COMMANDS: Final = ("emit", "join", "leave", "_disconnect")
_FEATURES: Final = ["AGGREGATED_EVENTS", "ALL_EVENTS"]
_COMMAND_FEATURES: Final = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]
_TURN: Final = 100
"""Clients that one command handles before others have their turn."""

log = structlog.get_logger(__name__)


class AdminDoor:
    """Serves the admin UI from one replica."""

    def __init__(
        self,
        server: SocketServer,
        connections: Mapping[str, SocketIOConnection],
        figures: FiguresExchange,
        login: AdminLogin,
        *,
        read_only: bool,
    ) -> None:
        self._server = server
        self._connections = connections
        self._figures = figures
        self._login = login
        self._read_only = read_only
        self._sessions: dict[str, str | None] = {}
        """Who looks, by sid; the session id that is still to be told."""
        self._listing = Listing()
        self._told: dict[str, ReplicaFigures] = {}
        self._task: asyncio.Task[None] | None = None
        self._refusals = BoundedLog()
        self.refused_commands_total = 0
        server.on("connect", self._admit, namespace=NAMESPACE)
        server.on("disconnect", self._forget, namespace=NAMESPACE)
        for command in COMMANDS:
            server.on(command, self._command(command), namespace=NAMESPACE)
        server.greeters[NAMESPACE] = self._greet

    @property
    def admins(self) -> int:
        """How many pages look now."""
        return len(self._sessions)

    @property
    def refused_logins_total(self) -> int:
        """Attempts that were refused."""
        return self._login.refused_total

    async def close(self) -> None:
        """Tell nothing more."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _admit(self, sid: str, _environ: Mapping[str, str], shown: object = None) -> None:
        address = self._server.address_of(sid, NAMESPACE)
        try:
            session_id = await self._login.check(address, shown)
        except LoginRefused as refused:
            self._refusals.info("admin refused", client=sid, address=address, reason=str(refused))
            raise Refused(str(refused)) from None
        if len(self._sessions) >= MAX_ADMINS:
            raise Refused("too many admins")
        self._sessions[sid] = session_id
        log.info("admin connected", client=sid, address=address)

    def _forget(self, sid: str, _reason: str) -> None:
        self._sessions.pop(sid, None)

    def _greet(self, sid: str) -> None:
        """Tell a page that was let in all there is; from now on it is told what changes."""
        session_id = self._sessions[sid]
        if session_id is not None:
            self._tell(sid, ("session", [session_id]))
            self._sessions[sid] = None
        features = _FEATURES if self._read_only else [*_COMMAND_FEATURES, *_FEATURES]
        self._tell(sid, ("config", [{"supportedFeatures": features}]))
        if self._task is None:
            self._listing = Listing()
            self._told.clear()
            self._look()
            self._task = asyncio.get_running_loop().create_task(self._watch())
        self._tell(sid, ("all_sockets", [self._listing.all_sockets()]))
        for seen in self._figures.replicas():
            self._tell(sid, ("server_stats", [server_stats(seen.said, None)]))

    async def _watch(self) -> None:
        """Tell what changed every REPEAT_S, while anybody looks."""
        try:
            while self._sessions:
                await asyncio.sleep(REPEAT_S)
                events = [*self._look(), *self._stats()]
                for sid in tuple(self._sessions):
                    for event in events:
                        self._tell(sid, event)
        except Exception:
            log.exception("admin UI not told")
        finally:
            self._task = None

    def _look(self) -> list[Event]:
        return self._listing.update(self._connections, self._see, time.time_ns() // 1_000_000)

    def _stats(self) -> list[Event]:
        """`server_stats` of every replica that is not silent, with what happened there since it was told last."""
        replicas: list[Sighting[ReplicaFigures]] = [seen for seen in self._figures.replicas() if not seen.is_silent]
        before, self._told = self._told, {seen.said.replica: seen.said for seen in replicas}
        return [("server_stats", [server_stats(seen.said, before.get(seen.said.replica))]) for seen in replicas]

    def _see(self, sid: str) -> Seen:
        connection = self._connections[sid]
        streams = sorted({str(stream) for stream, _ in connection.groups})
        rooms = [*self._server.manager.get_rooms(sid, MAIN), *streams]
        return Seen(
            sid,
            connection.session.sid,
            connection.session.transport,
            connection.visitor.address,
            connection.connected_ms,
            connection.visitor.grant.subject,
            len(streams),
            tuple(rooms[:MAX_ROOMS]),
        )

    def _tell(self, sid: str, event: Event) -> None:
        name, arguments = event
        self._server.send_event(sid, NAMESPACE, name, arguments, MAX_UNSENT_BYTES)

    def _command(self, name: str) -> Callable[..., Any]:
        async def handle(sid: str, *arguments: object) -> None:
            if self._read_only or not await self._obey(name, arguments):
                self.refused_commands_total += 1
                log.warning("admin command refused", client=sid, command=name)
            else:
                log.info("admin command", client=sid, command=name, arguments=repr(arguments)[:200])

        return handle

    async def _obey(self, name: str, arguments: tuple[object, ...]) -> bool:
        """Do what a page asks for; whether it was understood."""
        match name, arguments:
            case "emit", ("/", str() | None as room, str() as event, *data) if not is_reserved(event):
                await self._server.emit(event, tuple(data), to=room or None, namespace=MAIN)
            case "join", ("/", str() as room, *rest) if room and _is_filter(rest):
                for sid in self._sids(rest):
                    self._server.manager.basic_enter_room(sid, MAIN, room)
            case "leave", ("/", str() as room, *rest) if room and _is_filter(rest):
                for sid in self._sids(rest):
                    self._server.manager.basic_leave_room(sid, MAIN, room)
            case "_disconnect", ("/", bool() as close, *rest) if _is_filter(rest):
                await self._disconnect(self._sids(rest), close=close)
            case _:
                return False
        return True

    def _sids(self, rest: list[object]) -> list[str]:
        """This replica's clients in the room that a command names; all of them where it names none."""
        room = rest[0] if rest else None
        return [sid for sid, _ in self._server.manager.get_participants(MAIN, room or None)]

    async def _disconnect(self, sids: list[str], *, close: bool) -> None:
        for at, sid in enumerate(sids, start=1):
            if close:
                self._server.end_session(sid, MAIN)
            else:
                await self._server.disconnect(sid, namespace=MAIN)
            if at % _TURN == 0:
                await asyncio.sleep(0)


def server_stats(said: ReplicaFigures, before: ReplicaFigures | None) -> dict[str, Any]:
    """A replica's figures in the page's form, with what happened since `before` told the same of the same process."""
    transports = said.connections.get("socketio", {})
    clients = sum(transports.values())
    return {
        "serverId": said.replica,
        "hostname": said.host,
        "pid": said.pid,
        "uptime": said.uptime_s,
        "clientsCount": clients,
        "pollingClientsCount": transports.get("polling", 0),
        "aggregatedEvents": _events(said, before) if before and said.uptime_s > before.uptime_s else [],
        "namespaces": [{"name": MAIN, "socketsCount": clients}],
    }


def _events(said: ReplicaFigures, before: ReplicaFigures) -> list[dict[str, Any]]:
    """What happened between two announcements, as the page counts it; of packets it counts those of market data."""
    opened = said.opened_total - before.opened_total
    clients = sum(said.connections.get("socketio", {}).values()) - sum(before.connections.get("socketio", {}).values())
    counts = {
        "rawConnection": opened,
        "rawDisconnection": opened - clients,
        "packetsOut": said.delivered_total - before.delivered_total,
        "bytesOut": said.written_bytes_total - before.written_bytes_total,
    }
    now_ms = time.time_ns() // 1_000_000
    return [{"timestamp": now_ms, "type": kind, "count": count} for kind, count in counts.items() if count > 0]


def _is_filter(rest: list[object]) -> bool:
    """Whether what follows a command's own arguments is nothing, or the name of a room or client, or null."""
    return not rest or (len(rest) == 1 and (rest[0] is None or isinstance(rest[0], str)))
