"""Replays: stored messages sent to one client with their own pacing, beside whatever else the client receives."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import structlog

from market.errors import Code, MarketError
from market.messages import Message
from server.replay.reader import RecordingReader, Selection
from server.replay.recordings import Recording, Recordings

MAX_PER_CLIENT: Final = 2
MAX_PER_REPLICA: Final = 32
MAX_SPEED: Final = 100.0
MAX_BYTES: Final = 256 * 1024 * 1024
"""Bytes of messages that one replay sends."""
MAX_S: Final = 3600.0
"""How long one replay lasts, in s."""
STALL_S: Final = 30.0
"""How long a replay waits for a client that reads nothing at all, in s."""
ROOM_BYTES: Final = 16 * 1024
"""Unsent bytes at which a replay waits: so far below the high-water mark that live streams never lag by it."""
_BURST_BYTES: Final = 16 * 1024
_WAIT_S: Final = 0.01
# What is due sooner goes at once: a timer is no more exact than that.
_AT_ONCE_S: Final = 0.002

log = structlog.get_logger(__name__)


class Plan(NamedTuple):
    """What to replay, and how many times as fast as it was received; speed 0 = as fast as the client reads."""

    recording: Recording
    selection: Selection
    speed: float


class Listener(Protocol):
    """A client as its replay sees it."""

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has still to take."""

    def send(self, message: Message) -> int:
        """Send one message; how many bytes that took."""

    def end(self, replay_id: str, sent: int, reason: str) -> None:
        """Say that the replay is over."""


class Figures:
    """What all replays of one replica count."""

    def __init__(self) -> None:
        self.messages_total = 0
        self.encode_errors_total = 0
        self.started_total = 0
        self.refused_total = 0


class _StalledError(Exception):
    """The client reads nothing."""


class Replay:
    """One replay, from its reader to its client. A client that reads slowly slows it; nothing is left out."""

    def __init__(self, replay_id: str, speed: float, reader: RecordingReader, listener: Listener) -> None:
        self.id = replay_id
        self.sent = 0
        self._speed = speed
        self._reader = reader
        self._listener = listener
        self._bytes = 0
        self._burst = 0
        self._began = 0.0
        self._first_us: int | None = None

    async def run(self, figures: Figures) -> None:
        """Send everything, and say so: `finished`, `limit`, `stalled` or `failed`. Cancelled, it says nothing."""
        reason = "failed"
        try:
            async with asyncio.timeout(MAX_S):
                reason = await self._play(figures)
        except TimeoutError:
            reason = "limit"
        except _StalledError:
            reason = "stalled"
        except Exception:  # the client is told, and everything else goes on
            log.exception("replay failed", replay=self.id)
        finally:
            self._reader.close()
        self.end(reason)

    def end(self, reason: str) -> None:
        """Tell the client that nothing more comes."""
        self._listener.end(self.id, self.sent, reason)

    async def _play(self, figures: Figures) -> str:
        while (messages := await self._reader.step()) is not None:
            for message in messages:
                await self._wait_until_due(message.received_us)
                if self._burst >= _BURST_BYTES:
                    await self._wait_for_room()
                try:
                    size = self._listener.send(message)
                except ValueError as error:  # a payload that an encoding cannot read, as on the live stream
                    figures.encode_errors_total += 1
                    log.debug("recorded payload not encoded", stream=str(message.stream), error=str(error))
                    continue
                self.sent += 1
                figures.messages_total += 1
                self._burst += size
                self._bytes += size
                if self._bytes >= MAX_BYTES:
                    return "limit"
            await self._wait_for_room()
        return "finished"

    async def _wait_until_due(self, received_us: int) -> None:
        if not self._speed:
            return
        now = time.monotonic()
        if self._first_us is None:
            self._first_us, self._began = received_us, now
        due = self._began + (received_us - self._first_us) / 1e6 / self._speed
        if due - now > _AT_ONCE_S:
            await asyncio.sleep(due - now)
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        """Let others work, and wait while the client has much to read; the time lost is not made up for."""
        self._burst = 0
        began = time.monotonic()
        await asyncio.sleep(0)
        least, since = self._listener.unsent_bytes, began
        while (unsent := self._listener.unsent_bytes) > ROOM_BYTES:
            now = time.monotonic()
            if unsent < least:
                least, since = unsent, now
            elif now - since > STALL_S:
                raise _StalledError
            await asyncio.sleep(_WAIT_S)
            self._began += time.monotonic() - now


class Replays:
    """The replays of one replica, by client and id: at most MAX_PER_CLIENT and MAX_PER_REPLICA at once."""

    def __init__(self, recordings: Recordings) -> None:
        self.recordings = recordings
        self.figures = Figures()
        self._running: dict[object, dict[str, tuple[Replay, asyncio.Task[None]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return sum(map(len, self._running.values()))

    def start(self, client: object, plan: Plan, open_listener: Callable[[str], Listener]) -> str:
        """Begin to replay once the loop has turned; the id. Raises MarketError (replay_limit)."""
        if len(self._running.get(client, ())) >= MAX_PER_CLIENT:
            raise self._refusal(f"At most {MAX_PER_CLIENT} replays of a client at once")
        if len(self) >= MAX_PER_REPLICA:
            raise self._refusal(f"At most {MAX_PER_REPLICA} replays here at once; try again later")
        self.figures.started_total += 1
        replay_id = f"r{self.figures.started_total}"
        reader = RecordingReader(self.recordings, plan.recording, plan.selection)
        replay = Replay(replay_id, plan.speed, reader, open_listener(replay_id))
        task = asyncio.get_running_loop().create_task(replay.run(self.figures))
        self._running.setdefault(client, {})[replay_id] = replay, task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: self._forget(client, replay_id))
        return replay_id

    def stop(self, client: object, replay_id: str) -> None:
        """End one of a client's replays and say so. Raises MarketError (not_found)."""
        replay, task = self._running.get(client, {}).get(replay_id, (None, None))
        if replay is None or task is None:
            raise MarketError(Code.NOT_FOUND, f"No such replay: {replay_id[:40]}")
        task.cancel()
        self._forget(client, replay_id)
        replay.end("stopped")

    def stop_all(self, client: object) -> None:
        """End all of a client's replays and say so."""
        for replay_id in tuple(self._running.get(client, ())):
            self.stop(client, replay_id)

    def drop(self, client: object) -> None:
        """End what a client that left was still being sent."""
        for _, task in self._running.pop(client, {}).values():
            task.cancel()

    async def close(self) -> None:
        """End all replays; none can be asked for any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.recordings.close()

    def _forget(self, client: object, replay_id: str) -> None:
        replays = self._running.get(client, {})
        replays.pop(replay_id, None)
        if not replays:
            self._running.pop(client, None)

    def _refusal(self, message: str) -> MarketError:
        self.figures.refused_total += 1
        return MarketError(Code.REPLAY_LIMIT, message)
