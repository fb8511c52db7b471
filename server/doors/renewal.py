"""What follows a renewed grant: when it ends, and what the client may not have any more."""

from server.access.visitors import Grant
from server.connections import Connection
from server.hub import Hub
from server.replay.replays import Replays


def renewed(connection: Connection, before: Grant, hub: Hub, replays: Replays) -> dict[str, object]:
    """Leave the streams that the new grant does not cover; where it covers others than `before`, stop all replays.

    The answer to the client: `{expiresAt, left}`, the end in ms since the epoch (null = none), and the
    streams that were left.
    """
    grant = connection.visitor.grant
    lost = set(grant.uncovered({stream for stream, _ in connection.groups}))
    uncovered = [(stream, encoding) for stream, encoding in connection.groups if stream in lost]
    for stream, encoding in uncovered:
        hub.leave(connection, stream, encoding)
    if grant.streams != before.streams:
        replays.stop_all(connection)
    expires_ms = None if grant.expires_at is None else int(grant.expires_at * 1_000)
    return {"expiresAt": expires_ms, "left": sorted(map(str, lost))}
