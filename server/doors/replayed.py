"""Replays at the doors: messages as live ones, marked, and the client as its replay sees it."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from market.messages import Message
from market.streams import StreamName
from server.doors.msgpack import MsgpackEncoding
from server.doors.raw import RawConnection
from server.doors.session import EngineSocket
from server.encodings import Encoding
from server.every import every_of
from server.replay.replays import Plan


class ReplayedEncoding(Encoding):
    """The messages of a text encoding, marked as those of one replay: `{"source":"replay","replay":<id>, ...}`."""

    def __init__(self, live: Encoding, replay_id: str) -> None:
        self._live = live
        self._mark = b'{"source":"replay","replay":"%b",' % replay_id.encode()

    def encode(self, message: Message) -> bytes:
        """The live message with the mark behind its first brace. Raises ValueError as the live encoding does."""
        head, _, body = self._live.encode(message).partition(b"{")
        return head + self._mark + body

    def gap(self, stream: StreamName, missed: int, until: int, *, upstream: bool = False) -> bytes | None:
        """Nothing: a replay waits for its client."""


class SocketIOListener:
    """A Socket.IO client; `live` is how it gets live messages as text, `emit` sends it one event."""

    def __init__(
        self, session: EngineSocket, emit: Callable[[str, object], None], live: Encoding, replay_id: str
    ) -> None:
        text = ReplayedEncoding(live, replay_id)
        self._encoding = MsgpackEncoding(text) if session.is_binary else text
        self._session = session
        self._emit = emit

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has still to take."""
        return self._session.unsent_bytes

    def send(self, message: Message) -> int:
        """Send one message; how many bytes that took. Raises ValueError for a payload that cannot be written."""
        packet = self._encoding.encode(message)
        self._session.write(packet, binary=self._encoding.binary)
        return len(packet)

    def end(self, replay_id: str, sent: int, reason: str) -> None:
        """`replayEnd {id, sent, reason}`."""
        self._emit("replayEnd", {"id": replay_id, "sent": sent, "reason": reason})


class JsonListener:
    """A client of the JSON door; `live` are the encodings in which it wants each stream, ALL among them."""

    def __init__(
        self,
        connection: RawConnection,
        tell: Callable[[object], None],
        live: Mapping[StreamName, Sequence[Encoding]],
        replay_id: str,
    ) -> None:
        self._connection = connection
        self._tell = tell
        marked = {one: ReplayedEncoding(one, replay_id) for encodings in live.values() for one in encodings}
        self._encodings = {stream: [marked[one] for one in encodings] for stream, encodings in live.items()}

    @property
    def unsent_bytes(self) -> int:
        """Bytes that the client has still to take."""
        return self._connection.ws.outbox.unsent_bytes

    def send(self, message: Message) -> int:
        """Send one message in all forms; how many bytes that took. Raises ValueError as an encoding does."""
        wishes = [self._encodings.get(stream, []) for stream in (message.stream, every_of(message.stream)) if stream]
        texts = [encoding.encode(message) for encoding in dict.fromkeys(chain.from_iterable(wishes))]
        for text in texts:
            self._connection.reply(text)
        return sum(map(len, texts))

    def end(self, replay_id: str, sent: int, reason: str) -> None:
        """`replayEnd {id, sent, reason}`."""
        self._tell({"type": "replayEnd", "id": replay_id, "sent": sent, "reason": reason})


def replay_head(replay_id: str, plan: Plan) -> dict[str, object]:
    """What a client is told of a replay that begins: `{id, recording, startTime, endTime, speed}`."""
    recording, selection = plan.recording, plan.selection
    return {
        "id": replay_id,
        "recording": recording.id,
        "startTime": max(selection.start_ms, recording.parts[0].start_ms),
        "endTime": min(selection.end_ms, end_ms) if (end_ms := recording.parts[-1].end_ms) else None,
        "speed": plan.speed,
    }
