"""What is subscribed, what was seen of it, and how a new connection asks for the rest. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from .events import Gap, Message, Rejected
from .inbox import Inbox
from .names import every_of, full_name, is_book, is_every, is_state

MAX_CURSORS: Final = 4096
"""What `since` may name in one request."""
_FIELDS: Final = frozenset(Rejected.__struct_fields__)


class Terms(NamedTuple):
    """How a subscription wants its streams."""

    throttle_ms: int | None
    snapshot: bool


class Route:
    """One subscribed stream, or that of all symbols: where its messages go, and the last cursor of each."""

    __slots__ = ("cursors", "inbox", "name", "terms")

    def __init__(self, name: str, inbox: Inbox, terms: Terms) -> None:
        self.name = name
        self.inbox = inbox
        self.terms = terms
        self.cursors: dict[str, int] = {}

    def take(self, message: Message) -> None:
        """Remember a message's cursor and hand it on; a book of which one was dropped needs a snapshot again."""
        self.cursors[message.stream] = message.cursor
        if len(self.cursors) > MAX_CURSORS:
            del self.cursors[next(iter(self.cursors))]
        if not self.inbox.put(message) and is_book(message.stream):
            self.cursors.clear()


class Routes:
    """Every stream that a client has subscribed, each for one subscription."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._routes

    def of(self, inbox: Inbox) -> list[str]:
        """The names that one subscription has."""
        return [name for name, route in self._routes.items() if route.inbox is inbox]

    def held_by_others(self, inbox: Inbox, names: Iterable[str]) -> list[Rejected]:
        """Those of `names`, as a program writes them, that another subscription has."""
        found = [(name, self._routes.get(full_name(name))) for name in names]
        return [_taken(name) for name, route in found if route is not None and route.inbox is not inbox]

    def deliver(self, event: Message | Gap | Rejected) -> None:
        """Hand an event of one stream to whoever has the stream, or that of all symbols."""
        for name in {event.stream, every_of(event.stream)}:
            route = self._routes.get(name)
            if route is None:
                continue
            if isinstance(event, Message):
                route.take(event)
            else:
                route.inbox.put(event)

    def drop(self, names: Iterable[str]) -> None:
        """Forget streams."""
        for name in names:
            self._routes.pop(name, None)

    def digest(self, inbox: Inbox, terms: Terms, reply: Mapping[str, Any]) -> list[Rejected]:
        """Take the acknowledgement of a subscription; what was refused, and what another subscription has.

        That one takes the answer: on the server its snapshot took the place of what was on its way to that one.
        """
        refused = [_rejected(entry) for entry in reply["rejected"]]
        for entry in reply["subscribed"]:
            name = entry["stream"]
            route = self._routes.setdefault(name, Route(name, inbox, terms))
            _begin(route, entry)
            if route.inbox is not inbox:
                refused.append(_taken(name))
        return refused

    def resume(self) -> Iterator[list[Route]]:
        """What to ask for in one request each: by subscription, those of all symbols one by one and last.

        Last, because the messages of a symbol that was asked for by name come once.
        """
        named: dict[tuple[int, Terms], list[Route]] = {}
        for route in self._routes.values():
            if not is_every(route.name):
                named.setdefault((id(route.inbox), route.terms), []).append(route)
        yield from list(named.values())
        for route in list(self._routes.values()):
            if is_every(route.name):
                yield [route]

    def request(self, routes: Collection[Route]) -> dict[str, Any]:
        """The body of `subscribe` that brings what was missed."""
        since = {
            stream: cursor
            for route in routes
            for stream, cursor in route.cursors.items()
            if stream == route.name or stream not in self._routes
        }
        first = next(iter(routes))
        return {**request_of([route.name for route in routes], first.terms), "since": since}

    def resumed(self, routes: Collection[Route], reply: Mapping[str, Any]) -> list[str]:
        """Take the acknowledgement of such a request; the streams of which something is lost."""
        lost = []
        for entry in reply["subscribed"]:
            route = self._routes.get(entry["stream"])
            if route is None:
                continue  # left meanwhile
            if not entry.get("recovered", is_state(route.name)):
                lost.append(route.name)
                route.cursors.clear()
                route.inbox.put(Gap(route.name, None, entry["cursor"], "away"))
            _begin(route, entry)
        refused = [_rejected(entry) for entry in reply["rejected"]]
        inbox = next(iter(routes)).inbox
        self.drop(rejected.stream for rejected in refused)
        for rejected in refused:
            inbox.put(rejected)
        return lost


def request_of(names: Iterable[str], terms: Terms) -> dict[str, Any]:
    """The body of `subscribe` for streams that nothing is known of."""
    body: dict[str, Any] = {"streams": list(names), "snapshot": terms.snapshot}
    return body if terms.throttle_ms is None else {**body, "throttle": terms.throttle_ms}


def _begin(route: Route, entry: Mapping[str, Any]) -> None:
    """Take what an acknowledgement says of a stream: its snapshot, or the cursor from which on messages come.

    A cursor that the client has already stays: what was missed since then is on its way. A snapshot that it has
    already does not come again.
    """
    if entry["snapshot"] is not None:
        if entry["cursor"] != route.cursors.get(route.name):
            route.take(Message(route.name, entry["cursor"], entry["ts"], entry["snapshot"]))
    elif entry["cursor"] is not None and not is_every(route.name):
        route.cursors.setdefault(route.name, entry["cursor"])


def _taken(name: str) -> Rejected:
    return Rejected(name, "already_subscribed", "Another subscription of this client has it")


def _rejected(entry: Mapping[str, Any]) -> Rejected:
    return msgspec.convert({key: value for key, value in entry.items() if key in _FIELDS}, Rejected)
