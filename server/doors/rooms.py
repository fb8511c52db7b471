"""Who is where on this replica, for python-socketio's managers: one small record per client.

The stock manager keeps a two-way dictionary for every room, one for each client among them, and
walks through all of them whenever a client leaves. Stream rooms are not kept here at all: the hub
knows their members (`stream_members`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import socketio

from bus.base import Bus
from bus.settings import NATS_SCHEMES, REDIS_SCHEMES, split_urls
from server.doors.control_plane import BusControlPlane, ControlSpec, RedisControlPlane
from server.doors.control_signing import Flaw

StreamMembers = Callable[[str], Iterable[str]]
"""The sids of the clients that a stream's room stands for; empty for any other name."""


class _Client:
    """One client of one namespace."""

    __slots__ = ("eio_sid", "leaving", "pending", "rooms")

    def __init__(self, eio_sid: str) -> None:
        self.eio_sid = eio_sid
        self.pending = True
        """Whether the connect handler has yet to accept it."""
        self.leaving = False
        self.rooms: set[str] | None = None


class Rooms(socketio.AsyncManager):  # type: ignore[misc] # socketio ships no types
    """The membership half of a manager; the sending half is the stock one's."""

    stream_members: StreamMembers = staticmethod(lambda _room: ())
    dropped_total = 0
    """Requests of other processes that found too many waiting, and own ones that found no server."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.refused: Counter[Flaw] = Counter()
        """What came over the control plane and was not obeyed, by its flaw."""
        self._clients: dict[str, dict[str, _Client]] = {}
        self.rooms = self._clients  # the stock `emit` looks here whether a namespace has anybody
        self._sids: dict[tuple[str, str], str] = {}
        self._members: dict[tuple[str, str], dict[str, None]] = {}

    def get_namespaces(self) -> Iterable[str]:
        """Namespaces with clients."""
        return self._clients.keys()

    def get_participants(
        self, namespace: str, room: str | list[str] | tuple[str, ...] | None
    ) -> Iterator[tuple[str, str]]:
        """(sid, eio_sid) of everybody in a room, in several, or (None) in the namespace, each once."""
        clients = self._clients.get(namespace, {})
        names = [room] if room is None or isinstance(room, str) else list(room)
        found = {sid: None for name in names for sid in self._sids_in(namespace, name)}
        yield from [(sid, clients[sid].eio_sid) for sid in found if sid in clients]

    def admit(self, eio_sid: str, namespace: str) -> str:
        """Note a client that no handler has to accept; its sid."""
        sid: str = self.server.eio.generate_id()
        client = _Client(eio_sid)
        client.pending = False
        self._sids[eio_sid, namespace] = sid
        self._clients.setdefault(namespace, {})[sid] = client
        return sid

    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """Note a client that the connect handler has yet to accept; None if it is here already."""
        if (eio_sid, namespace) in self._sids:
            return None
        sid = self.admit(eio_sid, namespace)
        self._clients[namespace][sid].pending = True
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        """Note that the client was accepted."""
        self._clients[namespace][sid].pending = False
        return sid

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        """Whether the connect handler has yet to accept the client."""
        client = self._client(sid, namespace)
        return client is not None and client.pending

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether the client is accepted and not about to leave."""
        client = self._client(sid, namespace)
        return client is not None and not client.pending and not client.leaving

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The client of a namespace on an Engine.IO session."""
        return self._sids.get((eio_sid, namespace))

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The Engine.IO session of a client."""
        client = self._client(sid, namespace)
        return client.eio_sid if client else None

    def pre_disconnect(self, sid: str, namespace: str) -> str | None:
        """Note that the client is about to leave."""
        client = self._client(sid, namespace)
        if client is None:
            return None
        client.leaving = True
        return client.eio_sid

    def basic_disconnect(self, sid: str, namespace: str, **_: object) -> None:
        """Forget a client."""
        client = self._clients.get(namespace, {}).pop(sid, None)
        if client is None:
            return
        del self._sids[client.eio_sid, namespace]
        for room in client.rooms or ():
            self._leave(sid, namespace, room)
        if not self._clients[namespace]:
            del self._clients[namespace]
        self.callbacks.pop(sid, None)

    def is_sid_room(self, namespace: str, room: str) -> bool:
        """Whether the room is one client's own."""
        return self._client(room, namespace) is not None

    def basic_enter_room(self, sid: str, namespace: str, room: str, eio_sid: str | None = None) -> None:  # noqa: ARG002 # socketio's signature
        """Put a client into a room that is no stream's."""
        client = self._client(sid, namespace)
        if client is None:
            raise ValueError("sid is not connected to requested namespace")
        client.rooms = (client.rooms or set()) | {room}
        self._members.setdefault((namespace, room), {})[sid] = None

    def basic_leave_room(self, sid: str, namespace: str, room: str) -> None:
        """Take a client out of a room."""
        client = self._client(sid, namespace)
        if client and client.rooms and room in client.rooms:
            client.rooms.discard(room)
            self._leave(sid, namespace, room)

    def basic_close_room(self, room: str, namespace: str) -> None:
        """Take everybody out of a room."""
        for sid in tuple(self._members.get((namespace, room), ())):
            self.basic_leave_room(sid, namespace, room)

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """The rooms a client is in, its own first."""
        client = self._client(sid, namespace)
        return [sid, *(client.rooms or ())] if client else []

    def _client(self, sid: str | None, namespace: str) -> _Client | None:
        return self._clients.get(namespace, {}).get(sid or "")

    def _sids_in(self, namespace: str, room: str | None) -> Iterable[str]:
        if room is None:
            return tuple(self._clients.get(namespace, ()))
        if self.is_sid_room(namespace, room):
            return (room,)
        members = tuple(self._members.get((namespace, room), ()))
        return (*members, *self.stream_members(room)) if namespace == "/" else members

    def _leave(self, sid: str, namespace: str, room: str) -> None:
        members = self._members[namespace, room]
        members.pop(sid, None)
        if not members:
            del self._members[namespace, room]


class RedisRooms(RedisControlPlane, Rooms):
    """The manager of replicas that share a Redis."""


class BusRooms(BusControlPlane, Rooms):
    """The manager of replicas that share another bus."""


def open_manager(bus: Bus, control: ControlSpec, stream_members: StreamMembers) -> Rooms:
    """The manager that goes with a bus: one that all replicas share, or on the memory bus this process's alone.

    Of several Redis servers the first one has the control plane.
    """
    manager: Rooms
    bus_url, *_ = split_urls(control.bus_url)
    if bus_url.startswith(REDIS_SCHEMES):
        manager = RedisRooms(bus_url, control.tls, control.signing)
    elif bus_url.startswith(NATS_SCHEMES):
        manager = BusRooms(bus, control.signing)
    else:
        manager = Rooms()
    manager.stream_members = stream_members
    return manager
