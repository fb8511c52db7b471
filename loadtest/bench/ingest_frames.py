"""Recorded frames of Binance, cut so that they can be sent again as if they happened now."""

import gzip
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from websockets.frames import Frame, Opcode

from binance.frames import slice_frame

FRAMES_MAX: Final = 100_000
"""Frames of a recording that are kept in memory; they are sent in turn, again and again."""

_NUMBERS: Final = re.compile(rb'"([ETtuU])":\d+')
_SAMPLE_US: Final = 1_700_000_000_000_000


class _Line(msgspec.Struct):
    """One line of a recording, as `exchange record` writes it."""

    raw: msgspec.Raw


class RecordedFrame(NamedTuple):
    """One message of a combined connection; `name` is Binance's name of its stream."""

    name: str
    form: bytes

    def at(self, now_us: int) -> bytes:
        """The unmasked WebSocket frame (RFC 6455, 5.2) with `now_us`, in us since the epoch, as its moment.

        Event and trade time are in ms, as Binance sends them; trade and update ids, which become the
        message's cursor, are the us themselves. Everything else is as recorded.
        """
        return self.form % {b"us": now_us, b"ms": now_us // 1000}


def frame_of(name: str, text: bytes) -> RecordedFrame:
    """The frame that sends `text`, its numbers left open."""
    form = _NUMBERS.sub(_placeholder, text.replace(b"%", b"%%"))
    sample = form % {b"us": _SAMPLE_US, b"ms": _SAMPLE_US // 1000}
    whole = Frame(Opcode.TEXT, sample).serialize(mask=False)
    # All moments have as many digits until the year 2286, so that the length in the header holds.
    header = whole[: -len(sample)]
    return RecordedFrame(name, header.replace(b"%", b"%%") + form)


def read_frames(recordings: Iterable[Path]) -> list[RecordedFrame]:
    """Up to FRAMES_MAX frames of each recording, in their order; lines that are no stream's message are left out.

    Raises OSError or msgspec.DecodeError for a file that is no recording.
    """
    frames: list[RecordedFrame] = []
    decode = msgspec.json.Decoder(_Line).decode
    for recording in recordings:
        with gzip.open(recording, "rb") as lines:
            for line in islice(lines, FRAMES_MAX):
                text = bytes(decode(line).raw)
                if (sliced := slice_frame(text)) is not None:
                    frames.append(frame_of(sliced[0].decode(), text))
    return frames


def _placeholder(match: re.Match[bytes]) -> bytes:
    letter = match[1]
    return b'"%b":%%(%b)d' % (letter, b"ms" if letter in b"ET" else b"us")
