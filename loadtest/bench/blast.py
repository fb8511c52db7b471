"""`python -m loadtest.bench.blast PORT CLIENTS FRAMES_PER_WRITE`: sends ready frames as fast as the kernel takes them.

It shows how much the receiver can take. No server is faster: each write is one bare `send` of the same bytes.
With 0 FRAMES_PER_WRITE it sends one frame to every client for each line on stdin, and nothing else: what that
costs is the floor under any server that makes one system call for each client and update.
"""

import os
import socket
import sys
import time

from loadtest.bench.frames import server_frame

ANSWERS = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    + server_frame(b'0{"sid":"x"}')
    + server_frame(b'40{"sid":"x"}')
    + server_frame(b"430[]")
)
"""All answers of the handshake at once: the receiver takes them one after the other."""
_FRAME_BYTES = 290


def main(port: int, clients: int, frames_per_write: int) -> None:
    """Serve `clients` connections until they end."""
    with socket.create_server(("127.0.0.1", port), backlog=clients) as listener:
        sys.stdin.readline()  # "?": a trial connection would be taken for a client
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        connections = [listener.accept()[0] for _ in range(clients)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as every server here does
        connection.sendall(ANSWERS)
    try:
        if frames_per_write:
            _blast(connections, _frame(0) * frames_per_write)
        else:
            _keep_pace(connections)
    except (BrokenPipeError, ConnectionResetError):
        return


def _blast(connections: list[socket.socket], frames: bytes) -> None:
    while True:
        for connection in connections:
            connection.sendall(frames)


def _keep_pace(connections: list[socket.socket]) -> None:
    while commands := os.read(0, 4096):
        for _ in range(commands.count(b"\n")):
            frame = _frame(time.monotonic_ns() // 1000)
            for connection in connections:
                connection.sendall(frame)


def _frame(sent_us: int) -> bytes:
    mark = b"^%016d" % sent_us
    return server_frame(b"-" * (_FRAME_BYTES - len(mark)) + mark)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
