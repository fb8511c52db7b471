"""Frames: one encoded message in the forms that transports need, each made at most once."""

from typing import Final

_TEXT: Final = 0x81  # FIN and the text opcode (RFC 6455, 5.2)
_SHORT_MAX: Final = 125
_MEDIUM_MAX: Final = 0xFFFF


def text_frame(text: bytes) -> bytes:
    """A whole unmasked WebSocket text frame around UTF-8 `text` (RFC 6455, 5.2)."""
    length = len(text)
    if length <= _SHORT_MAX:
        return bytes((_TEXT, length)) + text
    if length <= _MEDIUM_MAX:
        return bytes((_TEXT, 126)) + length.to_bytes(2, "big") + text
    return bytes((_TEXT, 127)) + length.to_bytes(8, "big") + text


class Frame:
    """One encoded message, shared by every connection that receives it.

    `text` is what a client reads (UTF-8); `websocket` is the same as a WebSocket frame and
    `decoded` as str, both made on first use.
    """

    __slots__ = ("_decoded", "_websocket", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._websocket: bytes | None = None
        self._decoded: str | None = None

    @property
    def websocket(self) -> bytes:
        """The bytes to write to a WebSocket's transport."""
        if self._websocket is None:
            self._websocket = text_frame(self.text)
        return self._websocket

    @property
    def decoded(self) -> str:
        """The text as str, for transports that are not WebSockets."""
        if self._decoded is None:
            self._decoded = self.text.decode()
        return self._decoded
