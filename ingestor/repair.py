"""Messages that replicas miss: remembered here, as after an outage of the bus, or fetched from Binance's REST API."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import msgspec
import structlog

from binance import weights
from binance.rest import RestClient
from bus.base import Bus
from bus.loglimit import LogLimit
from ingestor.memory import Memory
from ingestor.rest_payloads import RestAggTrade, RestTrade, agg_trade, kline, row_close_ms, trade
from market.announcements import REPAIR_TOPIC, REPAIRED_TOPIC, KeptMessage, RepairAsk, Repaired, encode
from market.errors import MarketError
from market.klines import decode_rows
from market.messages import Message
from market.streams import Kind, Market, StreamName
from market.venue import RestError

logger = structlog.get_logger(__name__)

MAX_ASKS: Final = 64
"""Repairs under way at once; past it nobody answers, and replicas give up by themselves."""
AT_ONCE: Final = 4
"""Requests for repairs under way at once: the REST client has others to serve."""
MAX_REPAIRED: Final = 2_000
"""Messages that one repair brings at most: some 0.5 MB on the bus."""
ASK_WITHIN_S: Final = 1.0
"""A repair that has waited for longer than this to begin comes too late (server/repairs.py), in s."""
_PAGE: Final = 1_000
_ROWS: Final = 100
_AGAIN_S: Final = 0.2
"""How far behind its streams the REST API may be, in s."""

_decode_ask: Final = msgspec.json.Decoder(RepairAsk).decode
_decode_trades: Final = msgspec.json.Decoder(list[RestTrade]).decode
_decode_agg_trades: Final = msgspec.json.Decoder(list[RestAggTrade]).decode


class _Found(NamedTuple):
    """Messages of a hole by cursor, and whether nothing else ever was in it."""

    payloads: list[tuple[int, bytes]]
    complete: bool


_Fetch: TypeAlias = Callable[[StreamName, RepairAsk], Awaitable[_Found]]


class Repair:
    """Answers replicas' `RepairAsk`s, each hole once.

    Whoever remembers all that is missing says so. Otherwise the ingestor that maintains the symbol asks
    the REST API: trades as far back as `trades` reaches (1,000), aggregate trades by id, candles by open time,
    all within the request weight that is left. Make it before the bus is started.
    """

    def __init__(self, rest: RestClient, bus: Bus, memory: Memory, maintains: Callable[[Market, str], bool]) -> None:
        self._rest = rest
        self._bus = bus
        self._memory = memory
        self._maintains = maintains
        self._under_way: dict[RepairAsk, asyncio.Task[None]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._failed_log = LogLimit()
        self._fetchers: dict[Kind, _Fetch] = {
            Kind.TRADE: self._trades,
            Kind.AGG_TRADE: self._agg_trades,
            Kind.KLINE: self._klines,
        }
        self.asked_total = 0
        self.repaired_total = 0
        """Messages fetched."""
        self.remembered_total = 0
        """Messages that were remembered here."""
        self.failed_total = 0
        """Holes that could not be filled, or not entirely."""
        self._malformed_log = LogLimit()
        self.malformed_total = 0
        bus.listen(REPAIR_TOPIC, self._hear)

    async def close(self) -> None:
        """Fetch nothing more."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hear(self, body: bytes) -> None:
        try:
            ask = _decode_ask(body)
            stream = StreamName.parse(ask.stream)
        except (msgspec.DecodeError, MarketError) as error:
            self.malformed_total += 1
            if (held_back := self._malformed_log.admit()) is not None:
                logger.warning("malformed repair", error=str(error), start=body[:200], held_back=held_back)
            return
        if ask in self._under_way:
            return  # several replicas miss the same
        remembered = self._memory.between(stream, ask.after, ask.last)
        if remembered is None and not self._maintains(stream.market, stream.symbol):
            return
        self.asked_total += 1
        if len(self._under_way) >= MAX_ASKS:
            self.failed_total += 1
            return
        work = self._fetch(stream, ask) if remembered is None else self._remember(ask, remembered)
        task = asyncio.get_running_loop().create_task(work)
        self._under_way[ask] = task
        task.add_done_callback(lambda done: self._done(ask, done))

    def _done(self, ask: RepairAsk, task: asyncio.Task[None]) -> None:
        del self._under_way[ask]
        if not task.cancelled() and (error := task.exception()):
            logger.error("repair failed", stream=ask.stream, exc_info=error)

    async def _remember(self, ask: RepairAsk, remembered: Sequence[Message]) -> None:
        self.remembered_total += len(remembered)
        messages = [KeptMessage(one.cursor, one.received_us, msgspec.Raw(one.payload)) for one in remembered]
        await self._answer(ask, messages, complete=True)

    async def _fetch(self, stream: StreamName, ask: RepairAsk) -> None:
        found = _Found([], complete=False)
        asked_at = asyncio.get_running_loop().time()
        fetch = self._fetchers.get(stream.kind)
        try:
            async with self._turns:
                if fetch is not None and asyncio.get_running_loop().time() - asked_at < ASK_WITHIN_S:
                    found = await fetch(stream, ask)
        except (RestError, msgspec.MsgspecError, ValueError) as error:
            if (held_back := self._failed_log.admit()) is not None:
                logger.warning("hole not repaired", stream=ask.stream, error=str(error), held_back=held_back)
        self.repaired_total += len(found.payloads)
        self.failed_total += not found.complete
        now_us = time.time_ns() // 1_000
        messages = [KeptMessage(cursor, now_us, msgspec.Raw(payload)) for cursor, payload in found.payloads]
        await self._answer(ask, messages, complete=found.complete)

    async def _answer(self, ask: RepairAsk, messages: list[KeptMessage], *, complete: bool) -> None:
        answer = Repaired(ask.stream, ask.first, ask.last, messages, complete)
        await self._bus.announce(REPAIRED_TOPIC, encode(answer))

    async def _trades(self, stream: StreamName, ask: RepairAsk) -> _Found:
        params = {"symbol": stream.symbol.upper(), "limit": str(_PAGE)}
        for wait_s in (0.0, _AGAIN_S):
            await asyncio.sleep(wait_s)
            weight = weights.trades(stream.market)
            rows = _decode_trades(await self._rest.get(stream.market, "trades", weight, params))
            if rows and rows[-1].id >= ask.last:
                break
        payloads = [(row.id, trade(stream, row)) for row in rows if ask.first <= row.id <= ask.last]
        covered = bool(rows) and rows[0].id <= ask.first and rows[-1].id >= ask.last
        return _Found(payloads, covered)

    async def _agg_trades(self, stream: StreamName, ask: RepairAsk) -> _Found:
        payloads: list[tuple[int, bytes]] = []
        first, again = ask.first, True
        while first <= ask.last and len(payloads) < MAX_REPAIRED:
            limit = min(_PAGE, ask.last - first + 1)
            params = {"symbol": stream.symbol.upper(), "fromId": str(first), "limit": str(limit)}
            weight = weights.agg_trades(stream.market)
            rows = _decode_agg_trades(await self._rest.get(stream.market, "aggTrades", weight, params))
            payloads += [(row.a, agg_trade(stream, row)) for row in rows if first <= row.a <= ask.last]
            if rows:
                first = rows[-1].a + 1
            elif again:
                again = False
                await asyncio.sleep(_AGAIN_S)
            else:
                break
        oldest = payloads[0][0] if payloads else ask.last + 1
        # What is older than the exchange keeps is not there; ids that were never given are not either.
        return _Found(payloads, complete=first > ask.last and oldest == ask.first)

    async def _klines(self, stream: StreamName, ask: RepairAsk) -> _Found:
        interval, _, zone = stream.option.partition("@")
        params = {
            "symbol": stream.symbol.upper(),
            "interval": interval,
            "startTime": str(ask.first),
            "endTime": str(ask.last),
            "limit": str(_ROWS),
        }
        if zone:
            params["timeZone"] = "8"
        body = await self._rest.get(stream.market, "klines", weights.klines(stream.market, _ROWS), params)
        rows = [row for row in decode_rows(body) if ask.first <= row.open_ms <= ask.last]
        payloads = []
        for row in rows:
            cursor = max(row_close_ms(stream, row) + 1, ask.after)
            payloads.append((cursor, kline(stream, row, cursor, closed=True)))
        return _Found(payloads, complete=bool(rows) and rows[-1].open_ms == ask.last)
