"""What programs use: connect, subscribe, read candles of the past, close."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Iterable
from typing import Any, Final, Self

from .candles import Candle, CandleSeries
from .errors import RefusedError, TickcastError
from .events import Message, Rejected
from .routes import Terms, request_of
from .session import Session
from .subscription import Subscription

MAX_WAITING: Final = 10_000
MAX_CANDLES: Final = 10_000
"""What the service gives in one answer."""
HISTORY_AGE_S: Final = 1.0
"""How old the latest candle of an answer may be."""
_ATTEMPTS: Final = 5
_RETRIED: Final = frozenset({"rate_limited", "upstream_unavailable", "unavailable"})

# The standard library's: an application that uses the package decides how it logs.
log = logging.getLogger(__name__)


class Client:
    """A connection to Tickcast that returns by itself, resumes each stream where it was, and says what was lost.

    Made by `connect`, used as an asynchronous context manager; the first attempt to connect is made once, and raises
    UnreachableError or RefusedError. All methods raise ClosedError after the end, or what ended it.
    """

    def __init__(self, url: str, token: str | Callable[[], str] | None) -> None:
        self._session = Session(url, token)

    async def __aenter__(self) -> Self:
        await self._session.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        """Whether the connection stands and everything is subscribed."""
        return self._session.is_up

    @property
    def replica(self) -> str:
        """The name of the replica that serves this client, or did last; empty until it has said so."""
        return self._session.replica

    @property
    def source(self) -> str:
        """Where the data comes from: `binance`, `simulated`, `replay`; empty until the replica has said so."""
        return self._session.source

    @property
    def exchange(self) -> str:
        """How the exchange's feed stands: `connected`, `disconnected`, or `unknown` until the replica says so."""
        return self._session.exchange

    async def subscribe(
        self, *streams: str, throttle_ms: int | None = None, snapshot: bool = True, max_waiting: int = MAX_WAITING
    ) -> Subscription:
        """Subscribe to `streams` (`spot:btcusdt@trade`; names: docs/protocol.md); a stream has one subscription.

        `throttle_ms` (100, 250, 500, 1000): of state streams at most one message an interval, the latest. `snapshot`:
        the latest message of a state stream, the whole of a book, comes first. Some may be refused: see `rejected`.
        Raises RefusedError where all are, UnreachableError where there is no connection for 30 s.
        """
        subscription = Subscription(self, Terms(throttle_ms, snapshot), max_waiting)
        self._session.inboxes[subscription.inbox] = None
        try:
            await subscription.add(*streams)
        except BaseException:
            await self.forget(subscription)
            raise
        return subscription

    async def history(
        self,
        symbol: str,
        interval: str,
        *,
        market: str = "spot",
        limit: int = 500,
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> list[Candle]:
        """Candles of the past, oldest first, at most 10,000; the last may still be open.

        With `start_ms` the oldest that open from there on, otherwise the latest. Raises as `subscribe` does.
        """
        body = {"symbol": symbol, "interval": interval, "market": market, "limit": limit}
        times = {"startTime": start_ms, "endTime": end_ms}
        given = {name: time for name, time in times.items() if time is not None}
        answer = await self._session.call("getHistoricalKlines", {**body, **given})
        return [Candle.from_row(row) for row in answer["klines"]]

    async def candles(
        self, symbol: str, interval: str, *, market: str = "spot", limit: int = 500, throttle_ms: int | None = None
    ) -> AsyncGenerator[Candle]:
        """Candles of the past, then live ones: each closed one once and in order, the open one whenever it changes.

        Candles that closed while the client was away are fetched. Raises as `subscribe` does. End it with `aclose`
        (contextlib.aclosing), or end the client.
        """
        stream = f"{market}:{symbol.lower()}@kline_{interval}"
        subscription = await self.subscribe(stream, throttle_ms=throttle_ms)
        series = CandleSeries()
        try:
            for candle in series.begin(await self._patiently(symbol, interval, market=market, limit=limit)):
                yield candle
            async for event in subscription:
                if isinstance(event, Rejected):
                    raise RefusedError(event.code, event.message)
                if not isinstance(event, Message):
                    continue
                live = Candle.from_payload(event.data)
                async for candle in self._filling(series, live, symbol, interval, market):
                    yield candle
                for candle in series.take(live):
                    yield candle
        finally:
            await subscription.close()

    async def authenticate(self, token: str) -> None:
        """Show another token of the same subject before the first one ends; it is shown at reconnects, too.

        Streams that it does not cover end with a Rejected. Raises as `subscribe` does.
        """
        await self._session.call("authenticate", {"token": token}, self._renewed)
        if not callable(self._session.token):
            self._session.token = token

    async def close(self) -> None:
        """Leave; subscriptions end behind what waits in them."""
        await self._session.close()

    def streams_of(self, subscription: Subscription) -> list[str]:
        """For Subscription: the full names of its streams."""
        return self._session.routes.of(subscription.inbox)

    async def join(self, subscription: Subscription, streams: Collection[str], terms: Terms) -> list[Rejected]:
        """For Subscription: add streams; what was refused.

        What another subscription has is not asked for: its pace would become this one's. What the server has added
        for a caller that was cancelled, or a subscription that was closed, is left again.
        """
        routes, inbox = self._session.routes, subscription.inbox
        await self._session.connected()
        refused = routes.held_by_others(inbox, streams)
        held = {rejected.stream for rejected in refused}
        asked = [stream for stream in streams if stream not in held]
        if held and not asked:
            return refused
        added: list[str] = []

        def digest(reply: dict[str, Any]) -> None:
            added.extend(entry["stream"] for entry in reply["subscribed"] if entry["stream"] not in routes)
            refused.extend(routes.digest(inbox, terms, reply))

        is_wanted = False
        try:
            await self._session.call("subscribe", request_of(asked, terms), digest)
            is_wanted = inbox in self._session.inboxes
        finally:
            if not is_wanted:
                await self._session.leave(added)
        return refused

    def renew(self, subscription: Subscription, book: str) -> None:
        """For Subscription: have a book that lost a change begin anew, however long that takes."""
        self._session.accompany(self._renew(subscription, book))

    async def leave(self, streams: Iterable[str]) -> list[str]:
        """For Subscription: leave streams; the full names of those left. Raises RefusedError for a part of ALL."""

        def digest(reply: dict[str, Any]) -> None:
            self._session.routes.drop(reply["unsubscribed"])

        reply = await self._session.call("unsubscribe", {"streams": list(streams)}, digest)
        if reply["rejected"]:
            raise RefusedError.from_body(reply["rejected"][0])
        return list(reply["unsubscribed"])

    async def forget(self, subscription: Subscription) -> None:
        """For Subscription: leave everything."""
        self._session.inboxes.pop(subscription.inbox, None)
        await self._session.leave(self.streams_of(subscription))

    async def _renew(self, subscription: Subscription, book: str) -> None:
        """Ask until the server has agreed, or nobody waits for the book's snapshot any more."""
        while subscription.inbox.is_torn(book) and book in subscription.streams:
            try:
                refused = await self.join(subscription, [book], subscription.terms._replace(snapshot=True))
            except TickcastError as error:
                await asyncio.sleep(error.retry_after_s or 1.0)
                continue
            for rejected in refused:
                subscription.inbox.put(rejected)
            return

    async def _filling(
        self, series: CandleSeries, live: Candle, symbol: str, interval: str, market: str
    ) -> AsyncGenerator[Candle]:
        """The closed candles between what `series` has seen and `live`."""
        for _ in range(_ATTEMPTS):
            start_ms = series.hole_before(live)
            if start_ms is None:
                return
            rows = await self._patiently(symbol, interval, market=market, limit=MAX_CANDLES, start_ms=start_ms)
            candles, is_all = series.fill(rows, live)
            for candle in candles:
                yield candle
            if is_all:
                return  # what is still missing does not exist
            await asyncio.sleep(HISTORY_AGE_S)
        log.warning("candles of %s %s are missing before %d", symbol, interval, live.open_time)

    async def _patiently(self, symbol: str, interval: str, **selection: Any) -> list[Candle]:  # noqa: ANN401 # history's
        """History that waits where the server asks for it."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self.history(symbol, interval, **selection)
            except RefusedError as error:
                if error.code not in _RETRIED:
                    raise
                await asyncio.sleep(error.retry_after_s or 1.0)
        return await self.history(symbol, interval, **selection)

    def _renewed(self, reply: dict[str, Any]) -> None:
        for name in reply["left"]:
            self._session.routes.deliver(Rejected(name, "forbidden", "The new token does not cover it"))
        self._session.routes.drop(reply["left"])


def connect(url: str, token: str | Callable[[], str] | None = None) -> Client:
    """A client, to be used as an asynchronous context manager: it connects on entering.

    `url` begins with http, https, ws or wss.

    `token` is a token or an API key (docs/auth.md), or a function that returns one, called for each connection.
    """
    return Client(url, token)
