"""Child processes on cores of their own: started, spoken to line by line, and ended by pid."""

import http.client
import json
import os
import select
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

LOOPBACK: Final = "127.0.0.1"
ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 20.0
STOP_S: Final = 2.0
_POLL_S: Final = 0.02
_ANSWER_S: Final = 20.0


class BenchError(Exception):
    """Why a measurement cannot go on, as a sentence."""


class Child:
    """One process, pinned to one core; what it says about itself goes to `<logs>/<name>.log`.

    It runs in a session of its own: Ctrl-C reaches the bench alone, which then ends its children in order.
    """

    def __init__(
        self, name: str, argv: Sequence[str], core: int, logs: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = logs / f"{name}.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 # to start processes is the work of this class
                ["taskset", "--cpu-list", str(core), *argv],  # noqa: S607 # where util-linux put it
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # Whose clients are the bench's own has nobody to take leave of.
                env={**os.environ, "DRAIN_SECONDS": "0", **(env or {})},
                cwd=ROOT,
                start_new_session=True,
            )
        self._unread = b""
        # A publisher that does not keep up is an error to report, not something to wait for.
        os.set_blocking(self._stdin, False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id; `taskset` becomes the command itself."""
        return self._process.pid

    def await_port(self, port: int, ready_path: str = "") -> None:
        """Return once `port` accepts connections and, where given, `ready_path` answers 200.

        Raises BenchError with the end of the log when the process ends before, or after START_S.
        """
        deadline = time.monotonic() + START_S
        while not _is_ready(port, ready_path):
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended at once: {self.last_words()}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.name} is not ready after {START_S:.0f} s: {self.last_words()}")
            time.sleep(_POLL_S)

    def tell(self, line: bytes) -> None:
        """Write to its stdin. Raises BenchError when it is gone."""
        try:
            os.write(self._stdin, line)
        except BrokenPipeError:
            raise BenchError(f"{self.name} is gone: {self.last_words()}") from None
        except BlockingIOError:
            raise BenchError(f"{self.name} does not keep up with its commands") from None

    def ask(self, line: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """Write `line` to its stdin; the JSON object that it answers. Raises BenchError without an answer in time."""
        self.tell(line.encode() + b"\n")
        return self.answer(timeout_s)

    def answer(self, timeout_s: float = 10.0) -> dict[str, Any]:
        """The JSON object on the next line that it says. Raises BenchError when there is none in time."""
        if self._process.stdout is None:
            raise BenchError(f"{self.name} has no output")
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise BenchError(f"{self.name} gives no answer within {timeout_s:.0f} s")
            chunk = os.read(self._process.stdout.fileno(), 65_536)
            if not chunk:
                raise BenchError(f"{self.name} ended: {self.last_words()}")
            self._unread += chunk
        answer, _, self._unread = self._unread.partition(b"\n")
        decoded: dict[str, Any] = json.loads(answer)
        return decoded

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it: politely, and firmly after STOP_S. An overloaded server is not waited for."""
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def last_words(self) -> str:
        """The last line of its log."""
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    @property
    def _stdin(self) -> int:
        if self._process.stdin is None:
            raise BenchError(f"{self.name} has no input")
        return self._process.stdin.fileno()


def get_json(port: int, path: str) -> dict[str, Any]:
    """The JSON object under `path`. Raises BenchError where there is none."""
    try:
        with _open(port, path, _ANSWER_S) as answer:
            decoded: dict[str, Any] = json.loads(answer.read())
            return decoded
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} gives no answer: {error}") from error


def get_text(port: int, path: str) -> str:
    """The text under `path`. Raises BenchError where there is none."""
    try:
        with _open(port, path, _ANSWER_S) as answer:
            return answer.read().decode()
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} gives no answer: {error}") from error


def _open(port: int, path: str, timeout_s: float) -> http.client.HTTPResponse:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: http.client.HTTPResponse = opener.open(f"http://{LOOPBACK}:{port}{path}", timeout=timeout_s)
    return answer


def _is_ready(port: int, path: str) -> bool:
    try:
        if not path:
            with socket.create_connection((LOOPBACK, port), timeout=1):
                return True
        with _open(port, path, 1) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, urllib.error.URLError):
        return False
