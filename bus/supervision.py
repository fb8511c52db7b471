"""A connection that is made again for ever, whichever server it leads to."""

import asyncio
from collections.abc import Awaitable, Callable

from bus.base import RETRY_MAX_S, retry_delay_s


async def stay_connected(connect_and_stay: Callable[[], Awaitable[float]]) -> None:
    """Connect anew whenever the connection is over, until cancelled.

    `connect_and_stay` returns how long a connection stood, in s; 0.0 for a vain attempt.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        stood_s = await connect_and_stay()
        # A server that takes connections and soon drops them is no better than none.
        failures = 0 if stood_s > RETRY_MAX_S else failures + 1
        # What a vain attempt took counts as waiting: attempts are RETRY_MAX_S apart at most.
        spent_s = 0.0 if stood_s else loop.time() - began
        await asyncio.sleep(max(0.0, retry_delay_s(failures) - spent_s))
