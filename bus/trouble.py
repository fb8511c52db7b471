"""Why a bus is not connected, in words that may be shown to anybody: no addresses, no names, no credentials."""

import ssl
from collections.abc import Iterator
from typing import Final

_OTHER_NAME: Final = 62
"""X509_V_ERR_HOSTNAME_MISMATCH (OpenSSL, x509_vfy.h)."""
_OTHER_ADDRESS: Final = 64
"""X509_V_ERR_IP_ADDRESS_MISMATCH."""


def trouble_of(error: BaseException, refusals: tuple[type[BaseException], ...]) -> str:
    """What an attempt to connect met; `refusals` are what a client library raises for wrong credentials."""
    met = list(_chain(error))
    if any(isinstance(each, refusals) for each in met):
        return "the server refuses our user or password"
    for each in met:
        if isinstance(each, ssl.SSLCertVerificationError):
            if each.verify_code in (_OTHER_NAME, _OTHER_ADDRESS):
                return "the server's certificate is for another name"
            return f"the server's certificate is not trusted: {each.verify_message}"
    if any(isinstance(each, ssl.SSLError) for each in met):
        return "no encrypted connection comes about"
    return "the server does not answer" if any(isinstance(each, TimeoutError) for each in met) else "no connection"


def shown(error: BaseException) -> str:
    """An error for the log: what kind it is and what it says, which repr leaves out of redis-py's."""
    return f"{type(error).__name__}: {error}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that client libraries raised it from."""
    following: BaseException | None = error
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
