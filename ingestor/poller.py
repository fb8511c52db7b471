"""When a stream falls silent, its state is polled: Binance's REST API, once a second, until the stream lives again."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from binance.errors import BinanceError
from binance.rest import RestClient
from binance.weights import MINUTE_S, SHARE, WEIGHT_PER_MINUTE
from bus.base import Bus
from bus.loglimit import LogLimit
from ingestor.polls import Poll, is_polled, polls_for, read_answer
from ingestor.rest_payloads import SOURCE_MARK, says_more
from market.cursors import cursor_of
from market.messages import Message
from market.streams import BINANCE_MARKETS, Kind, Market, StreamName
from market.venue import RateLimited, RestError

logger = structlog.get_logger(__name__)

SILENT_AFTER_S: Final = 2.0
"""How long a stream may say nothing before it is polled, in s, unless it speaks at longer intervals anyway."""
EVERY_S: Final = 1.0
"""How often a silent stream is polled, in s, while that brings news and the weight suffices."""
QUIET_EVERY_S: Final = 30.0
"""How often at last, where polls bring nothing new: then the market is quiet and the stream is right to be."""
PART: Final = 0.5
"""The part of our request weight that polling takes: candles, books and repairs need the rest."""
AT_ONCE: Final = 4
"""Requests under way at once."""
_TICK_S: Final = 0.25
_CLOCK_S: Final = 30.0
# Longer than the slowest stream's period: markPrice speaks every 3 s, futures' tickers and spot's klines every 2 s.
_SLOW_S: Final = {
    (Market.FUTURES, Kind.MARK_PRICE): 4.5,
    (Market.FUTURES, Kind.TICKER): 3.0,
    (Market.FUTURES, Kind.MINI_TICKER): 3.0,
    (Market.SPOT, Kind.KLINE): 3.0,
}

_decode_time: Final = msgspec.json.Decoder(dict[str, int]).decode


class _Silence:
    """One silent stream: when it is polled next, how often, and what is known of it."""

    __slots__ = ("alone", "every_s", "known", "next_s")

    def __init__(self, now: float, known: list[bytes]) -> None:
        self.next_s = now
        self.every_s = EVERY_S
        self.known = known
        """The last value that anybody published, or what the last poll brought."""
        self.alone = False
        """Whether it is asked for by itself: together with others it was refused."""


class _Allowance:
    """Weight that polling may spend in one market: it grows evenly, so that polls are spread over the minute."""

    def __init__(self, market: Market) -> None:
        self._per_s = WEIGHT_PER_MINUTE[market] * SHARE * PART / MINUTE_S
        self._limit = 4 * self._per_s
        self._left = self._limit
        self._at = time.monotonic()
        self.paused_until = 0.0

    def spend(self, weight: int, now: float) -> bool:
        """Whether `weight` is there now; if so it is spent."""
        self._left = min(self._limit, self._left + (now - self._at) * self._per_s)
        self._at = now
        if now < self.paused_until or weight > self._left:
            return False
        self._left -= weight
        return True


class Poller:
    """Polls the silent ones among a set of streams and hands what is new to `publish`.

    A stream that another ingestor brings is not silent: of those that are silent here the poller
    listens to the bus. Make it before the bus is started; `publish` must not wait.
    """

    def __init__(self, rest: RestClient, bus: Bus, publish: Callable[[Message], None]) -> None:
        self._rest = rest
        self._bus = bus
        self._publish = publish
        self._seen: dict[StreamName, float] = {}
        """When each stream that is looked after last said anything."""
        self._spoke: set[StreamName] = set()
        """What has spoken since the last tick."""
        self._silent: dict[StreamName, _Silence] = {}
        self._allowances = {market: _Allowance(market) for market in BINANCE_MARKETS}
        self._ahead_ms: dict[Market, tuple[float, int]] = {}
        """How far the exchange's clock is ahead of ours, at least, and when that was found."""
        self._polling: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._failed_log = LogLimit()
        self.polls_total = 0
        self.published_total = 0
        self.failed_total = 0
        bus.on_messages(self._hear)

    @property
    def silent(self) -> int:
        """How many streams are silent now."""
        return len(self._silent)

    def start(self) -> None:
        """Begin to look after the streams."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop polling; nothing is published afterwards."""
        tasks = [task for task in (self._task, *self._polling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def carry(self, streams: Iterable[StreamName]) -> None:
        """Look after exactly those of `streams` that the REST API can stand in for."""
        wanted = {stream for stream in streams if is_polled(stream)}
        now = time.monotonic()
        for stream in self._seen.keys() - wanted:
            del self._seen[stream]
        for stream in wanted - self._seen.keys():
            self._seen[stream] = now

    def note(self, stream: StreamName) -> None:
        """The exchange has just sent a message of `stream`."""
        self._spoke.add(stream)

    def _hear(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if not message.payload.endswith(SOURCE_MARK):
                self._spoke.add(message.stream)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                await self._tick(time.monotonic())
            except Exception:  # what fails now may not fail at the next tick
                logger.exception("not polled")

    async def _tick(self, now: float) -> None:
        spoke, self._spoke = self._spoke, set()
        for stream in spoke & self._seen.keys():
            self._seen[stream] = now
        silent = {
            stream
            for stream, seen in self._seen.items()
            if now - seen > _SLOW_S.get((stream.market, stream.kind), SILENT_AFTER_S)
        }
        await self._note_silence(silent, now)
        due = sorted(
            (stream for stream, silence in self._silent.items() if silence.next_s <= now),
            key=lambda stream: self._silent[stream].next_s,
        )
        together = [stream for stream in due if not self._silent[stream].alone]
        alone = [stream for stream in due if self._silent[stream].alone]
        for poll in (*polls_for(together), *(poll for stream in alone for poll in polls_for((stream,)))):
            if len(self._polling) >= AT_ONCE:
                break
            if not self._allowances[poll.market].spend(poll.weight, now):
                continue
            for stream in poll.streams:
                self._silent[stream].next_s = now + self._silent[stream].every_s
            task = asyncio.get_running_loop().create_task(self._poll(poll))
            self._polling.add(task)
            task.add_done_callback(self._polling.discard)

    async def _note_silence(self, silent: set[StreamName], now: float) -> None:
        ended, begun = self._silent.keys() - silent, list(silent - self._silent.keys())
        for stream in ended:
            del self._silent[stream]
        if ended:
            await self._bus.unsubscribe(ended)
            logger.info("streams speak again", streams=len(ended), silent=len(self._silent))
        if begun:
            await self._bus.subscribe(begun)
            values = await self._bus.get([stream.last_key for stream in begun])
            for stream, value in zip(begun, values, strict=True):
                known = [] if value is None else [Message.decode(stream, value).payload]
                self._silent[stream] = _Silence(now, known)
            logger.info("silent streams are polled", streams=len(begun), silent=len(self._silent))

    async def _poll(self, poll: Poll) -> None:
        market = poll.market
        self.polls_total += 1
        try:
            ahead_ms = await self._ahead(market)
            event_ms = time.time_ns() // 1_000_000 + ahead_ms
            body = await self._rest.get(market, poll.path, poll.weight, dict(poll.params))
            found: dict[StreamName, list[bytes]] = {}
            for stream, payload in read_answer(poll, body, event_ms):
                found.setdefault(stream, []).append(payload)
            for stream, payloads in found.items():
                self._take(stream, payloads)
        except RateLimited as error:
            self._allowances[market].paused_until = time.monotonic() + error.retry_after_s
            self._note_failure(poll, error)
        except BinanceError as error:
            self._take_refusal(poll)
            self._note_failure(poll, error)
        except (RestError, msgspec.MsgspecError, ValueError, KeyError) as error:
            self._note_failure(poll, error)

    def _take(self, stream: StreamName, payloads: list[bytes]) -> None:
        """Publish what a poll brought of one stream, unless it is known already or the stream lives."""
        silence = self._silent.get(stream)
        if silence is None or stream in self._spoke:
            return
        news = [payload for payload in payloads if all(says_more(payload, known) for known in silence.known)]
        silence.every_s = EVERY_S if news else min(2 * silence.every_s, QUIET_EVERY_S)
        silence.known = payloads
        received_us = time.time_ns() // 1_000
        for payload in news:
            self._publish(Message(stream, cursor_of(stream, payload), received_us, payload))
            self.published_total += 1

    def _take_refusal(self, poll: Poll) -> None:
        """One symbol that is not listed has the request refused for all: find out which."""
        for stream in poll.streams:
            if (silence := self._silent.get(stream)) is not None:
                silence.alone = True
                if len(poll.streams) == 1:
                    silence.every_s = min(2 * silence.every_s, QUIET_EVERY_S)

    async def _ahead(self, market: Market) -> int:
        """By how many ms at least the exchange's clock is ahead of ours: what it sends later has a later time."""
        found_at, ahead_ms = self._ahead_ms.get(market, (-_CLOCK_S, 0))
        if time.monotonic() - found_at < _CLOCK_S:
            return ahead_ms
        body = await self._rest.get(market, "time", 1)
        ahead_ms = _decode_time(body)["serverTime"] - time.time_ns() // 1_000_000
        self._ahead_ms[market] = (time.monotonic(), ahead_ms)
        return ahead_ms

    def _note_failure(self, poll: Poll, error: Exception) -> None:
        self.failed_total += 1
        if (held_back := self._failed_log.admit()) is not None:
            logger.warning("poll failed", path=poll.path, error=str(error), held_back=held_back)
