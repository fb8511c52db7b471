"""The admin UI's list of clients: what changed between two looks."""

import pytest

from server.doors import admin_sockets
from server.doors.admin_sockets import Listing, Seen

NOW_MS = 1_795_286_400_000


def seen(sid: str, transport: str = "polling", streams: int = 0, rooms: tuple[str, ...] = ()) -> Seen:
    return Seen(sid, f"session-of-{sid}-secret", transport, "192.0.2.1", NOW_MS, "", streams, (sid, *rooms))


def update(listing: Listing, *clients: Seen) -> list[admin_sockets.Event]:
    by_sid = {client.sid: client for client in clients}
    return listing.update(by_sid, by_sid.__getitem__, NOW_MS)


def test_those_who_come_change_and_go_are_told_once() -> None:
    listing = Listing()
    assert [name for name, _ in update(listing, seen("a"), seen("b"))] == ["socket_connected", "socket_connected"]
    assert update(listing, seen("a"), seen("b")) == []
    changed = update(listing, seen("a", "websocket", 1, ("spot:btcusdt@trade",)), seen("b"))
    assert changed == [
        ("socket_updated", [{"id": "a", "nsp": "/", "transport": "websocket"}]),
        ("socket_updated", [{"id": "a", "nsp": "/", "data": {"subject": "", "streams": 1}}]),
        ("room_joined", ["/", "spot:btcusdt@trade", "a", "2026-11-21T18:40:00.000+00:00"]),
    ]
    (left,) = update(listing, seen("a", "websocket", 1), seen("b"))
    assert left[:1] == ("room_left",)
    assert [(name, arguments[1]) for name, arguments in update(listing, seen("b"))] == [("socket_disconnected", "a")]
    assert [socket["id"] for socket in listing.all_sockets()] == ["b"]


def test_a_clients_session_is_not_given_away() -> None:
    listing = Listing()
    update(listing, seen("a"))
    (socket,) = listing.all_sockets()
    assert socket["clientId"] == "session-of-a"
    assert "secret" not in repr(socket)


def test_the_list_has_room_for_so_many_and_takes_others_when_some_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_sockets, "MAX_LISTED", 2)
    listing = Listing()
    update(listing, *map(seen, "abc"))
    assert [socket["id"] for socket in listing.all_sockets()] == ["a", "b"]
    assert [name for name, _ in update(listing, *map(seen, "bc"))] == ["socket_disconnected", "socket_connected"]


def test_too_many_changes_are_told_as_a_new_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_sockets, "MAX_CHANGES", 2)
    ((name, (sockets,)),) = update(Listing(), *map(seen, "abc"))
    assert name == "all_sockets"
    assert len(sockets) == 3
