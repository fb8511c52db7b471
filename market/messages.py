"""One market-data message and its form on the bus."""

from typing import Self

import msgspec

from market.streams import StreamName


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message of one stream; `payload` is Binance's JSON, byte for byte, or Bybit's mapped to it.

    `cursor` orders the stream and comes from the payload (market/cursors.py); `received_us` is
    when the ingestor read it, in us since the epoch.
    """

    stream: StreamName
    cursor: int
    received_us: int
    payload: bytes

    def encode(self) -> bytes:
        """The message on the bus: `<cursor> <received_us> <payload>`, readable with redis-cli."""
        return b"%d %d %b" % (self.cursor, self.received_us, self.payload)

    @classmethod
    def decode(cls, stream: StreamName, data: bytes) -> Self:
        """The message that `encode` wrote. Raises ValueError for anything else."""
        cursor, received_us, payload = data.split(b" ", 2)
        return cls(stream, int(cursor), int(received_us), payload)
