"""The credentials that a client shows, and where it may show them. Pure. Source: RFC 6750, 2.

They never get into a log: `repr` hides them.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from market.errors import Code, MarketError
from server.access.unauthorized import Reason, UnauthorizedError

KEY_PREFIX: Final = "tck_"
"""With which API keys begin: one is known wherever it stands."""
_BEARER: Final = "bearer "
_KEY_HEADERS: Final = ("X-API-Key", "X-MBX-APIKEY")
_PARAMETERS: Final = ("token", "apiKey")


class Credentials:
    """A JWT or an API key."""

    __slots__ = ("is_api_key", "text")

    def __init__(self, text: str, *, is_api_key: bool) -> None:
        self.text = text
        self.is_api_key = is_api_key

    def __repr__(self) -> str:
        return f"Credentials({'an API key' if self.is_api_key else 'a token'})"


def in_request(request: web.Request) -> Credentials | None:
    """Those of an HTTP request or handshake; the first of `Authorization: Bearer`, a key's header, the query.

    An `Authorization` of another scheme is not for us. What is empty is not there.
    """
    headers = request.headers
    authorization = headers.get("Authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER and (text := authorization[len(_BEARER) :].strip()):
        return _token(text)
    for name in _KEY_HEADERS:
        if text := headers.get(name, ""):
            return Credentials(text, is_api_key=True)
    return _first((name, request.query.get(name, "")) for name in _PARAMETERS)


def in_packet(auth: object) -> Credentials | None:
    """Those of a Socket.IO CONNECT packet's `auth`. Raises UnauthorizedError where they are no text."""
    if not isinstance(auth, dict):
        return None
    shown = [(name, value) for name in _PARAMETERS if (value := auth.get(name)) is not None]
    if not all(isinstance(value, str) for _, value in shown):
        raise UnauthorizedError(Reason.MALFORMED, "token and apiKey must be text")
    return _first(shown)


def of_token(text: object) -> Credentials:
    """Those of a request to authenticate anew. Raises MarketError (bad_request) where they are no text."""
    if not isinstance(text, str) or not text:
        raise MarketError(Code.BAD_REQUEST, "token must be text")
    return _token(text)


def without_credentials(query: str) -> str:
    """A query string without its credentials, for what remembers it."""
    if not any(f"{name}=" in query for name in _PARAMETERS) and "%" not in query:
        return query
    return urlencode([(name, value) for name, value in parse_qsl(query) if name not in _PARAMETERS])


def _first(shown: Iterable[tuple[str, str]]) -> Credentials | None:
    for name, text in shown:
        if text:
            return _token(text) if name == "token" else Credentials(text, is_api_key=True)
    return None


def _token(text: str) -> Credentials:
    return Credentials(text, is_api_key=text.startswith(KEY_PREFIX))
