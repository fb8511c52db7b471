"""How bytes cross processes: one contract (base.py) and its implementations."""

from bus.base import Bus
from bus.memory import MemoryBus, shared_broker
from bus.settings import split_urls
from bus.sharded import ShardedBus
from bus.tls import SYSTEM_TRUST, BusTls


def open_bus(url: str, name: str = "", tls: BusTls = SYSTEM_TRUST) -> Bus:
    """One end of the bus at `url`, not yet started.

    `memory://`, Redis as in `bus.redis_url`, NATS as in `bus.nats_servers`. Several URLs, separated by
    commas, share the streams among them (`bus.sharded`). Ends of one `memory://` URL in one process
    reach each other. `name` is how the end shows in logs and in the server's client list, `tls` how an
    encrypted connection is trusted. Raises ValueError for another scheme.
    """
    urls = split_urls(url)
    return _open(url, name, tls) if len(urls) == 1 else ShardedBus({each: _open(each, name, tls) for each in urls})


def _open(url: str, name: str, tls: BusTls) -> Bus:
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return MemoryBus(shared_broker(url))
    if scheme.startswith("redis"):
        # Whoever runs on the memory bus needs no Redis client installed.
        from bus.redis import RedisBus  # noqa: PLC0415

        return RedisBus(url, name, tls)
    if scheme in ("nats", "tls"):
        from bus.nats import NatsBus  # noqa: PLC0415 # the same

        return NatsBus(url, name, tls)
    raise ValueError(f"no bus speaks {scheme}://")
