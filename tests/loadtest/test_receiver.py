"""receiver.c against a server that sends byte by byte, and one that misbehaves."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.bench.frames import client_frame, handshake, receiver_arguments, server_frame
from loadtest.bench.processes import LOOPBACK, BenchError, Child

UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
ANSWERS = (server_frame(b'0{"sid":"x"}'), server_frame(b'40{"sid":"x"}'), server_frame(b"430[]"))
SCRIPT = handshake("host", ["a"])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(5)
        yield server


@pytest.fixture
def child(receiver: Path, listener: socket.socket, tmp_path: Path) -> Iterator[Child]:
    argv = (str(receiver), LOOPBACK, str(listener.getsockname()[1]), "0", *receiver_arguments(SCRIPT))
    with Child("receiver", argv, min(os.sched_getaffinity(0)), tmp_path) as started:
        yield started


@contextlib.contextmanager
def subscribed(child: Child, listener: socket.socket) -> Iterator[socket.socket]:
    """The server's end of one client that has gone through the handshake."""
    child.tell(b"open 1 1\n")
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        assert read(connection, len(SCRIPT.request)) == SCRIPT.request
        connection.sendall(UPGRADED)
        for answer, step in zip(ANSWERS, SCRIPT.steps, strict=True):
            connection.sendall(answer)
            assert read(connection, len(step.answer)) == step.answer
        opened = child.answer()
        assert (opened["opened"], opened["failed"]) == (1, 0)
        yield connection


def read(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        data += connection.recv(length - len(data))
    return data


def message(size: int = 100) -> bytes:
    return server_frame(b"-" * (size - 17) + b"^%016d" % (time.monotonic_ns() // 1000))


def take(child: Child, messages: int) -> dict[str, int]:
    """What arrived, once `messages` did."""
    total: dict[str, int] = {}
    deadline = time.monotonic() + 5
    while total.get("messages", 0) < messages and time.monotonic() < deadline:
        for key, value in child.ask("take").items():
            total[key] = max(total.get(key, 0), value) if key.endswith("_us") else total.get(key, 0) + value
    return total


def large(frame: bytes) -> bytes:
    """A frame with a length of 16 bits, rewritten with one of 64 (RFC 6455, 5.2)."""
    return bytes((frame[0], 127)) + int.from_bytes(frame[2:4], "big").to_bytes(8, "big") + frame[4:]


def test_frames_are_counted_however_they_are_cut(child: Child, listener: socket.socket) -> None:
    with subscribed(child, listener) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frames = message() + large(message(300)) + server_frame(b'42["status",{}]') + message(40_000) + message()
        for byte in frames[:450]:
            connection.sendall(bytes((byte,)))
        connection.sendall(frames[450:])
        seen = take(child, 4)
    assert seen["messages"] == 4
    assert seen["others"] == 1
    assert seen["bytes"] >= len(frames)


def test_latency_is_told_from_the_stamp_in_the_message(child: Child, listener: socket.socket) -> None:
    with subscribed(child, listener) as connection:
        late = server_frame(b"^%016d" % (time.monotonic_ns() // 1000 - 5_000_000))
        connection.sendall(message() * 98 + late * 2)
        seen = take(child, 100)
    assert seen["p50_us"] < 5_000_000
    assert 5_000_000 <= seen["p99_us"] < 7_000_000
    assert 5_000_000 <= seen["max_us"] < 7_000_000


def test_pings_are_answered(child: Child, listener: socket.socket) -> None:
    with subscribed(child, listener) as connection:
        connection.sendall(server_frame(b"2"))
        pong = client_frame(b"3")
        assert read(connection, len(pong)) == pong


@pytest.mark.parametrize("refusal", [b"HTTP/1.1 403 Forbidden\r\n\r\n", UPGRADED + b"\x81\x80mask", b""])
def test_a_client_that_is_refused_counts_as_failed(child: Child, listener: socket.socket, refusal: bytes) -> None:
    child.tell(b"open 1 1\n")
    connection, _ = listener.accept()
    with connection:
        read(connection, len(SCRIPT.request))
        connection.sendall(refusal)
    answer = child.answer()
    assert (answer["opened"], answer["failed"]) == (0, 1)


def test_a_client_that_is_closed_later_counts_as_closed(child: Child, listener: socket.socket) -> None:
    with subscribed(child, listener):
        pass
    deadline = time.monotonic() + 5
    closed = 0
    while not closed and time.monotonic() < deadline:
        closed = child.ask("take")["closed"]
    assert closed == 1


def test_an_unknown_command_ends_it_with_a_message(child: Child) -> None:
    with pytest.raises(BenchError, match="no such command: dance"):
        child.ask("dance")
