"""Log lines that any client can cause, as often as it likes: one now and then, with the number held back."""

from collections import defaultdict

import structlog

from bus.loglimit import LogLimit

log = structlog.get_logger(__name__)


class BoundedLog:
    """Logs each event at most once per bus.loglimit.LOG_INTERVAL_S; `held_back` says how many lines that spared.

    Events are sentences of the code's own, never a client's.
    """

    def __init__(self) -> None:
        self._limits = defaultdict[str, LogLimit](LogLimit)

    def info(self, event: str, **context: object) -> None:
        """Log what a client did."""
        held_back = self._limits[event].admit()
        if held_back is not None:
            log.info(event, held_back=held_back, **context)
