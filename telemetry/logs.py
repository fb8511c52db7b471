"""The log of a process: one line an event, for people or as JSON, each with the name of the process it comes from."""

import logging
import sys
from typing import Any, Final

import structlog

from telemetry.settings import TelemetrySettings

_identity: Final[dict[str, str]] = {}


def identify(**names: str) -> None:
    """Put these keys into every line from now on: `replica`, `ingestor`; both in a process that is both.

    Of the process and not of a task: what runs in threads, or in another part's call, logs under them as well.
    """
    _identity.update(names)


def configure_logging(settings: TelemetrySettings) -> None:
    """Write everything that structlog and the standard library log to standard output; times are ISO 8601 in UTC.

    What libraries say is written from `warning` on. Tracebacks come without local variables, which may be secrets.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_identity,
            *(_for_machines() if settings.log_format == "json" else _for_people()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Forwarding()]
    root.setLevel(max(level, logging.WARNING))


class _Forwarding(logging.Handler):
    """Hands what libraries log to structlog, so that it has one form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record (logging.Handler)."""
        structlog.get_logger(record.name).log(
            record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def _add_identity(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key, name in _identity.items():
        event.setdefault(key, name)
    return event


def _for_machines() -> list[Any]:
    traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(traceback), structlog.processors.JSONRenderer()]


def _for_people() -> list[Any]:
    """Lines in colour on a terminal; in a file its codes would be noise."""
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]
