import asyncio
import time

from telemetry.loop_lag import LoopLag


async def test_a_blocked_loop_is_seen() -> None:
    lag = LoopLag()
    lag.start()

    def late(than_s: str) -> float:
        _, family = lag.collect()
        buckets = {sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels}
        return buckets["+Inf"] - buckets[than_s]

    async with asyncio.timeout(10):
        while not late("0.1"):
            time.sleep(0.3)  # noqa: ASYNC251 # blocks the loop: that is what is measured
            await asyncio.sleep(0)
    lag.close()
    _, before = lag.collect()
    await asyncio.sleep(0.25)  # two and a half periods: nothing may come
    _, after = lag.collect()
    assert before.samples == after.samples
