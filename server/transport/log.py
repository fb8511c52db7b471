"""What aiohttp logs of the replica's HTTP: our faults, and not what any client can cause.

aiohttp answers a request that is no HTTP with 400 and logs it with a traceback: whoever sends such
requests could fill the log.
"""

import logging
from typing import Final

from aiohttp.http_exceptions import HttpProcessingError


def _is_fault_of_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


http_log: Final = logging.getLogger("aiohttp.server.replica")
"""Passes everything on to `aiohttp.server` except malformed requests."""
http_log.addFilter(_is_fault_of_ours)
