"""A terminal of the test's own, in which a program runs."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from typing import Final, Self

from tests.support.processes import ROOT

SIZE: Final = (40, 200)
"""Rows and columns."""
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Screen:
    """`python -m clients.terminal <words>` in a pseudo-terminal; `text` is all that it wrote, without control codes."""

    def __init__(
        self, url: str, *words: str, size: tuple[int, int] = SIZE, env: Mapping[str, str] | None = None
    ) -> None:
        self.raw = ""
        self._words = words
        self._size = size
        # A size that the tests' own environment names would hide this terminal's.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._env = {**inherited, "TERM": "xterm-256color", "TICKCAST_URL": url, **(env or {})}

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        self.settings = termios.tcgetattr(slave)
        command = [sys.executable, "-W", "error", "-m", "clients.terminal", *self._words]
        # A session of its own, so that Ctrl-C typed here is its signal and not ours.
        self._child = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *command], stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=self._env
        )
        self._slave = slave
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait(timeout=5)
        os.close(self._slave)
        os.close(self._master)

    @property
    def text(self) -> str:
        return _CONTROL.sub("", self.raw)

    @property
    def pid(self) -> int:
        return self._child.pid

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, pattern: str, timeout_s: float = 15.0) -> None:
        """Return once what is written from now on matches; fail with the end of it otherwise."""
        start = len(self.raw)
        self._read_until(lambda: re.search(pattern, _CONTROL.sub("", self.raw[start:])) is not None, pattern, timeout_s)

    def ends(self, timeout_s: float = 10.0) -> int:
        """The program's exit status."""
        self._read_until(lambda: self._child.poll() is not None, "its end", timeout_s)
        return self._child.returncode

    def settings_now(self) -> list[object]:
        return list(termios.tcgetattr(self._slave))

    def _read_until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"timed out: {what}; it wrote:\n{self.text[-3000:]}")
            if select.select([self._master], [], [], 0.05)[0]:
                self.raw += os.read(self._master, 65536).decode(errors="replace")
