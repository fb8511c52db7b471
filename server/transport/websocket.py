"""The server's end of one WebSocket after its handshake: callbacks only, nothing kept for an idle client.

No task, queue, stream reader or compressor lives per connection. Incoming frames that are not of the
commonest shape (server/transport/client_frames.py) are parsed by the sans-I/O core of `websockets`, which is made
when such a frame comes and let go when it was whole.
"""

import asyncio
import codecs
from collections.abc import Callable
from typing import Final

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Close, CloseCode, Opcode
from websockets.frames import Frame as WireFrame
from websockets.protocol import Protocol as Parser
from websockets.protocol import Side, State

from server.access.stays import Stay, Verdict
from server.connections import CloseReason
from server.delivery import Delivery, Outbox
from server.transport.client_frames import whole_message

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a client may take to answer our close frame, in s."""
_HEAD_BYTES: Final = 2
_MEDIUM: Final = 126
_LARGE: Final = 127
_CLOSE_FRAME_MAX: Final = 131
"""More than a client's answer to a close frame has (RFC 6455, 5.5): nothing more is read."""
_SLICE_BYTES: Final = 8 * 1024
"""How much of what came at once is handled in one turn of the loop, so that a flood of frames delays nobody else."""
_DATA: Final = frozenset({Opcode.TEXT, Opcode.BINARY, Opcode.CONT})
_utf8_decoder: Final = codecs.getincrementaldecoder("utf-8")
_HEARTBEATS: Final = frozenset({Opcode.PING, Opcode.PONG})


class WebSocket(asyncio.Protocol):
    """One WebSocket on a transport that was taken over after the handshake.

    `on_message` gets every whole message (str or bytes), `on_lost` is called once when the
    connection is over, `on_slow` when the client has lagged for too long, `on_pong` with the payload
    of every pong, `on_ping` with that of every ping, which is answered here. `deflate` says that
    permessage-deflate was negotiated, without context takeover for what the client sends.

    Nothing is read from a client that lags, so that answers cannot pile up, nor while its door holds it.
    Frames that are no whole messages are charged to the client's `stay`; a message that is begun must be
    finished in time.
    """

    __slots__ = (
        "_closing",
        "_deflate",
        "_delivery",
        "_is_held",
        "_is_scheduled",
        "_max_bytes",
        "_on_lost",
        "_on_message",
        "_on_ping",
        "_on_pong",
        "_over",
        "_parser",
        "_stay",
        "_transport",
        "_unread",
        "outbox",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        delivery: Delivery,
        stay: Stay,
        *,
        on_message: Callable[[str | bytes], None],
        on_lost: Callable[[], None],
        on_slow: Callable[[], None],
        on_pong: Callable[[bytes], None] | None = None,
        on_ping: Callable[[bytes], None] | None = None,
        max_bytes: int,
        deflate: bool,
    ) -> None:
        self._transport = transport
        self._stay = stay
        self._delivery = delivery
        self._unread = b""
        """What came, and waits for the loop to turn."""
        self._on_pong = on_pong
        self._on_ping = on_ping
        self._on_message = on_message
        self._on_lost: Callable[[], None] | None = on_lost
        self._max_bytes = max_bytes
        self._deflate = deflate
        self._parser: _Incoming | None = None
        self._is_held = False
        self._is_scheduled = False
        """Whether the next slice of what came will be handled when the loop has turned."""
        self._closing = False
        self._over = False
        self.outbox = Outbox(transport, delivery, on_slow, deflate=deflate)

    def data_received(self, data: bytes) -> None:
        """Take what the client sent (asyncio.Protocol)."""
        if self._over:
            if len(data) > _CLOSE_FRAME_MAX:
                self._transport.pause_reading()
            return
        if self._unread:
            self._unread += data
        elif self._parser is None and (message := whole_message(data, self._max_bytes)) is not None:
            self._on_message(message)
        elif len(data) <= _SLICE_BYTES:
            self._take(data)
        else:
            self._unread = data
            self._take_slice()

    def _take_slice(self) -> None:
        """Handle a part of what came, and the next one when the loop has turned, unless the client is not heard now."""
        self._is_scheduled = False
        if self._over or not self._unread or self._is_deaf:
            return
        data, self._unread = self._unread[:_SLICE_BYTES], self._unread[_SLICE_BYTES:]
        self._take(data)
        self._set_reading()

    def _take(self, data: bytes) -> None:
        is_new = self._parser is None
        parser = self._parser or _Incoming(self._max_bytes, deflate=self._deflate)
        received = parser.feed(data)
        self._parser = None if parser.is_idle else parser
        self._watch(parser, is_new=is_new, has_message=any(not isinstance(item, WireFrame) for item in received))
        if parser.others and self._stay.fragments(parser.take_others()) is Verdict.FLOOD:
            self.turn_away(CloseReason.TOO_MANY_REQUESTS)
            return
        for item in received:
            if isinstance(item, WireFrame):
                self._take_heartbeat(item)
            else:
                self._on_message(item)
        if parser.close_frame and not self._closing:
            self.outbox.write(parser.close_frame)
        if parser.is_over:
            self._end()

    def pause_writing(self) -> None:
        """The transport is full (asyncio.Protocol)."""
        self.outbox.pause()
        self._set_reading()

    def resume_writing(self) -> None:
        """The transport has room again (asyncio.Protocol)."""
        self.outbox.resume()
        self._set_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's signature
        """The connection is over (asyncio.Protocol)."""
        self._over = True
        self._delivery.unfinished.stop(self)
        self._delivery.ending.discard(self)
        self.outbox.close()
        on_lost, self._on_lost = self._on_lost, None
        if on_lost:
            on_lost()

    def pause_reading(self) -> None:
        """Take nothing more from the client until `resume_reading`."""
        self._is_held = True
        self._set_reading()

    def resume_reading(self) -> None:
        """Take from the client again, as soon as it does not lag."""
        self._is_held = False
        self._set_reading()

    def ping(self, payload: bytes = b"") -> None:
        """Ask for a pong with this payload of at most 125 bytes (RFC 6455, 5.5.2)."""
        self.outbox.write(WireFrame(Opcode.PING, payload).serialize(mask=False))

    def close(self, reason: CloseReason = CloseReason.NORMAL) -> None:
        """Send a close frame after all that was sent; the connection ends with the client's answer, or soon."""
        if self._closing or self._over:
            return
        self._closing = True
        frame = WireFrame(Opcode.CLOSE, Close(reason.code, reason.text).serialize())
        self.outbox.write(frame.serialize(mask=False))
        self.outbox.flush()
        self._abort_soon()

    def abort(self) -> None:
        """End the connection at once, whatever was still to be said."""
        self._transport.abort()

    def let_go(self, reason: CloseReason) -> None:
        """End a client that does not read: a close frame if there is still room for it, then nothing more."""
        self.close(reason)
        self._end()

    def turn_away(self, reason: CloseReason) -> None:
        """End a client that sends too much, or too slowly: a close frame, after which nothing of it is read."""
        self.close(reason)
        if self._over:
            return
        self._stop()
        if not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()  # to notice when it leaves; a flood is not read

    def _watch(self, parser: "_Incoming", *, is_new: bool, has_message: bool) -> None:
        """Have a message that is begun be finished in time."""
        if not is_new and (has_message or parser.is_idle):
            self._delivery.unfinished.stop(self)
        if not parser.is_idle and (is_new or has_message):
            self._delivery.unfinished.start(self)

    def _take_heartbeat(self, frame: WireFrame) -> None:
        payload = bytes(frame.data)
        told = self._on_pong
        if frame.opcode is Opcode.PING:
            told = self._on_ping
            if not self._closing:
                self.outbox.write(WireFrame(Opcode.PONG, payload).serialize(mask=False))
        if told is not None:
            told(payload)

    @property
    def _is_deaf(self) -> bool:
        return self._is_held or self.outbox.lags

    def _set_reading(self) -> None:
        if self._transport.is_closing():
            return
        if self._is_deaf or self._unread:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
        if self._unread and not self._is_deaf and not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._take_slice)

    def _end(self) -> None:
        """Send what is written, then end the connection."""
        if self._over:
            return
        self._stop()
        self._transport.close()
        self._abort_soon()

    def _abort_soon(self) -> None:
        self._delivery.ending.add(self)
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def _stop(self) -> None:
        """Send what is written, and nothing more."""
        self._over = True
        self._unread = b""
        self._delivery.unfinished.stop(self)
        self.outbox.flush()
        self.outbox.close()


class _Incoming:
    """Parses a client's frames; idle again when neither a frame nor a message is unfinished."""

    __slots__ = ("_boundary", "_parser", "_parts", "_texts", "_utf8", "close_frame", "is_over", "others")

    def __init__(self, max_bytes: int, *, deflate: bool) -> None:
        self._parser = _FrameParser(Side.SERVER, state=State.OPEN, max_size=max_bytes)
        if deflate:
            self._parser.extensions = [PerMessageDeflate(True, True, 15, 15)]  # noqa: FBT003 # websockets' signature
        self._boundary = _Boundary()
        self._utf8: codecs.IncrementalDecoder | None = None
        """Reads the fragments of a text as they come; None while they are binary."""
        self._texts: list[str] = []
        self._parts: list[bytes] = []
        self.close_frame = b""
        """What to send before the end."""
        self.others = 0
        """Frames that were no whole messages, since `take_others`."""
        self.is_over = False
        """Whether the connection must end: closing handshake complete, or protocol broken."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be lost with this parser."""
        return self._boundary.is_whole and not self._texts and not self._parts and not self.is_over

    def feed(self, data: bytes) -> list[str | bytes | WireFrame]:
        """What `data` completes, in order: messages, pings and pongs."""
        self._boundary.feed(data)
        self._parser.receive_data(data)
        received: list[str | bytes | WireFrame] = []
        for event in self._parser.events_received():
            if isinstance(event, WireFrame) and event.opcode in _DATA:
                if not self._take(event, received):
                    break
            elif isinstance(event, WireFrame) and event.opcode in _HEARTBEATS:
                received.append(event)
                self.others += 1
        sent = self._parser.data_to_send()
        self.is_over = self.is_over or b"" in sent  # the sans-I/O core asks for the end of the stream
        self.close_frame = b"".join(sent)
        return received

    def take_others(self) -> int:
        """How many frames came since the last time that were no whole messages."""
        others, self.others = self.others, 0
        return others

    def _take(self, frame: WireFrame, received: list[str | bytes | WireFrame]) -> bool:
        """Take a part of a message; False, and the connection fails, for text that is not UTF-8 so far."""
        if frame.opcode is not Opcode.CONT:
            self._utf8 = _utf8_decoder() if frame.opcode is Opcode.TEXT else None
        self.others += not frame.fin or frame.opcode is Opcode.CONT
        data = bytes(frame.data)
        if self._utf8 is None:
            self._parts.append(data)
        else:
            try:
                self._texts.append(self._utf8.decode(data, final=frame.fin))
            except UnicodeDecodeError:
                self._parser.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
                return False
        if frame.fin:
            received.append(b"".join(self._parts) if self._utf8 is None else "".join(self._texts))
            self._parts.clear()
            self._texts.clear()
        return True


class _FrameParser(Parser):
    """The sans-I/O core, which leaves pings to its user and takes a close frame amid a fragmented message, too."""

    def recv_frame(self, frame: WireFrame) -> None:
        """Process one frame; control frames may stand between fragments (RFC 6455, 5.4)."""
        if frame.opcode is Opcode.PING:  # its pong must not overtake the answers to earlier messages
            self.events.append(frame)
            return
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class _Boundary:
    """Knows from the frames' heads alone whether bytes end where a frame does (RFC 6455, 5.2)."""

    __slots__ = ("_head", "_rest")

    def __init__(self) -> None:
        self._head = b""
        self._rest = 0

    @property
    def is_whole(self) -> bool:
        """Whether everything so far was whole frames."""
        return not self._head and not self._rest

    def feed(self, data: bytes) -> None:
        """Follow `data`."""
        at = 0
        while at < len(data):
            skipped = min(self._rest, len(data) - at)
            self._rest -= skipped
            at += skipped
            if self._rest or at == len(data):
                return
            missing = _head_size(self._head) - len(self._head)
            self._head += data[at : at + missing]
            at += missing
            if len(self._head) >= _HEAD_BYTES and len(self._head) == _head_size(self._head):
                self._rest = _payload_size(self._head)
                self._head = b""


def _head_size(head: bytes) -> int:
    """How long a frame's head is, as far as its first bytes tell; masks included."""
    if len(head) < _HEAD_BYTES:
        return _HEAD_BYTES
    extended = {_MEDIUM: 2, _LARGE: 8}.get(head[1] & 0x7F, 0)
    return _HEAD_BYTES + extended + (4 if head[1] & 0x80 else 0)


def _payload_size(head: bytes) -> int:
    length = head[1] & 0x7F
    extended = {_MEDIUM: 2, _LARGE: 8}.get(length, 0)
    return int.from_bytes(head[2 : 2 + extended], "big") if extended else length
