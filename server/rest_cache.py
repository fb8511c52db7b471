"""Answers of the exchange's REST API, given to all clients that ask the same within a moment."""

import time
from collections import OrderedDict
from typing import Final, NamedTuple

from binance.rest import RestClient
from market.streams import Market
from server.flights import Flights

MAX_ANSWERS: Final = 1_024
MAX_BYTES: Final = 64 * 1024 * 1024
"""What all kept answers may take together; spot's whole exchangeInfo has some 20 MB."""


class Question(NamedTuple):
    """One GET request: what follows `/api/v3/` or `/fapi/v1/`, its parameters in order, and its weight."""

    market: Market
    path: str
    params: tuple[tuple[str, str], ...]
    weight: int


class _Kept(NamedTuple):
    asked_at: float
    body: bytes


class RestCache:
    """One replica's answers: identical questions under way are one, and what came is given again for a while.

    At most MAX_ANSWERS and MAX_BYTES are kept; beyond that the oldest is forgotten. A failure is told
    to all who wait for it and not kept.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest
        self._flights = Flights[bytes]()
        self._kept: OrderedDict[Question, _Kept] = OrderedDict()
        self._bytes = 0
        self._reused_total = 0
        self.asked_total = 0
        """Questions that went to the exchange."""

    @property
    def shared_total(self) -> int:
        """Questions that were answered with another one's answer."""
        return self._reused_total + self._flights.joined_total

    async def get(self, question: Question, ttl_s: float) -> bytes:
        """The answer, at most `ttl_s` old. Raises market.venue.RestError, MarketError (rate_limited)."""
        kept = self._kept.get(question)
        if kept is not None and time.monotonic() - kept.asked_at <= ttl_s:
            self._reused_total += 1
            return kept.body
        return await self._flights.join(question, lambda: self._ask(question))

    async def close(self) -> None:
        """End what is under way."""
        await self._flights.close()

    async def _ask(self, question: Question) -> bytes:
        asked_at = time.monotonic()
        self.asked_total += 1
        body = await self._rest.get(question.market, question.path, question.weight, dict(question.params))
        self._keep(question, _Kept(asked_at, body))
        return body

    def _keep(self, question: Question, kept: _Kept) -> None:
        replaced = self._kept.pop(question, None)
        self._bytes += len(kept.body) - (len(replaced.body) if replaced else 0)
        self._kept[question] = kept
        while len(self._kept) > MAX_ANSWERS or (self._bytes > MAX_BYTES and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)
