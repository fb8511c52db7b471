"""How an encrypted connection to the bus is trusted, and how it introduces itself."""

import ssl
from pathlib import Path
from typing import Final, NamedTuple


class BusTls(NamedTuple):
    """PEM files: whom to trust instead of the system's authorities, and the client certificate with its key.

    A server's certificate is always verified, its host name included. The files are read anew at every
    attempt to connect, so that renewed ones need no restart.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What a connection is opened with. Raises OSError (ssl.SSLError is one) for files that are none."""
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context


SYSTEM_TRUST: Final = BusTls()
"""Trusts whom the system trusts, and has no certificate of its own."""
