"""`python -m loadtest.bench.blast PORT CLIENTS FRAMES_PER_WRITE`: sends ready frames as fast as the kernel takes them.

It shows how much the receiver can take. No server is faster: each write is one bare `send` of the same bytes.
"""

import socket
import sys

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
    mark = b"^" + b"0" * 16
    frames = server_frame(b"-" * (_FRAME_BYTES - len(mark)) + mark) * frames_per_write
    with socket.create_server(("127.0.0.1", port), backlog=clients) as listener:
        sys.stdin.readline()  # "?": a trial connection would be taken for a client
        sys.stdout.write("{}\n")
        sys.stdout.flush()
        connections = [listener.accept()[0] for _ in range(clients)]
    for connection in connections:
        connection.sendall(ANSWERS)
    try:
        while True:
            for connection in connections:
                connection.sendall(frames)
    except (BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
