"""Candles in blocks: from this process, else from the bus's server, else from the exchange.

What is closed is kept; what is open is used again for OPEN_S and then asked for anew. Whoever asks for
what is being fetched waits for that answer.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, NamedTuple

import structlog

from bus.base import Bus
from market.klines import BLOCK_ROWS, PROOF_ROWS, Row, Stretch, block_start, decode_rows
from market.streams import Market
from market.venue import Unreachable, VenueRest
from server.flights import Flights
from server.history.slots import Slots

OPEN_S: Final = 1.0
"""How long open candles are given again, in s."""
CLOSED_S: Final = 60.0
"""How long closed ones are kept in the process, in s: the server and its memory are not needed for them."""
MAX_KEPT: Final = 512
"""How many stretches are kept in the process, some 90 KB each."""
HEAD_ROWS: Final = 499
"""As many of the latest candles as one request brings at the weight of a block."""

log = structlog.get_logger(__name__)


class Series(NamedTuple):
    """Which candles: market, upper-case symbol and interval."""

    market: Market
    symbol: str
    interval: str


class Blocks:
    """The candles of all series. Every method raises MarketError (rate_limited) and market.venue.RestError."""

    def __init__(self, rest: VenueRest, bus: Bus) -> None:
        self._rest = rest
        self.slots = Slots(bus)
        self.flights: Flights[Stretch] = Flights()
        self.asked_total = 0
        """Requests for candles that this process sent, or tried to send, to the exchange."""
        self._kept: OrderedDict[Hashable, tuple[float, Stretch]] = OrderedDict()

    async def head(self, series: Series) -> Stretch:
        """The latest HEAD_ROWS candles, the open one included; all there are where they are fewer."""

        async def fetch() -> Stretch:
            return Stretch(await self._ask(series, HEAD_ROWS))

        return await self._once(("head", series), fetch)

    async def block(self, series: Series, number: int) -> Stretch:
        """The candles of one block, and when the next candle after it opens."""

        async def fetch() -> Stretch:
            start_ms = max(0, block_start(series.interval, number))
            rows = await self._ask(series, BLOCK_ROWS + PROOF_ROWS, start_ms=start_ms)
            return Stretch.of_block(series.interval, number, rows)

        return await self._once(("block", series, number), lambda: self._shared(series, f"{number}", fetch))

    async def before(self, series: Series, number: int, block: Stretch) -> Stretch:
        """The last candle before an empty `block` of that number, or none."""

        async def fetch() -> Stretch:
            end_ms = block_start(series.interval, number) - 1
            rows = await self._ask(series, 1, end_ms=end_ms) if end_ms >= 0 else ()
            return Stretch(rows, block.later_ms, block.closed)

        return await self._once(("before", series, number), lambda: self._shared(series, f"{number} before", fetch))

    async def close(self) -> None:
        """End what is under way."""
        await self.flights.close()

    async def _once(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Stretch]]) -> Stretch:
        deadline, kept = self._kept.get(key, (0.0, None))
        if kept is not None and time.monotonic() < deadline:
            self._kept.move_to_end(key)
            return kept

        async def work_and_keep() -> Stretch:
            asked_at = time.monotonic()
            stretch = await work()
            self._kept[key] = asked_at + (CLOSED_S if stretch.closed else OPEN_S), stretch
            self._kept.move_to_end(key)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
            return stretch

        return await self.flights.join(key, work_and_keep)

    async def _shared(self, series: Series, place: str, fetch: Callable[[], Coroutine[Any, Any, Stretch]]) -> Stretch:
        """What the bus's server has; else what `fetch` brings, put there if it is closed."""
        # Candles of another exchange, a simulated one say, must never be taken for this one's.
        name = f"{self._rest.bases[series.market]} {series.market}:{series.symbol}@{series.interval} {place}"
        found = await self.slots.find(name)
        if found.body is not None:
            try:
                return Stretch.decode(found.body)
            except ValueError as error:
                log.warning("no candles in a slot", slot=found.slot, name=name, error=str(error))
        stretch = await fetch()
        if stretch.closed:
            await self.slots.put(name, stretch.encode(), found.slot)
        return stretch

    async def _ask(
        self, series: Series, limit: int, start_ms: int | None = None, end_ms: int | None = None
    ) -> tuple[Row, ...]:
        self.asked_total += 1
        body = await self._rest.klines(*series, limit, start_ms=start_ms, end_ms=end_ms)
        try:
            return decode_rows(body)
        except ValueError as error:
            raise Unreachable(f"{self._rest.bases[series.market]} answered no candles: {error}") from error
