"""What a member is shown when it joins, before anything live, the same at every door."""

from collections.abc import Mapping
from typing import NamedTuple

from market.messages import Message
from market.streams import StreamName
from server.channels import Channel
from server.connections import Connection
from server.encodings import Encoding


class FirstSight(NamedTuple):
    """Missed messages and latest values, each stream's in order; `recovered` is None where no cursor was given.

    `shown` are the streams of which these are all that the client needs up to now.
    """

    missed: list[Message]
    snapshots: list[Message]
    shown: set[StreamName]
    recovered: bool | None


def first_sight(
    connection: Connection, channel: Channel, encoding: Encoding, since: Mapping[StreamName, int], *, snapshot: bool
) -> FirstSight:
    """Of each part of `channel`: what was missed since the client's cursor; without one the latest value.

    A part whose cursor leads nowhere makes `recovered` false and is shown like one without. With
    `snapshot` false there are no latest values. What a new member of ALL gets by name anyway is left out.
    """
    sight = FirstSight([], [], set(), None)
    recovered = []
    for part in channel.parts:
        cursor = since.get(part.stream)
        missed = None if cursor is None else part.since(cursor)
        if cursor is not None:
            recovered.append(missed is not None)
        if missed is not None:
            sight.missed.extend(missed)
            sight.shown.add(part.stream)
        elif (
            snapshot
            and (part is channel or (part.stream, encoding) not in connection.groups)
            and (latest := part.snapshot) is not None
        ):
            sight.snapshots.append(latest)
            sight.shown.add(part.stream)
    return sight._replace(recovered=all(recovered) if recovered else None)
