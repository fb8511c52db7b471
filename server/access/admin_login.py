"""Who may use the admin namespace: a user and a password, then a session that every replica recognizes.

A session is `<end>.<HMAC-SHA256>` under a key made of the password's hash: nothing is stored, a page that
comes back to another replica need not ask again, and a new password ends all sessions.
"""

import asyncio
import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from server.access.networks import network_of
from server.access.passwords import PasswordHash

SESSION_S: Final = 12 * 3600
"""How long a session lasts, in s."""
MAX_FAILURES: Final = 10
"""Wrong attempts of one address (of IPv6: of one /64) in FAILURES_S; more are refused unseen."""
FAILURES_S: Final = 60.0
MAX_ADDRESSES: Final = 10_000
MAX_WAITING: Final = 8
"""Attempts that wait for their turn, of all addresses: hashing is slow on purpose, and is done one at a time."""
WRONG: Final = "invalid credentials"
"""The words by which the official UI knows that it should ask again."""
BUSY: Final = "too many attempts, try again later"


class LoginRefused(Exception):  # noqa: N818 # says what happened
    """Whoever asks is not let in; the message is what they are told."""


class AdminLogin:
    """Checks what a client of the admin namespace shows."""

    def __init__(self, user: str, password: PasswordHash, clock: Callable[[], float] = time.time) -> None:
        self._user = user.encode()
        self._password = password
        self._clock = clock
        self._key = hashlib.sha256(b"tickcast admin session:" + self._user + b":" + str(password).encode()).digest()
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._turn = asyncio.Lock()
        self._waiting = 0
        self.refused_total = 0

    async def check(self, address: str, shown: object) -> str | None:
        """A new session's id for `{username, password}`; None for a good `{sessionId}`. Raises LoginRefused."""
        shown = shown if isinstance(shown, dict) else {}
        address = network_of(address)
        if self._is_session(shown.get("sessionId")):
            return None
        if self._failures_of(address) >= MAX_FAILURES or self._waiting >= MAX_WAITING:
            self.refused_total += 1
            raise LoginRefused(BUSY)
        user, password = shown.get("username"), shown.get("password")
        if not isinstance(user, str) or not isinstance(password, str):
            raise self._wrong(address)
        self._waiting += 1
        try:
            async with self._turn:
                matches = await asyncio.to_thread(self._password.matches, password)
        finally:
            self._waiting -= 1
        if not (matches and hmac.compare_digest(user.encode(), self._user)):
            raise self._wrong(address)
        return self._session(int(self._clock()) + SESSION_S)

    def _session(self, end: int) -> str:
        return f"{end}.{hmac.new(self._key, str(end).encode(), hashlib.sha256).hexdigest()}"

    def _is_session(self, shown: object) -> bool:
        if not isinstance(shown, str) or not shown.isascii():
            return False
        end = shown.partition(".")[0]
        if not end.isdigit() or len(end) > len(str(1 << 63)):
            return False
        return hmac.compare_digest(shown, self._session(int(end))) and self._clock() < int(end)

    def _failures_of(self, address: str) -> int:
        began, count = self._failures.get(address, (0.0, 0))
        return count if self._clock() - began < FAILURES_S else 0

    def _wrong(self, address: str) -> LoginRefused:
        count = self._failures_of(address)
        began = self._failures[address][0] if count else self._clock()
        self._failures[address] = (began, count + 1)
        self._failures.move_to_end(address)
        if len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        self.refused_total += 1
        return LoginRefused(WRONG)
