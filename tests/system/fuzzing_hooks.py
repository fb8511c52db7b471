"""What schemathesis cannot know of the server it is pointed at; it loads this file by SCHEMATHESIS_HOOKS.

LISTED_SYMBOLS: the symbols that both markets list, RECORDINGS_LISTED: ids of recordings; separated by commas.
"""

import itertools
import os
from ipaddress import IPv4Address
from typing import Any, Final

import schemathesis

SYMBOLS: Final = os.environ["LISTED_SYMBOLS"].split(",")
RECORDINGS: Final = os.environ["RECORDINGS_LISTED"].split(",")
STREAMS: Final = ["btcusdt@ticker", "spot:ethusdt@trade", "futures:btcusdt@markPrice@1s", "!miniTicker@arr"]
_FIRST_ADDRESS: Final = IPv4Address("10.0.0.1")

_requests = itertools.count()


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Only a running server knows which symbols and recordings exist: to a valid name of another one it must say no."""
    for name in ("Symbol", "ListedSymbol"):
        raw_schema["components"]["schemas"][name]["enum"] = SYMBOLS
    raw_schema["components"]["schemas"]["RecordingId"]["enum"] = RECORDINGS
    raw_schema["components"]["schemas"]["StreamName"]["enum"] = STREAMS


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Every request comes from another address: limits by address have tests of their own."""
    case.headers = {**(case.headers or {}), "X-Real-IP": str(_FIRST_ADDRESS + next(_requests))}


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leave out what is refused for two parameters that are each valid: OpenAPI 3.1 cannot say so."""
    query = case.query or {}
    if query.get("market") == "futures" and query.get("interval") == "1s":
        return False
    if "stream" in query and _is_reversed(query.get("startTime"), query.get("endTime")):
        return False
    if query.get("market") == "bybit":  # valid, and refused by a server whose VENUES do not name it
        return False
    return not ("symbol" in query and "symbols" in query)


def _is_reversed(start: object, end: object) -> bool:
    """Whether a range of time ends before it begins; what is no time at all is not for us to judge."""
    times = [int(str(time)) for time in (start, end) if str(time).isdecimal()]
    return len(times) == 2 and 0 < times[1] < times[0]  # both are times
