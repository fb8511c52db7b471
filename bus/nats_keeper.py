"""Keeps one connection's store of values usable: opens it, and again when its servers went away."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from bus.loglimit import LogLimit
from bus.nats_bucket import BucketError, NoJetStreamError
from bus.nats_requests import NoRespondersError, Requests
from bus.nats_values import NoBudgetsError, SeenStore, Store, open_bucket_store

OPEN_WAIT_S: Final = 3.0
"""How long a verb waits for the store of a new connection, in s."""
REOPEN_S: Final = 1.0

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class StoreAwayError(Exception):
    """No store could do what was asked."""


class StoreKeeper:
    """The store of one connection: JetStream's, which may be away while the connection stands, else `seen`."""

    def __init__(self, requests: Requests, seen: SeenStore) -> None:
        self._requests = requests
        self._seen = seen
        self._store: Store | None = None
        self._opened = asyncio.Event()
        self._failed = asyncio.Event()
        self._errors = LogLimit()
        self._wait_until = asyncio.get_running_loop().time() + OPEN_WAIT_S
        self._task = asyncio.create_task(self._keep_open(), name="bus values")

    async def close(self) -> None:
        """End it; the connection is its owner's."""
        self._task.cancel()
        self._opened.set()
        await asyncio.wait([self._task])

    async def use(self, verb: Callable[[Store], Awaitable[_T]]) -> _T:
        """What `verb` makes of the store. Raises StoreAwayError."""
        if not self._opened.is_set():
            with contextlib.suppress(TimeoutError):  # then there is no store, which is dealt with below
                async with asyncio.timeout_at(self._wait_until):
                    await self._opened.wait()
        if (store := self._store) is None:
            raise StoreAwayError("the store is not open")
        try:
            return await verb(store)
        except NoBudgetsError as error:
            raise StoreAwayError(str(error)) from error
        except (TimeoutError, NoRespondersError) as error:
            # Whoever keeps the buckets is gone, and what it kept may be.
            if self._store is store:
                self._store = None
                self._failed.set()
            self._note(error)
            raise StoreAwayError(str(error)) from error
        except (BucketError, OSError) as error:
            self._note(error)
            raise StoreAwayError(str(error)) from error

    async def _keep_open(self) -> None:
        while True:
            try:
                store = self._store = await self._open()
                where = type(store).__name__
                _log.info("the bus keeps its values", server=str(self._requests.link.server), where=where)
                self._opened.set()
                await self._failed.wait()
                self._failed.clear()
            except (BucketError, NoRespondersError, OSError) as error:
                self._note(error)
            await asyncio.sleep(REOPEN_S)

    async def _open(self) -> Store:
        try:
            return await open_bucket_store(self._requests)
        except NoJetStreamError as error:
            _log.warning("every end keeps values and budgets of its own", reason=str(error))
            return self._seen

    def _note(self, error: Exception) -> None:
        if (held_back := self._errors.admit()) is not None:
            _log.warning("the bus's values are away", error=repr(error), held_back=held_back)
