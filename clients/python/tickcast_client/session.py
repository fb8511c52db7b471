"""The connection that comes back: what is lost, waited for, opened again and resumed, and where its events go."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from .backoff import Backoff
from .errors import ENDING, ClosedError, RefusedError, TickcastError, UnreachableError
from .events import Disconnected, Draining, Event, Gap, Message, Recovered, Rejected, Status
from .inbox import Inbox
from .link import Link, OnReply
from .routes import Route, Routes

RETURN_WITHIN_S: Final = 30.0
"""How long a call waits for a connection that is away."""
STEADY_S: Final = 10.0
"""A connection that stood this long was good: the next waits begin short."""
_MESSAGES: Final = frozenset(
    {"kline", "ticker", "ticker_1h", "ticker_4h", "ticker_1d", "miniTicker", "bookTicker", "avgPrice", "depth", "book"}
    | {"trade", "aggTrade", "markPrice", "liquidation", "continuousKline"}
)

# The standard library's: an application that uses the package decides how it logs.
log = logging.getLogger(__name__)

_message: Final = msgspec.json.Decoder(Message).decode
_gap: Final = msgspec.json.Decoder(Gap).decode
_status: Final = msgspec.json.Decoder(Status).decode
_draining: Final = msgspec.json.Decoder(Draining).decode
_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def ignore(_: object) -> None:
    """The handler of answers that need none."""


class Session:
    """Keeps one connection to a service until it is closed, refused for good, or fails; `inboxes` hear of it."""

    def __init__(self, url: str, token: str | Callable[[], str] | None) -> None:
        self.token = token
        self.routes = Routes()
        self.inboxes: dict[Inbox, None] = {}
        self.replica = ""
        self.source = ""
        self.exchange = "unknown"
        self._url = url
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._end: TickcastError | None = None
        self._backoff = Backoff()
        self._retry_after_s = 0.0
        self._left_at: float | None = None
        """When the connection was lost that is not resumed yet."""
        self._lost: set[str] = set()
        self._has_expired = False
        self._companions: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        """Whether the connection stands and everything is subscribed."""
        return self._up.is_set() and self._end is None

    async def start(self) -> None:
        """Connect. Raises UnreachableError and RefusedError: the first attempt is the only one."""
        link = await self._open()
        self._task = asyncio.create_task(self._stay(link), name="tickcast session")
        try:
            await self.connected()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Leave; inboxes end behind what waits in them."""
        self._finish(ClosedError())
        tasks = [task for task in (self._task, *self._companions) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def accompany(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until it is done or the session is closed."""
        task = asyncio.create_task(work, name="tickcast companion")
        self._companions.add(task)
        task.add_done_callback(self._companions.discard)

    async def call(self, name: str, body: object, on_reply: OnReply | None = None) -> dict[str, Any]:
        """Call over the link that stands, and where it is lost meanwhile over the next one, once.

        Who is cancelled goes when the answer has come, if `on_reply` waits for it: what the server has done is known
        then. Raises RefusedError, UnreachableError after RETURN_WITHIN_S without a connection, and what ended the
        session.
        """
        link = await self.connected()
        try:
            return await _ask(link, name, body, on_reply)
        except UnreachableError:
            if self._link is link and self._end is None:
                self._up.clear()
            return await _ask(await self.connected(), name, body, on_reply)

    async def leave(self, names: list[str]) -> None:
        """Forget streams and leave them; while the connection is away they are just not asked for again."""
        self.routes.drop(names)
        if names and self.is_up and self._link is not None:
            with contextlib.suppress(UnreachableError):  # then the server has forgotten them already
                await self._link.call("unsubscribe", {"streams": names}, ignore)

    async def connected(self) -> Link:
        """The link that stands. Raises UnreachableError after RETURN_WITHIN_S, and what ended the session."""
        if self._task is None:
            raise RuntimeError("Use it as `async with connect(...) as client`")
        try:
            async with asyncio.timeout(RETURN_WITHIN_S):
                await self._up.wait()
        except TimeoutError:
            raise UnreachableError(f"No connection to {self._url} for {RETURN_WITHIN_S:g} s") from None
        if self._end is not None or self._link is None:
            raise self._end or ClosedError()
        return self._link

    async def _open(self) -> Link:
        token = self.token() if callable(self.token) else self.token
        return await Link.open(self._url, token, self._hear)

    async def _stay(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                opened_at = loop.time()
                reason = await self._serve(link)
                if loop.time() - opened_at > STEADY_S:
                    self._backoff.reset()
                if self._left_at is None:
                    self._left_at = loop.time()
                    self._announce(Disconnected(reason))
                log.info("connection lost: %s", reason)
                link = await self._reopen()
        except TickcastError as error:
            self._finish(error)
        except Exception as error:
            self._finish(TickcastError("internal_error", f"The client failed: {error!r}"))
            log.exception("the client failed")

    async def _serve(self, link: Link) -> str:
        """Resume on a new link and stay until it is lost; why it was. Raises RefusedError where that is for good."""
        self._link, self._has_expired = link, False
        running = asyncio.create_task(link.run(), name="tickcast link")
        try:
            with contextlib.suppress(UnreachableError):  # lost already: `running` says why
                await self._resume(link)
                self._up.set()
            return await running
        except RefusedError as error:
            if self._has_expired and callable(self.token):
                return "the token has expired"
            if self._has_expired:
                raise RefusedError("token_expired", "The token has expired") from error
            if error.code in ENDING:
                raise
            self._retry_after_s = error.retry_after_s or 0.0
            return str(error)
        finally:
            if self._end is None:
                self._up.clear()
            await link.close()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)  # it was awaited, or does not matter any more

    async def _reopen(self) -> Link:
        """Connect again, however often it takes. Raises RefusedError where that is in vain."""
        while True:
            wait_s, self._retry_after_s = max(self._backoff.next_s(), self._retry_after_s), 0.0
            await asyncio.sleep(wait_s)
            try:
                return await self._open()
            except (UnreachableError, RefusedError) as error:
                if error.code in ENDING:
                    raise
                self._retry_after_s = error.retry_after_s or 0.0
                log.info("not connected again yet: %s", error)

    async def _resume(self, link: Link) -> None:
        """Subscribe everything again from where it was, but for what is left while that is asked for."""
        joined: set[str] = set()
        for routes in self.routes.resume():
            reply = await link.call("subscribe", self.routes.request(routes), partial(self._resumed, routes))
            joined.update(entry["stream"] for entry in reply["subscribed"])
        while left := [name for name in joined if name not in self.routes]:
            await link.call("unsubscribe", {"streams": left}, ignore)
            joined.difference_update(left)
        if self._left_at is not None:
            away_s = asyncio.get_running_loop().time() - self._left_at
            self._announce(Recovered(away_s, self.replica, tuple(sorted(self._lost))))
            self._left_at = None
            self._lost.clear()

    def _resumed(self, routes: list[Route], reply: dict[str, Any]) -> None:
        self._lost.update(self.routes.resumed(routes, reply))

    def _finish(self, error: TickcastError) -> None:
        self._end = self._end or error
        self._up.set()  # whoever waits learns of the end
        for inbox in self.inboxes:
            inbox.end(error)

    def _announce(self, event: Event) -> None:
        for inbox in self.inboxes:
            inbox.put(event)

    def _hear(self, name: str, body: msgspec.Raw) -> None:
        """Take one event of the server's; events of others, emitted through the control plane, are not for us."""
        if name in _MESSAGES:
            self.routes.deliver(_message(body))
        elif name == "gap":
            self.routes.deliver(_gap(body))
        elif name == "status":
            status = _status(body)
            self.exchange, self.source, self.replica = status.exchange, status.source, status.replica
            self._announce(status)
        elif name == "draining":
            self._announce(_draining(body))
        elif name == "connected":
            greeting = _object(body)
            self.replica, self.source = greeting["replica"], greeting["source"]
        elif name == "error":
            self._take_error(_object(body))

    def _take_error(self, body: dict[str, Any]) -> None:
        error = RefusedError.from_body(body)
        self._has_expired = self._has_expired or error.code == "token_expired"
        if "stream" in body:
            self.routes.deliver(Rejected(body["stream"], error.code, error.message, error.suggestion))
        else:
            log.warning("the server says: %s", error)


async def _ask(link: Link, name: str, body: object, on_reply: OnReply | None) -> dict[str, Any]:
    """Call; with `on_reply` a cancellation goes on behind the answer."""
    if on_reply is None:
        return await link.call(name, body, ignore)
    asking = asyncio.create_task(link.call(name, body, on_reply))
    try:
        return await asyncio.shield(asking)
    except asyncio.CancelledError:
        await asyncio.wait([asking])
        raise
    finally:
        asking.cancel()  # who is cancelled again does not wait any longer
