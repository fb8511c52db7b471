"""Query parameters of our REST, read alike on every route; an empty one is as if it were not there."""

from collections.abc import Iterable

from aiohttp import web

from market.errors import Code, MarketError

_MAX_DIGITS = 15
"""Of a number; ms since the epoch have 13."""


def check_single(request: web.Request, names: Iterable[str]) -> None:
    """Raise MarketError (bad_request) where one of these is given more than once."""
    for name in names:
        if len(request.query.getall(name, ())) > 1:
            raise MarketError(Code.BAD_REQUEST, f"{name} is given more than once")


def whole_number(request: web.Request, name: str) -> int | None:
    """A parameter that is a number of digits alone. Raises MarketError (bad_request)."""
    text = request.query.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS):
        raise MarketError(Code.BAD_REQUEST, f"{name} must be a whole number")
    return int(text)
