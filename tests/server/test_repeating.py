"""Repeated work outlives its own faults."""

import asyncio

from server.repeating import repeat
from tests.server.conftest import until


async def test_work_that_fails_once_is_done_again() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(len(done))
        if len(done) == 1:
            raise RuntimeError("once")

    task = asyncio.create_task(repeat(work, 0.001, "work failed"))
    await until(lambda: len(done) > 2, "it goes on")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
