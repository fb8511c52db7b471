"""REST limits as Binance keeps them, server side: weight a minute and address, 429, bans for those who go on. Pure."""

from http import HTTPStatus
from typing import Final

import msgspec

from binance.weights import WEIGHT_PER_MINUTE
from market.streams import Market

_MINUTE_S: Final = 60.0
_MAX_ADDRESSES: Final = 16_384
_IGNORED_BEFORE_BAN: Final = 10
_FIRST_BAN_S: Final = 120.0
_LONGEST_BAN_S: Final = 3 * 86_400.0


class Spender(msgspec.Struct):
    """What one address has used, and how it took a refusal."""

    minute: int = 0
    used: int = 0
    ignored: int = 0
    bans: int = 0
    banned_until: float = 0.0


class Verdict(msgspec.Struct, frozen=True):
    """Weight used in this minute, and where the request is refused, how."""

    used: int
    status: HTTPStatus = HTTPStatus.OK
    retry_after_s: int = 0


class Budget:
    """Request weight by market and address; `now` is s since the epoch.

    With `bans` an address that goes on asking is banned, from 2 minutes up to 3 days. At most 16,384
    addresses are remembered; beyond that the one that came first is forgotten.
    """

    def __init__(self, *, bans: bool) -> None:
        self.refused_total = 0
        self._bans = bans
        self._spenders: dict[tuple[Market, str], Spender] = {}

    def spend(self, market: Market, address: str, weight: int, now: float) -> Verdict:
        """Charge one request: OK within the minute's weight, 429 beyond it, 418 for who is banned."""
        spender = self._spender(market, address)
        minute = int(now // _MINUTE_S)
        if spender.minute != minute:
            spender.minute, spender.used, spender.ignored = minute, 0, 0
        if now < spender.banned_until:
            self.refused_total += 1
            return Verdict(spender.used, HTTPStatus.IM_A_TEAPOT, int(spender.banned_until - now) + 1)
        if spender.used + weight <= WEIGHT_PER_MINUTE[market]:
            spender.used += weight
            return Verdict(spender.used)
        self.refused_total += 1
        spender.ignored += 1
        if self._bans and spender.ignored > _IGNORED_BEFORE_BAN:
            spender.ignored = 0
            length = min(_LONGEST_BAN_S, _FIRST_BAN_S * 2**spender.bans)
            spender.bans += 1
            spender.banned_until = now + length
            return Verdict(spender.used, HTTPStatus.IM_A_TEAPOT, int(length))
        return Verdict(spender.used, HTTPStatus.TOO_MANY_REQUESTS, int(_MINUTE_S - now % _MINUTE_S) + 1)

    def used(self, market: Market, address: str, now: float) -> int:
        """Weight that the address has used in this minute."""
        spender = self._spenders.get((market, address))
        return spender.used if spender is not None and spender.minute == int(now // _MINUTE_S) else 0

    def forget(self) -> None:
        """Forgive everybody."""
        self._spenders.clear()

    def _spender(self, market: Market, address: str) -> Spender:
        key = (market, address)
        spender = self._spenders.get(key)
        if spender is None:
            if len(self._spenders) >= _MAX_ADDRESSES:
                del self._spenders[next(iter(self._spenders))]
            spender = self._spenders[key] = Spender()
        return spender
