"""Work that is done again and again: a fault of ours must not end it for good."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


async def repeat(work: Callable[[], Awaitable[None]], every_s: float, fault: str) -> None:
    """Do `work` for ever, `every_s` s between the end of one time and the next; what fails is logged as `fault`."""
    while True:
        try:
            await work()
        except Exception:  # the next time may succeed
            log.exception(fault)
        await asyncio.sleep(every_s)
