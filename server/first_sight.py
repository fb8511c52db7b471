"""What a member is shown when it joins, before anything live, the same at every door."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from market.messages import Message
from market.streams import StreamName
from server.channels import Channel
from server.connections import Connection
from server.encodings import Encoding


class FirstSight(NamedTuple):
    """Missed messages and latest values, each stream's in order; `recovered` is None where no cursor was given.

    `shown` are the streams of which these are all that the client needs up to now, or will be with what the same
    request shows by name.
    """

    missed: list[Message]
    snapshots: list[Message]
    shown: set[StreamName]
    recovered: bool | None


class Newcomer:
    """A member while it joins the streams of one request, which may name a symbol's stream and ALL of them.

    Args:
        since: its cursors.
        snapshot: whether it wants the latest value of what it names no cursor of.
        named: all that it names, which is shown with its name and not with ALL, whichever comes first.
    """

    def __init__(
        self,
        connection: Connection,
        since: Mapping[StreamName, int],
        *,
        snapshot: bool,
        named: Collection[tuple[StreamName, Encoding]] = (),
    ) -> None:
        self._connection = connection
        self._named = named
        self._since = since
        self._snapshot = snapshot
        self._caught_up: set[tuple[StreamName, Encoding]] = set()

    def first_sight(self, channel: Channel, encoding: Encoding) -> FirstSight:
        """Of each part of `channel`: what was missed since the client's cursor; without one the latest value.

        A part whose cursor leads nowhere makes `recovered` false and is shown like one without. What a new
        member of ALL gets by name anyway is left out, and what this request has shown already.
        """
        sight = FirstSight([], [], set(), None)
        recovered = []
        for part in channel.parts:
            missed = self._missed(part)
            if part.stream in self._since:
                recovered.append(missed is not None)
            if missed is not None:
                if (part.stream, encoding) not in self._caught_up:
                    sight.missed.extend(missed)
                self._caught_up.add((part.stream, encoding))
                sight.shown.add(part.stream)
            elif self._is_shown_latest(part, channel, encoding) and (latest := part.snapshot) is not None:
                if part is channel or (part.stream, encoding) not in self._named:
                    sight.snapshots.append(latest)
                sight.shown.add(part.stream)
        return sight._replace(recovered=all(recovered) if recovered else None)

    def _missed(self, part: Channel) -> list[Message] | None:
        cursor = self._since.get(part.stream)
        return None if cursor is None else part.since(cursor)

    def _is_shown_latest(self, part: Channel, channel: Channel, encoding: Encoding) -> bool:
        return self._snapshot and (part is channel or (part.stream, encoding) not in self._connection.groups)
