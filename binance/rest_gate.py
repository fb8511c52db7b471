"""What stands before Binance's REST endpoints, server side: paths, methods, weight by address, parameters. Pure.

Shared by the exchange stand-in and by our own Binance-compatible door: whatever does not depend on
where the data comes from is decided here. Sources: Binance "General API Information", "Limits" and
"Error codes".
"""

import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from binance.budget import Budget, Verdict
from binance.endpoints import Endpoint, Query, find, is_signed
from binance.errors import BinanceError
from binance.params import Params, not_valid
from binance.weights import WEIGHT_PER_MINUTE
from market.streams import Market

USED_WEIGHT: Final = "X-MBX-USED-WEIGHT-1M"
"""Header of every answer: the weight that the address has used in this minute."""
TIME_UNIT: Final = "X-MBX-TIME-UNIT"
"""Header with which spot's clients choose the unit of times."""

_LIMIT_TEXT: Final = (
    "Too much request weight used; current limit is {limit} request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BAN_TEXT: Final = (
    "Way too much request weight used; IP banned until {until}. "
    "Please use WebSocket Streams for live updates to avoid bans."
)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})
_READS: Final = ("GET", "HEAD")

_encode: Final = msgspec.json.Encoder().encode


class Asked(NamedTuple):
    """One HTTP request, as far as it matters: the client's address included, its keys left out."""

    method: str
    path: str
    query: list[tuple[str, str]]
    address: str
    time_unit: str = ""


class Answer(NamedTuple):
    """Status, JSON body and headers of an HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = _NO_HEADERS


class Admitted(NamedTuple):
    """A request that may be answered: its endpoint, what it asks, the parameters as sent, the weight used so far."""

    endpoint: Endpoint
    query: Query
    params: Mapping[str, str]
    used: int


class RestGate:
    """Decides which requests are answered, and words every refusal as Binance does.

    `is_listed` says whether a market lists an upper-case symbol.
    """

    def __init__(self, budget: Budget, is_listed: Callable[[Market, str], bool]) -> None:
        self._budget = budget
        self._is_listed = is_listed

    def admit(self, asked: Asked) -> Admitted | Answer:
        """Charge a request to its address and read its parameters; what is wrong with it is answered at once."""
        endpoint = find(asked.path)
        if endpoint is None or asked.method not in _READS:
            return _no_such_path(asked, is_known=endpoint is not None)
        verdict = self._budget.spend(endpoint.market, asked.address, _weight(endpoint, asked), time.time())
        if verdict.status is not HTTPStatus.OK:
            return limited(endpoint.market, verdict)
        try:
            if asked.time_unit.lower() not in ("", "millisecond"):
                raise not_valid("timeUnit")
            params = Params(endpoint.market, asked.query, endpoint.known)
            market = endpoint.market
            query = endpoint.read(params, lambda symbol: self._is_listed(market, symbol))
        except BinanceError as error:
            return refusal(error, verdict.used)
        return Admitted(endpoint, query, params.sent, verdict.used)


def answer(body: bytes, used: int) -> Answer:
    """A positive answer."""
    return Answer(HTTPStatus.OK, body, {USED_WEIGHT: str(used)})


def refusal(error: BinanceError, used: int, retry_after_s: int = 0) -> Answer:
    """`{"code":-1121,"msg":"Invalid symbol."}` with the error's HTTP status."""
    headers = {USED_WEIGHT: str(used)} | ({"Retry-After": str(retry_after_s)} if retry_after_s else {})
    return Answer(error.http_status, _encode({"code": error.code, "msg": error.message}), headers)


def limited(market: Market, verdict: Verdict) -> Answer:
    """-1003: too much weight used (429), or the address is banned (418)."""
    if verdict.status is HTTPStatus.IM_A_TEAPOT:
        text = _BAN_TEXT.format(until=int((time.time() + verdict.retry_after_s) * 1_000))
    else:
        text = _LIMIT_TEXT.format(limit=WEIGHT_PER_MINUTE[market])
    return refusal(BinanceError(-1003, text, verdict.status), verdict.used, verdict.retry_after_s)


def _weight(endpoint: Endpoint, asked: Asked) -> int:
    """What a request costs; one that cannot be read costs 1."""
    try:
        return endpoint.weigh(Params(endpoint.market, asked.query, endpoint.known))
    except BinanceError:
        return 1


def _no_such_path(asked: Asked, *, is_known: bool) -> Answer:
    if is_signed(asked.path):
        body = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
        return Answer(HTTPStatus.UNAUTHORIZED, _encode(body))
    text = f"Path {asked.path[:200]}, Method {asked.method[:20]} is invalid"
    body = {"code": -5000, "msg": text}
    if is_known:
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED, _encode(body), {"Allow": "GET, HEAD"})
    return Answer(HTTPStatus.NOT_FOUND, _encode(body))
