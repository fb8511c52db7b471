"""What the Socket.IO admin UI is shown of this replica's clients: a bounded list, and how it changed. Pure.

Nothing is noted when a client comes, goes or subscribes: the list is compared with what is there whenever it is
to be shown, so that clients cost nothing while nobody looks. Source: @socket.io/admin-ui 0.5.1, `SerializedSocket`
and the events of `ServerEvents`.
"""

import itertools
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

MAX_LISTED: Final = 500
"""Clients that the list has, at most; the page's browser would not like more."""
MAX_ROOMS: Final = 50
"""Rooms of one client that are named."""
MAX_CHANGES: Final = 500
"""Changes that are told one by one; beyond that the list is told anew."""

Event = tuple[str, list[Any]]
"""An event of the admin protocol: its name and arguments."""


class Seen(NamedTuple):
    """One client, as far as the list shows it."""

    sid: str
    session_id: str
    transport: str
    address: str
    connected_ms: int
    subject: str
    streams: int
    rooms: tuple[str, ...]


class Listing:
    """The clients that are shown."""

    def __init__(self) -> None:
        self._shown: dict[str, Seen] = {}

    def all_sockets(self) -> list[dict[str, Any]]:
        """Those of the list, as the page wants them."""
        return [serialize(seen) for seen in self._shown.values()]

    def update(self, present: Iterable[str], look: Callable[[str], Seen], now_ms: int) -> list[Event]:
        """Bring the list to those who are `present` (sids), of whom `look` tells more; what changed."""
        sids = dict.fromkeys(present)
        changes: list[Event] = []
        for sid in [sid for sid in self._shown if sid not in sids]:
            del self._shown[sid]
            changes.append(("socket_disconnected", ["/", sid, "gone", iso(now_ms)]))
        for sid, before in self._shown.items():
            self._shown[sid] = seen = look(sid)
            changes += _changes(before, seen, now_ms)
        room = MAX_LISTED - len(self._shown)
        newcomers = list(itertools.islice((sid for sid in sids if sid not in self._shown), room))
        for sid in newcomers:
            self._shown[sid] = seen = look(sid)
            changes.append(("socket_connected", [serialize(seen), iso(now_ms)]))
        return changes if len(changes) <= MAX_CHANGES else [("all_sockets", [self.all_sockets()])]


def _changes(before: Seen, seen: Seen, now_ms: int) -> Iterable[Event]:
    if before.transport != seen.transport:
        yield "socket_updated", [{"id": seen.sid, "nsp": "/", "transport": seen.transport}]
    if (before.subject, before.streams) != (seen.subject, seen.streams):
        yield "socket_updated", [{"id": seen.sid, "nsp": "/", "data": _data(seen)}]
    for room in before.rooms:
        if room not in seen.rooms:
            yield "room_left", ["/", room, seen.sid, iso(now_ms)]
    for room in seen.rooms:
        if room not in before.rooms:
            yield "room_joined", ["/", room, seen.sid, iso(now_ms)]


def serialize(seen: Seen) -> dict[str, Any]:
    """A client in the page's form. Its session's id is cut: whole, it would open the session to whoever reads it."""
    return {
        "id": seen.sid,
        "clientId": seen.session_id[:12],
        "transport": seen.transport,
        "nsp": "/",
        "data": _data(seen),
        "handshake": {
            "address": seen.address,
            "headers": {},
            "query": {},
            "issued": seen.connected_ms,
            "secure": False,
            "time": iso(seen.connected_ms),
            "url": "/socket.io/",
            "xdomain": False,
        },
        "rooms": list(seen.rooms),
    }


def _data(seen: Seen) -> dict[str, Any]:
    return {"subject": seen.subject, "streams": seen.streams}


def iso(ms: int) -> str:
    """A time in ms since the epoch, as the page reads it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
