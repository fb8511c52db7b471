"""Delivery: everything of one loop turn leaves in one write per client, and nobody waits for a slow one."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from market.streams import StreamName
from server.backlog import BUFFER_BYTES, AfterGap, Backlog
from server.connections import CloseReason
from server.deadlines import Deadlines
from server.encodings import Encoding
from server.frames import Batch
from server.journeys import Journeys

HIGH_WATER_BYTES: Final = 64 * 1024
"""Unsent bytes past which a client lags: what comes then goes to its backlog."""
LOW_WATER_BYTES: Final = 16 * 1024
LAG_LIMIT_S: Final = 30.0
"""How long a client may lag before it is let go, in s."""
MESSAGE_LIMIT_S: Final = 10.0
"""How long a client may take to finish a message that it began to send, in s."""
_CHECK_S: Final = 1.0


class Flushable(Protocol):
    """Something that collects during a loop turn and sends at its end."""

    def flush(self) -> None:
        """Send what was collected."""


class Delivery:
    """The one place that decides when things are sent, and who has lagged too long.

    `flush_interval_ms` 0 sends as soon as the loop has turned; more trades latency for fewer system
    calls. Groups are flushed first, into the outboxes of their members; then each outbox writes once.
    """

    def __init__(
        self,
        flush_interval_ms: float = 0.0,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        lag_limit_s: float = LAG_LIMIT_S,
        message_limit_s: float = MESSAGE_LIMIT_S,
    ) -> None:
        self._interval_s = flush_interval_ms / 1000
        self._groups: list[Flushable] = []
        self._outboxes: list[Outbox] = []
        self._scheduled = False
        self._lagging: dict[Lagger, float] = {}
        self._check: asyncio.TimerHandle | None = None
        self._lag_limit_s = lag_limit_s
        self.buffer_bytes = buffer_bytes
        self.after_gap: AfterGap | None = None
        """Asked whenever a client is told that it missed messages; the hub answers."""
        self.journeys = Journeys()
        """What sampled messages live through; told when what was pushed is written."""
        self.writes_total = 0
        self.bytes_total = 0
        self.conflated_total = 0
        self.dropped_total = 0
        self.slow_consumers_total = 0
        self.unfinished = Deadlines[Sender](message_limit_s, self._let_go_of_a_sender)
        """Clients in the middle of a message of theirs."""
        self.slow_senders_total = 0
        self.ending: set[Sender] = set()
        """Clients that were told goodbye and are still connected, for a moment."""

    def new_backlog(self) -> Backlog:
        """What a client that begins to lag is owed: nothing yet."""
        return Backlog(self.buffer_bytes, self.after_gap)

    def close(self) -> None:
        """End the connections that are still there although they were closed."""
        self.unfinished.close()
        for sender in tuple(self.ending):
            sender.abort()

    @property
    def lagging(self) -> int:
        """How many clients lag now."""
        return len(self._lagging)

    def schedule_group(self, group: Flushable) -> None:
        """Flush `group` at the end of this turn."""
        self._groups.append(group)
        if not self._scheduled:
            self._schedule()

    def schedule_outbox(self, outbox: "Outbox") -> None:
        """Flush `outbox` at the end of this turn, after the groups."""
        self._outboxes.append(outbox)
        if not self._scheduled:
            self._schedule()

    def note_lag(self, lagger: "Lagger") -> None:
        """`lagger` began to lag; it is let go unless `note_caught_up` follows within the limit."""
        loop = asyncio.get_running_loop()
        self._lagging.setdefault(lagger, loop.time())
        if self._check is None:
            self._check = loop.call_later(_CHECK_S, self._let_go_of_the_slow)

    def note_caught_up(self, lagger: "Lagger", backlog: Backlog) -> None:
        """`lagger` owes nothing to its reader any more, or is gone."""
        if self._lagging.pop(lagger, None) is not None:
            self.conflated_total += backlog.conflated
            self.dropped_total += backlog.dropped

    def _schedule(self) -> None:
        self._scheduled = True
        loop = asyncio.get_running_loop()
        if self._interval_s:
            loop.call_later(self._interval_s, self._flush)
        else:
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        groups, self._groups = self._groups, []
        for group in groups:
            group.flush()
        outboxes, self._outboxes = self._outboxes, []
        self._scheduled = False
        self._write(outboxes)
        if self.journeys.under_way:
            self.journeys.note_written()

    def _write(self, outboxes: "list[Outbox]") -> None:
        """Do what `Outbox.flush` does for each outbox, without a call for each, and count once.

        Members of the same groups stand next to each other: what they are sent is joined once for all of them.
        """
        writes = size = 0
        parts: list[bytes] = []
        data = b""
        for outbox in outboxes:
            pending, outbox.pending = outbox.pending, None
            if pending is None or outbox.transport is None:
                continue
            if pending != parts:
                parts = pending
                data = b"".join(pending)
            outbox.transport.write(data)
            writes += 1
            size += len(data)
        self.writes_total += writes
        self.bytes_total += size

    def _let_go_of_a_sender(self, sender: "Sender") -> None:
        self.slow_senders_total += 1
        sender.turn_away(CloseReason.SLOW_SENDER)

    def _let_go_of_the_slow(self) -> None:
        loop = asyncio.get_running_loop()
        self._check = loop.call_later(_CHECK_S, self._let_go_of_the_slow) if self._lagging else None
        limit = loop.time() - self._lag_limit_s
        for lagger in [lagger for lagger, since in self._lagging.items() if since < limit]:
            lagger.let_go()


class Sender(Protocol):
    """A client's receiving side, as far as unfinished messages go."""

    def turn_away(self, reason: CloseReason) -> None:
        """Close the client, and read nothing more of it."""

    def abort(self) -> None:
        """End the client's connection at once."""


class Lagger(Protocol):
    """A client's sending side, as far as lagging goes."""

    def let_go(self) -> None:
        """Close the client as a slow consumer, and count it."""


class Outbox:
    """What one WebSocket is still to be sent, in order; the transport's `pause_writing` makes it lag.

    `on_slow` is called when the client has lagged for too long.
    """

    __slots__ = ("_backlog", "_deflate", "_delivery", "_on_slow", "_paused", "pending", "transport")

    def __init__(
        self, transport: asyncio.Transport, delivery: Delivery, on_slow: Callable[[], None], *, deflate: bool
    ) -> None:
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)
        self.transport: asyncio.Transport | None = transport
        """Where it goes; nowhere once it is closed."""
        self._delivery = delivery
        self._on_slow = on_slow
        self._deflate = deflate
        self.pending: list[bytes] | None = None
        """What goes out at the end of this turn, in this order."""
        self._backlog: Backlog | None = None
        self._paused = False

    @property
    def lags(self) -> bool:
        """Whether the client is owed anything that does not fit into its transport."""
        return self._backlog is not None

    @property
    def unsent_bytes(self) -> int:
        """What waits for the end of the turn and in the transport; what a lagging client is owed comes on top."""
        if self.transport is None:
            return 0
        return self.transport.get_write_buffer_size() + sum(map(len, self.pending or ()))

    def write(self, data: bytes) -> None:
        """Send bytes that are not market data (acknowledgements, pings): they never wait in the backlog."""
        if self.pending is not None:
            self.pending.append(data)
        elif self.transport is not None:
            self.pending = [data]
            self._delivery.schedule_outbox(self)

    def send(self, batch: Batch) -> None:
        """Send a batch, or owe it to a client that lags."""
        if self._backlog is None:
            data = batch.deflated if self._deflate else batch.plain
            # `write` without the call: this is the hot path.
            if self.pending is not None:
                self.pending.append(data)
            elif self.transport is not None:
                self.pending = [data]
                self._delivery.schedule_outbox(self)
        else:
            for frame in batch.frames:
                if not self._backlog.add(frame):
                    self.let_go()
                    return

    def forget(self, stream: StreamName, encoding: Encoding) -> None:
        """Owe nothing more of a stream."""
        if self._backlog is not None:
            self._backlog.forget(stream, encoding)

    def flush(self) -> None:
        """Write what is pending, in one call."""
        pending, self.pending = self.pending, None
        if not pending or self.transport is None:
            return
        data = b"".join(pending)
        self.transport.write(data)
        self._delivery.writes_total += 1
        self._delivery.bytes_total += len(data)

    def pause(self) -> None:
        """The transport holds HIGH_WATER_BYTES: from now on the client lags."""
        self._paused = True
        if self._backlog is None and self.transport is not None:
            self._backlog = self._delivery.new_backlog()
            self._delivery.note_lag(self)

    def resume(self) -> None:
        """The transport has room again: send what is owed, as far as the room reaches."""
        self._paused = False
        self.flush()
        while self._backlog is not None and self.transport is not None and not self._paused:
            frames = self._backlog.take(HIGH_WATER_BYTES)
            if not frames:
                self._catch_up()
                return
            batch = Batch(frames)
            self.transport.write(batch.deflated if self._deflate else batch.plain)

    def let_go(self) -> None:
        """Close the client as a slow consumer, and count it."""
        self._delivery.slow_consumers_total += 1
        self._on_slow()

    def close(self) -> None:
        """Send nothing more."""
        self.transport = None
        self.pending = None
        self._catch_up()

    def _catch_up(self) -> None:
        if self._backlog is not None:
            self._delivery.note_caught_up(self, self._backlog)
            self._backlog = None
