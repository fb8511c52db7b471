"""The maintainer of order books: joins each book's diff stream to a REST snapshot and publishes both as one stream.

The procedure is market/book.py's; this is its I/O.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from binance.rest import RestClient
from bus.loglimit import LogLimit
from ingestor.memory import MAX_ANSWER_BYTES
from market.announcements import KeptMessage
from market.backoff import Backoff
from market.book import BookBuilder, Outcome, decode_book, snapshot_from_rest
from market.errors import MarketError
from market.messages import Message
from market.payloads import BookUpdate
from market.streams import Kind, Market, StreamName
from market.venue import RateLimited, RestError

logger = structlog.get_logger(__name__)

MAX_BOOKS: Final = 128
"""Books that are maintained at most; a full one takes some 5 MB."""
SNAPSHOT_LEVELS: Final = {Market.SPOT: 5_000, Market.FUTURES: 1_000}
"""What Binance's procedure asks for: weight 250 of 6,000 a minute on spot, 20 of 2,400 on futures."""


def upstream_of(stream: StreamName) -> StreamName:
    """The exchange's stream that carries `stream`: of a book on Binance its changes every 100 ms.

    Bybit's books come with their snapshots.
    """
    if stream.kind is not Kind.BOOK or stream.market is Market.BYBIT:
        return stream
    return StreamName.of(stream.market, stream.symbol, Kind.DEPTH, "100ms")


class _MaintainedBook:
    """One book and the task that fetches its snapshot, while there is one."""

    def __init__(self, stream: StreamName) -> None:
        self.stream = stream
        self.builder = BookBuilder(stream.market)
        self.received_us = 0
        """When the latest change in the book was received."""
        self.syncing: asyncio.Task[None] | None = None

    def snapshot(self) -> Message | None:
        """The whole book as a message, None while there is none."""
        book = self.builder.book
        return None if book is None else Message(self.stream, book.update_id, self.received_us, book.encode())


class Books:
    """Maintains a set of books and hands every message of theirs to `publish`.

    A book is fetched when its first change has come, so that nothing falls between the two; from
    then on its stream has the changes, byte for byte as the exchange sent them. After a gap, or
    where bid and ask have crossed, it is silent until it was fetched again, and continues with a
    `bookSnapshot`. Snapshots are fetched one at a time for each market.
    """

    def __init__(self, rest: RestClient, publish: Callable[[Message], None]) -> None:
        self.synced_total = 0
        """Snapshots joined: one for each book, and one after each gap."""
        self.gaps_total = 0
        self.malformed_total = 0
        self.refused: tuple[StreamName, ...] = ()
        """Books that are wanted now, beyond MAX_BOOKS."""
        self._rest = rest
        self._publish = publish
        self._by_upstream: dict[StreamName, _MaintainedBook] = {}
        self._turns = {market: asyncio.Lock() for market in SNAPSHOT_LEVELS}
        self._cancelled: set[asyncio.Task[None]] = set()
        self._malformed_log = LogLimit()

    def __len__(self) -> int:
        return len(self._by_upstream)

    def carry(self, streams: Iterable[StreamName]) -> None:
        """Maintain exactly the books among `streams` from now on, the known ones first where they are too many."""
        wanted = {upstream_of(stream): stream for stream in streams if stream.kind is Kind.BOOK}
        for upstream in self._by_upstream.keys() - wanted.keys():
            self._cancel(self._by_upstream.pop(upstream))
        added = sorted(wanted.keys() - self._by_upstream.keys())
        room = MAX_BOOKS - len(self._by_upstream)
        for upstream in added[:room]:
            self._by_upstream[upstream] = _MaintainedBook(wanted[upstream])
        refused = tuple(wanted[upstream] for upstream in added[room:])
        if refused and refused != self.refused:
            logger.warning("too many books wanted", maintained=len(self), refused=len(refused))
        self.refused = refused

    def take(self, upstream: StreamName, payload: bytes, received_us: int) -> None:
        """Take one message that was received at `received_us`; of a stream that makes no book it does nothing."""
        kept = self._by_upstream.get(upstream)
        if kept is None:
            return
        try:
            diff = decode_book(payload)
            outcome = _joined(kept.builder, diff) if diff.is_snapshot else kept.builder.add(diff)
        except (msgspec.MsgspecError, ValueError) as error:
            # The next change, which does not follow what the book has, has it fetched again.
            self._note_malformed(kept.stream, payload, error)
            return
        if outcome is Outcome.OLD:
            return
        kept.received_us = received_us
        if outcome is Outcome.APPLIED:
            self.synced_total += diff.is_snapshot
            self._publish(Message(kept.stream, diff.last_update_id, received_us, payload))
            return
        if outcome is Outcome.GAP:
            self.gaps_total += 1
            logger.warning("book has a gap", stream=str(kept.stream), update_id=diff.last_update_id)
        # Bybit's snapshots come by themselves.
        if kept.syncing is None and kept.stream != upstream:
            kept.syncing = asyncio.get_running_loop().create_task(self._sync(kept))

    def answer(self, names: Iterable[str]) -> dict[str, KeptMessage]:
        """The snapshots of the books among `names` that are maintained here, up to MAX_ANSWER_BYTES in all."""
        found: dict[str, KeptMessage] = {}
        room = MAX_ANSWER_BYTES
        for name in names:
            snapshot = self._snapshot(name)
            if snapshot is None:
                continue
            room -= len(snapshot.payload)
            if room < 0:
                break
            found[name] = KeptMessage(snapshot.cursor, snapshot.received_us, msgspec.Raw(snapshot.payload))
        return found

    async def close(self) -> None:
        """Stop fetching; nothing is published afterwards."""
        self.carry(())
        if self._cancelled:
            await asyncio.wait(self._cancelled)

    def _snapshot(self, name: str) -> Message | None:
        try:
            stream = StreamName.parse(name)
        except MarketError:  # a replica of another version may know streams that we do not
            return None
        kept = self._by_upstream.get(upstream_of(stream))
        return kept.snapshot() if kept is not None and kept.stream == stream else None

    async def _sync(self, kept: _MaintainedBook) -> None:
        """Fetch snapshots until one joins the changes held."""
        backoff = Backoff()
        market, symbol = kept.stream.market, kept.stream.symbol
        while True:
            wait_s = backoff.next_s()
            try:
                async with self._turns[market]:
                    body = await self._rest.depth(market, symbol, SNAPSHOT_LEVELS[market])
                if kept.builder.join(snapshot_from_rest(symbol, body)):
                    break
                logger.info("book snapshot does not join yet", stream=str(kept.stream), retry_s=wait_s)
            except RateLimited as error:
                wait_s = max(wait_s, error.retry_after_s)
                logger.warning("book waits for request weight", stream=str(kept.stream), retry_s=wait_s)
            except (RestError, msgspec.MsgspecError, ValueError) as error:
                logger.warning("book not fetched", stream=str(kept.stream), error=str(error), retry_s=wait_s)
            except Exception:  # a fault of ours must not leave the book silent for good
                logger.exception("book not fetched", stream=str(kept.stream), retry_s=wait_s)
            await asyncio.sleep(wait_s)
        kept.syncing = None
        snapshot = kept.snapshot()
        if snapshot is not None:
            self.synced_total += 1
            self._publish(snapshot)
            logger.info("book in sync", stream=str(kept.stream), update_id=snapshot.cursor)

    def _cancel(self, kept: _MaintainedBook) -> None:
        if kept.syncing is not None:
            kept.syncing.cancel()
            self._cancelled.add(kept.syncing)
            kept.syncing.add_done_callback(self._cancelled.discard)

    def _note_malformed(self, stream: StreamName, payload: bytes, error: Exception) -> None:
        self.malformed_total += 1
        if (held_back := self._malformed_log.admit()) is not None:
            logger.warning(
                "malformed book", stream=str(stream), error=str(error), start=payload[:200], held_back=held_back
            )


def _joined(builder: BookBuilder, snapshot: BookUpdate) -> Outcome:
    """Begin the book anew with a snapshot that came among its changes. Raises ValueError for what is no price."""
    builder.restart()
    return Outcome.APPLIED if builder.join(snapshot) else Outcome.HELD
