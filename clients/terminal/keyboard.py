"""Keys of a terminal, one by one."""

import asyncio
import codecs
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from typing import Final

_CHUNK: Final = 1024
_ESCAPE: Final = "\x1b"


@contextlib.contextmanager
def keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Call `on_key` with each character that is typed, unechoed; Ctrl-C stays a signal.

    Sequences of arrows and function keys are left out. The terminal is set back in the end.
    """
    terminal, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    before = termios.tcgetattr(terminal)

    def read() -> None:
        taken = os.read(terminal, _CHUNK)
        text = decoder.decode(taken) if taken else "\x04"
        if len(text) > 1 and text.startswith(_ESCAPE):
            return
        for key in text:
            on_key(key)

    tty.setcbreak(terminal)
    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
