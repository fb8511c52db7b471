"""Why no connection came about, as counted and as Binance means it. Pure."""

import email.utils
import ssl
from typing import Final, NamedTuple

import aiohttp

from binance.counters import Trouble

# Where no Retry-After comes: the limit's minute; the shortest ban that Binance documents; what a firewall's
# rules are usually counted over. Source: Binance "Limits" (418, 429).
_PAUSE_S: Final = {403: 60.0, 418: 120.0, 429: 60.0}
_TROUBLES: Final = {403: Trouble.HTTP_403, 418: Trouble.HTTP_418, 429: Trouble.HTTP_429}


class Refusal(NamedTuple):
    """A refused handshake after which nobody at this address may knock for `retry_after_s` seconds."""

    status: int
    retry_after_s: float


def trouble_of(error: Exception) -> Trouble:
    """What kept a connection from being opened."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return _TROUBLES.get(error.status, Trouble.HTTP_OTHER)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Trouble.DNS
    if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError | ssl.SSLError):
        return Trouble.TLS
    return Trouble.OPEN_TIMEOUT if isinstance(error, TimeoutError) else Trouble.UNREACHABLE


def refusal_of(error: Exception, now: float) -> Refusal | None:
    """The pause that a refused handshake orders; None where waiting is our own affair. `now` in s since the epoch."""
    if not isinstance(error, aiohttp.WSServerHandshakeError) or error.status not in _PAUSE_S:
        return None
    asked = error.headers.get("Retry-After", "") if error.headers is not None else ""
    return Refusal(error.status, _seconds(asked, now) or _PAUSE_S[error.status])


def _seconds(retry_after: str, now: float) -> float | None:
    """What a Retry-After asks for, in either of its forms (RFC 9110, 10.2.3); None where it says nothing readable."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - now)
    except ValueError:
        return None
