"""A reader at work: one folder, terminals, and what is typed into them as it is printed, but for addresses."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

import httpx

from tests.docs.blocks import Block, expected
from tests.support.processes import ROOT, wait_until

COMMAND_S: Final = 60.0
SNIPPET_S: Final = 60.0
LEAVE_S: Final = 30.0
MOUNT: Final = Path(__file__).parent / "mount.cjs"
_READY: Final = re.compile(r"^Tickcast (?:serves|is ready)", re.MULTILINE)
# Names that a page explains and its snippets go on using: what a reader has at the top of the file.
PRELUDES: Final = {
    "connect": 'import { connect } from "tickcast-client";',
    "client": 'const client = connect("http://localhost:8080");',
}


class Addresses(NamedTuple):
    """What stands for what a page says: ports, and hosts that are not this machine."""

    ports: Mapping[int, int]
    words: Mapping[str, str]

    def put_into(self, text: str) -> str:
        """`text` as it is typed here."""
        for word, here in self.words.items():
            text = text.replace(word, here)
        return re.sub(r"\b\d{4}\b", lambda found: str(self.ports.get(int(found[0]), found[0])), text)


class Session:
    """Runs the blocks of one page in order.

    A snippet has done its work once it has ended well, or has printed something and goes on. What a page starts
    in terminals of its own ends with the session.
    """

    def __init__(self, folder: Path, addresses: Addresses, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._cwd = folder
        self._addresses = addresses
        self._env = {**os.environ, "CI": "true", **env}
        self._terminals: dict[str, subprocess.Popen[bytes]] = {}
        self._outputs: dict[str, Path] = {}
        self._places: dict[str, Path] = {}
        self._printed = ""
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._terminals):
            self.interrupt(name)

    def run(self, block: Block) -> None:
        """Do what a reader does with the block. Raises AssertionError where it does not do what the page says."""
        if block.directive in {"not run", "run by", "step"} or block.language in {"json", "yaml", "toml"}:
            return
        code = self._addresses.put_into(block.code)
        if block.directive == "prints":
            self._compare(block, code)
        elif block.directive == "file":
            path = self._folder / block.argument
            assert path.parent.is_dir(), f"{block.where}: there is no folder {path.parent.name} yet"
            path.write_text(code)
        elif block.directive == "parsed only":
            self._parse(block, code)
        elif block.directive == "terminal":
            self._open(block, code)
        elif block.language == "bash":
            self._type(block, code)
        else:
            self._execute(block, code)

    def interrupt(self, terminal: str) -> None:
        """Press Ctrl-C in a terminal, and wait until what ran there has ended."""
        child = self._terminals.pop(terminal)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)
        try:
            child.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(5)
            raise AssertionError(f"Ctrl-C does not end what runs in the terminal {terminal}") from None

    def shown(self, terminal: str) -> str:
        """What stands in a terminal."""
        return self._outputs[terminal].read_text(errors="replace")

    def says_ready(self, terminal: str) -> bool:
        """Whether the service in a terminal has said that it serves. Raises AssertionError if it has ended instead."""
        shown = self.shown(terminal)
        assert self.is_running(terminal), shown
        return bool(_READY.search(shown))

    def is_running(self, terminal: str) -> bool:
        """Whether what was started in a terminal goes on."""
        return self._terminals[terminal].poll() is None

    def _open(self, block: Block, code: str) -> None:
        name = block.argument
        if name in self._terminals:
            self.interrupt(name)
        self._outputs[name] = output = self._folder / f".terminal-{self._number()}"
        # A new terminal stands where the first one stood, one that is used again where it was left.
        place = self._places.setdefault(name, self._folder / f".place-{name}")
        cwd = Path(place.read_text().strip()) if place.exists() else self._folder
        remembering = f"cd() {{ builtin cd \"$@\" && pwd > '{place}'; }}\n" if block.language == "bash" else ""
        self._terminals[name] = self._start(self._command(block, remembering + code, cwd), output, cwd)

    def _type(self, block: Block, code: str) -> None:
        place = self._folder / ".place"
        script = f"{code}\npwd > '{place}'"
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self._cwd,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert ended.returncode == 0, f"{block.where} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        self._printed = ended.stdout
        self._cwd = Path(place.read_text().strip())

    def _parse(self, block: Block, code: str) -> None:
        subprocess.run(["bash", "-n", "-c", code], check=True, timeout=COMMAND_S)
        for line in code.splitlines():
            words = line.partition("#")[0].split()
            assert words[0] == "make", f"{block.where}: only make can be asked what it would do"
            subprocess.run([*words, "-n"], cwd=ROOT, check=True, capture_output=True, timeout=COMMAND_S)

    def _execute(self, block: Block, code: str) -> None:
        """Run a program until it has ended well or has something to show; show what it says if it fails."""
        output, errors = (self._folder / f".{kind}-{self._number()}" for kind in ("output", "errors"))
        child = self._start(self._command(block, code, self._cwd), output, self._cwd, errors)
        try:
            wait_until(lambda: child.poll() is not None or bool(output.read_bytes()), block.where, SNIPPET_S)
            assert child.poll() in {None, 0}, f"{block.where} failed:\n{errors.read_text()}"
        finally:
            _end(child)
        assert not errors.read_text(), f"{block.where} complained:\n{errors.read_text()}"

    def _command(self, block: Block, code: str, cwd: Path) -> Sequence[str]:
        if block.language == "bash":
            return ["bash", "-euo", "pipefail", "-c", code]
        if block.language == "python":
            return [sys.executable, "-u", "-c", code]
        if block.language == "jsx":
            path = cwd / f".snippet-{self._number()}.jsx"
            path.write_text(code)
            return ["node", str(MOUNT), str(path), self._addresses.put_into("http://localhost:8080")]
        path = cwd / f".snippet-{self._number()}.{'cjs' if 'require(' in code else 'mjs'}"
        path.write_text(self._addresses.put_into(with_prelude(code)))
        return ["node", str(path)]

    def _start(
        self, command: Sequence[str], output: Path, cwd: Path, errors: Path | None = None
    ) -> subprocess.Popen[bytes]:
        with output.open("wb") as out, (errors or output).open("ab") as err:
            return subprocess.Popen(
                command,
                cwd=cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def _compare(self, block: Block, sample: str) -> None:
        printed, patterns = self._printed.splitlines(), expected(sample)
        assert len(printed) == len(patterns), f"{block.where}: it printed {self._printed}"
        for line, pattern in zip(printed, patterns, strict=True):
            assert pattern.fullmatch(line), f"{block.where}: it printed {line}"

    def _number(self) -> int:
        self._count += 1
        return self._count


def with_prelude(code: str) -> str:
    """A snippet with the lines above it that its page has explained before."""
    missing = [
        line for name, line in PRELUDES.items() if re.search(rf"\bclient\.|\b{name}\(", code) and not _makes(name, code)
    ]
    return "".join(f"{line}\n" for line in missing) + code


def _makes(name: str, code: str) -> bool:
    return bool(re.search(rf"(?:const|import) (?:\{{ )?{name}\b", code))


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(5)


def terminals_of(blocks: Sequence[Block]) -> Iterator[str]:
    """The commands that a page starts and leaves running."""
    return (block.code for block in blocks if block.directive == "terminal")


def is_healthy(url: str) -> bool:
    """Whether a service there serves, and has its feed."""
    try:
        return bool(httpx.get(f"{url}/health").json().get("status") == "healthy")
    except (httpx.TransportError, ValueError):
        return False
