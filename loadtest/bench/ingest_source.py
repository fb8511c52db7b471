"""`python -m loadtest.bench.ingest_source PORT RECORDING...`: plays recorded frames over Binance's WebSocket surface.

On stdin `play <frames/s>` begins, `stop` ends, `?` just asks; each is answered with
`{"sent": <frames since the start>, "subscribed": <of the recorded streams, how many somebody wants>}`.
The end of stdin ends the process.
"""

import asyncio
import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from loadtest.bench.commands import obey
from loadtest.bench.ingest_frames import RecordedFrame, read_frames
from loadtest.bench.processes import LOOPBACK

TICK_S: Final = 0.002
_BUFFERED_MAX: Final = 4 * 1024 * 1024
"""While so many bytes wait for the reader, nothing is sent: what is due stays due, and is late when it goes."""
_BATCH_MAX: Final = 2_000


class Source:
    """Sends the frames in turn, at a rate, each to the connection that subscribed to its stream last."""

    def __init__(self, frames: list[RecordedFrame]) -> None:
        self._names = {frame.name for frame in frames}
        self._frames = cycle(frames)
        self._carriers: dict[str, ServerConnection] = {}
        self._sent = 0
        self._playing: asyncio.Task[None] | None = None

    async def serve(self, connection: ServerConnection) -> None:
        """Acknowledge what one client asks for, until it leaves."""
        async for text in connection:
            request = json.loads(text)
            await connection.send(json.dumps({"result": None, "id": request["id"]}))
            for name in self._names.intersection(request["params"]):
                if request["method"] == "SUBSCRIBE":
                    self._carriers[name] = connection
                elif self._carriers.get(name) is connection:
                    del self._carriers[name]

    async def carry_out(self, line: str) -> dict[str, int]:
        """Carry out one command; how things stand then. Raises ValueError for an unknown one."""
        word, _, rate = line.partition(" ")
        if word not in ("play", "stop", "?"):
            raise ValueError(f"unknown command: {line}")
        if word != "?":
            await self._stop()
        if word == "play":
            self._playing = asyncio.create_task(self._play(float(rate)))
        return {"sent": self._sent, "subscribed": len(self._carriers)}

    async def _stop(self) -> None:
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.cancel()
            await asyncio.wait([playing])

    async def _play(self, rate: float) -> None:
        """Send frame after frame. Its moment is when it was due, not when we came to it: being late is lag, too."""
        began_us, done = time.time_ns() // 1000, 0
        while True:
            elapsed_s = (time.time_ns() // 1000 - began_us) / 1e6
            due = min(int(elapsed_s * rate) - done, _BATCH_MAX)
            if due > 0 and all(_has_room(connection) for connection in self._carriers.values()):
                self._send([began_us + int((done + number) * 1e6 / rate) for number in range(due)])
                done += due
            await asyncio.sleep(TICK_S)

    def _send(self, moments_us: list[int]) -> None:
        batches: dict[ServerConnection, list[bytes]] = {}
        for frame, moment_us in zip(islice(self._frames, len(moments_us)), moments_us, strict=True):
            batches.setdefault(self._carriers[frame.name], []).append(frame.at(moment_us))
        for connection, batch in batches.items():
            connection.transport.write(b"".join(batch))
        self._sent += len(moments_us)


def _has_room(connection: ServerConnection) -> bool:
    return connection.transport.get_write_buffer_size() < _BUFFERED_MAX


async def main(port: int, recordings: list[Path]) -> None:
    """Serve until stdin ends."""
    source = Source(read_frames(recordings))
    async with serve(source.serve, LOOPBACK, port, compression=None):
        await obey(source.carry_out)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
