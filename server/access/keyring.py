"""The public keys of whoever issues tokens, kept up to date: from a URL or a file (`AUTH_JWKS`)."""

import asyncio
from pathlib import Path
from typing import Final, Protocol

import httpx
import structlog

from server.access.jwks import MAX_BYTES, KeySet, VerifyingKey, parse_jwks
from server.access.watched_file import WatchedFile

REFRESH_S: Final = 300.0
"""How often a URL is fetched, in s."""
RETRY_S: Final = 5.0
"""How long after a fetch that failed the next one is tried, in s."""
FETCH_S: Final = 3.0
"""How long a fetch may take, in s."""
UNKNOWN_KEY_S: Final = 10.0
"""A key that is not known makes for one fetch in this time, in s."""
WAITING_MAX: Final = 256
"""Clients that may wait for such a fetch; more are refused at once."""

log = structlog.get_logger(__name__)


class Keyring(Protocol):
    """Where keys are looked up."""

    @property
    def failures_total(self) -> int:
        """How often the keys could not be had; those of the last time stay."""

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of this id, as far as is known now."""

    async def look_again(self) -> bool:
        """Fetch the keys, because one was not known; False where that is not due. Takes at most FETCH_S."""

    async def load(self) -> None:
        """Have keys before the first token comes, if they can be had."""

    async def keep(self) -> None:
        """Keep the keys up to date, for ever."""


class FileKeyring:
    """Keys in a file, which is read again when it changes. `load` raises OSError or ValueError."""

    def __init__(self, path: Path) -> None:
        self._keys = KeySet({})
        self._file = WatchedFile(path, self._take)

    @property
    def failures_total(self) -> int:
        """Changes of the file that were not taken."""
        return self._file.failures_total

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of this id."""
        return self._keys.find(kid)

    async def look_again(self) -> bool:
        """Nothing: a change of the file is seen within a second."""
        return False

    async def load(self) -> None:
        """Read the file. Raises OSError or ValueError."""
        self._file.load()

    async def keep(self) -> None:
        """Watch the file."""
        await self._file.watch()

    def _take(self, data: bytes) -> None:
        self._keys = parse_jwks(data)


class UrlKeyring:
    """Keys that an issuer publishes. While the URL is away those of the last time hold."""

    def __init__(self, url: str) -> None:
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"not a URL: {error}") from None
        self._keys = KeySet({})
        self._fetch: asyncio.Task[bool] | None = None
        self._waiting = 0
        self._next_s = 0.0
        self.failures_total = 0

    def find(self, kid: str | None) -> VerifyingKey | None:
        """The key of this id, as far as is known now."""
        return self._keys.find(kid)

    async def look_again(self) -> bool:
        """Fetch the keys, or wait for the fetch that is under way; False where the last one was a moment ago."""
        if self._waiting >= WAITING_MAX:
            return False
        if self._fetch is None and asyncio.get_running_loop().time() < self._next_s:
            return False
        self._waiting += 1
        try:
            return await asyncio.shield(self._begin())
        finally:
            self._waiting -= 1

    async def load(self) -> None:
        """Fetch the keys once; where that fails, the replica starts all the same."""
        await asyncio.shield(self._begin())

    async def keep(self) -> None:
        """Fetch the keys every REFRESH_S, sooner after a failure."""
        has_failed = not self._keys
        while True:
            await asyncio.sleep(RETRY_S if has_failed else REFRESH_S)
            has_failed = not await asyncio.shield(self._begin())

    def _begin(self) -> "asyncio.Task[bool]":
        """The fetch that is under way, or a new one."""
        if self._fetch is None:
            loop = asyncio.get_running_loop()
            self._next_s = loop.time() + UNKNOWN_KEY_S
            self._fetch = loop.create_task(self._update())
        return self._fetch

    async def _update(self) -> bool:
        """Take what the URL has; whether that succeeded."""
        try:
            self._keys = parse_jwks(await self._read())
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self.failures_total += 1
            # Neither URL nor message: a URL may carry a password.
            host = self._url.host
            log.warning("keys not fetched, the last ones still hold", host=host, error=_in_short(error))
            return False
        else:
            return True
        finally:
            self._fetch = None

    async def _read(self) -> bytes:
        """The body, of which no more is read than a key set may have."""
        body = bytearray()
        async with (
            asyncio.timeout(FETCH_S),
            httpx.AsyncClient(headers={"Accept": "application/json"}) as http,
            http.stream("GET", self._url) as answer,
        ):
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > MAX_BYTES:
                    break
        return bytes(body)


def _in_short(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    return str(error) if type(error) is ValueError else type(error).__name__


def open_keyring(source: str) -> Keyring:
    """The keyring at a URL (`https://...`) or in a file. Raises ValueError for a URL that is none."""
    return UrlKeyring(source) if source.startswith(("http://", "https://")) else FileKeyring(Path(source))
