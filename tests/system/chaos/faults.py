"""The faults: what dies, falls silent or refuses, what of it may cost anybody a message, how it is known to happen."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

import psutil
from redis.crc import key_slot

from deploy.plan import LOOPBACK
from market.streams import StreamName
from tests.bus.redis_cluster import SLOTS
from tests.system.chaos.clients import STREAMS, TRADES
from tests.system.chaos.ground import Fault, Ground, NotHappenedError
from tests.system.chaos.links import Trouble
from tests.system.chaos.plan import BUS_LINKS, INGESTORS, REPLICAS, Step, Upstream, What, Whole

DEPTH: Final = frozenset({"spot:btcusdt@depth@100ms"})
"""Binance's REST API has trades and candles of the past, but no changes of a book."""
ANYTHING: Final = frozenset(STREAMS)
"""Nor is there anybody who could ask for them in time."""
REPLICA_LINK: Final = BUS_LINKS[0]
NOTHING: Final[frozenset[str]] = frozenset()
SKEW_S: Final = 3_600
LAST_CHANCE_S: Final = 12.0
"""How much longer than refusals last connections live that are announced to end."""
SKIPPED: Final = (("spot", "btcusdt@trade"), ("spot", "btcusdt@depth@100ms"), ("futures", "btcusdt@aggTrade"))
_GARBAGE: Final = ("invalid_json", "unknown_stream", "error", "reply", "binary", "empty", "not_utf8")
_FATAL_GARBAGE: Final = ("reserved_opcode", "oversized")
"""What ends a connection."""

Happening: TypeAlias = Callable[[Ground, Step], Awaitable[str]]


def fault_of(step: Step) -> Fault:
    """The fault that a step of the plan asks for."""
    happen: Happening
    match step.what:
        case What.KILL:
            happen = _kill_exchange if step.target == "exchange" else _kill
        case What.FREEZE:
            happen = _freeze
        case What.LINK:
            happen = _trouble_link
        case What.EXCHANGE:
            happen = _UPSTREAM[Upstream(step.variant)]
        case What.CLUSTER:
            happen = _WHOLE[Whole(step.variant)]
    cuts_clients = step.what is What.KILL and step.target in {*REPLICAS, "nginx"}
    return Fault(
        step.name,
        lambda ground: happen(ground, step),
        _may_lose(step),
        upstream=step.what is What.EXCHANGE or step.target == "exchange",
        cuts_clients=cuts_clients or step.variant in {Whole.ROLLING, Whole.AHEAD, Whole.BEHIND},
    )


def _may_lose(step: Step) -> frozenset[str]:
    if step.variant in {Whole.FEEDLESS, Upstream.TOO_MANY, Upstream.TEAPOT}:
        return ANYTHING
    if step.what is What.KILL and step.target == "exchange":
        return ANYTHING
    if step.what is What.LINK and step.target == REPLICA_LINK:
        return ANYTHING  # without a word from any replica for 6 s (a lease), ingestors let all streams go
    harmless = {Upstream.SHUTDOWN, Upstream.NO_SUCCESSORS}
    return DEPTH if step.what is What.EXCHANGE and step.variant not in harmless else NOTHING


async def _kill(ground: Ground, step: Step) -> str:
    """SIGKILL; the supervisor starts another one."""
    ground.mark()
    pid = await ground.signal(step.target, signal.SIGKILL)
    return await ground.successor(step.target, pid)


async def _kill_exchange(ground: Ground, step: Step) -> str:
    """An outage that is not ours: it is over when the exchange is open again.

    The next one's ids are higher, as if a part of the market had never been.
    """
    await ground.exchange_begins_anew()
    evidence = await _kill(ground, step)
    await ground.exchange_is_open()
    ground.mark()
    return evidence


async def _freeze(ground: Ground, step: Step) -> str:
    """Stop a process without ending it: its connections stay, and nothing moves."""
    pid = await ground.signal(step.target, signal.SIGSTOP)
    try:
        await ground.until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, f"pid {pid} has stopped", 2)
        await asyncio.sleep(step.seconds)
        if psutil.Process(pid).status() != psutil.STATUS_STOPPED:
            raise NotHappenedError(f"pid {pid} did not stay stopped")
    finally:
        await ground.signal(step.target, signal.SIGCONT)
        ground.mark()
    await ground.until(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED, f"pid {pid} goes on", 2)
    return f"{step.target}: pid {pid} stood in state T for {step.seconds} s"


async def _trouble_link(ground: Ground, step: Step) -> str:
    link = ground.links[step.target]
    before = link.figures.effects
    link.impose(Trouble(step.variant))
    await asyncio.sleep(step.seconds)
    link.heal()
    ground.mark()
    if link.figures.effects == before:
        raise NotHappenedError("nothing wanted to pass")
    return f"{step.variant} for {step.seconds} s; since the start {link.figures}"


async def _drop(ground: Ground, _step: Step) -> str:
    ground.mark()
    return _counted(await ground.control("drop"), "dropped")


async def _close(ground: Ground, _step: Step) -> str:
    ground.mark()
    return _counted(await ground.control("close", code=1001, reason="Going away"), "closed")


async def _silence(ground: Ground, step: Step) -> str:
    before = await ground.exchange_figure("suppressed_total")
    await ground.control("silence", streams="*", seconds=step.seconds)
    await asyncio.sleep(step.seconds)
    ground.mark()
    return _grown("messages suppressed", await ground.exchange_figure("suppressed_total") - before)


async def _stall(ground: Ground, step: Step) -> str:
    answer = await ground.control("stall", seconds=step.seconds)
    await asyncio.sleep(step.seconds)
    ground.mark()
    return _counted(answer, "stalled")


async def _garbage(ground: Ground, step: Step) -> str:
    """Every kind of it; the last kinds end connections."""
    ground.mark()
    answers = [await ground.control("say", garbage=kind) for kind in (*_GARBAGE, *_FATAL_GARBAGE)]
    await asyncio.sleep(step.seconds)
    return _counted(answers[0], "told")


async def _shutdown(ground: Ground, step: Step) -> str:
    """Connections are announced to end, and have successors before they do."""
    before = await ground.handovers("shutdown")
    ground.mark()
    answer = await ground.control("shutdown", delay_s=step.seconds)

    async def took_over() -> bool:
        return await ground.handovers("shutdown") > before

    await ground.until(took_over, "successors take over", step.seconds + LAST_CHANCE_S)
    return _counted(answer, "told")


async def _refuse_successors(ground: Ground, step: Step) -> str:
    """Connections are to be replaced while the exchange takes no new ones, in time before they end."""
    for door in ("websocket", "rest"):
        await ground.control("refuse", status=429, door=door, retry_after=1, seconds=step.seconds)
    return await _shutdown(ground, step._replace(seconds=step.seconds + LAST_CHANCE_S))


async def _skip(ground: Ground, step: Step) -> str:
    before = await ground.exchange_figure("suppressed_total")
    ground.mark()
    for market, stream in SKIPPED:
        await ground.control("skip", market=market, stream=stream, count=2)
    await asyncio.sleep(step.seconds)
    return _grown("messages left out", await ground.exchange_figure("suppressed_total") - before)


async def _refuse_all(ground: Ground, step: Step, *, sockets: int, rest: int) -> str:
    """Connections are lost while the exchange takes no new ones, until it has refused at least one."""
    before = await ground.exchange_figure("connections_refused_total")
    for door, status in (("websocket", sockets), ("rest", rest)):
        await ground.control("refuse", status=status, door=door, retry_after=1)
    dropped = _counted(await ground.control("drop"), "dropped")
    await asyncio.sleep(step.seconds)

    async def refused() -> int:
        return await ground.exchange_figure("connections_refused_total") - before

    await ground.until(refused, "somebody is refused")
    count = await refused()
    await ground.control("reset")
    ground.mark()
    return f"{dropped}, {_grown('refused', count)}"


async def _kill_both(ground: Ground, _step: Step) -> str:
    """Nobody is left who could go on: clients have to be back once one of the next two runs."""
    pids = [await ground.signal(name, signal.SIGKILL) for name in INGESTORS]
    told = ", ".join([await ground.successor(name, pid) for name, pid in zip(INGESTORS, pids, strict=True)])
    urls = [f"http://{LOOPBACK}:{port}/health/live" for port in ground.site.ingestor_ports]

    async def runs() -> bool:
        return any([await ground.answers(url) for url in urls])

    await ground.until(runs, "an ingestor runs")
    ground.mark()
    return told


async def _roll(ground: Ground, _step: Step) -> str:
    """SIGTERM to each replica, the next one once the one before is ready again."""
    told = []
    for name, port in zip(REPLICAS, ground.site.replica_ports, strict=True):
        told.append(await ground.successor(name, await ground.signal(name, signal.SIGTERM)))
        await ground.until(partial(_is_ready, ground, port), f"{name} is ready")
        await ground.everyone_is_back(graceful=True)
        ground.mark()
    return ", ".join(told)


async def _is_ready(ground: Ground, port: int) -> bool:
    return await ground.answers(f"http://{LOOPBACK}:{port}/health/ready")


async def _skew(ground: Ground, step: Step, *, shift_s: int) -> str:
    """While the second ingestor's clock is wrong, clients of a replica that dies go on with the other one."""
    name, victim = INGESTORS[1], REPLICAS[0]
    told = [await _restart_with_clock(ground, name, shift_s)]
    await asyncio.sleep(step.seconds)
    ground.mark()
    told.append(await ground.successor(victim, await ground.signal(victim, signal.SIGKILL)))
    await ground.everyone_is_back()
    told.append(await _restart_with_clock(ground, name, 0))
    return f"clock {shift_s} s off; {', '.join(told)}"


async def _restart_with_clock(ground: Ground, name: str, shift_s: int) -> str:
    ground.site.clock.write_text(str(shift_s))
    told = await ground.successor(name, await ground.signal(name, signal.SIGTERM))
    await ground.recover()
    return told


async def _lose_node(ground: Ground, step: Step) -> str:
    """The node of a Redis Cluster that has the trades is away for a while."""
    node = ground.nodes[key_slot(StreamName.parse(TRADES).channel.encode()) * len(ground.nodes) // SLOTS]
    pid = node.pid
    await asyncio.to_thread(node.kill)
    await asyncio.sleep(step.seconds)
    await asyncio.to_thread(node.start)
    ground.mark()
    return f"pid {pid} gone, {node.pid} runs"


def node_lost(seconds: float) -> Fault:
    """A master of the Redis Cluster on which the ground stands dies, and returns after `seconds`."""
    step = Step(What.KILL, "a node of the Redis Cluster", seconds)
    return Fault(step.name, lambda ground: _lose_node(ground, step))


def _counted(answer: dict[str, object], what: str) -> str:
    """What the exchange says it did to how many connections. Raises NotHappenedError for none."""
    return _grown(f"connections {what}", int(str(answer[what])))


def _grown(what: str, count: int) -> str:
    if count <= 0:
        raise NotHappenedError(f"{count} {what}")
    return f"{count} {what}, the exchange says"


_UPSTREAM: Final[dict[Upstream, Happening]] = {
    Upstream.DROP: _drop,
    Upstream.CLOSE: _close,
    Upstream.SILENCE: _silence,
    Upstream.STALL: _stall,
    Upstream.GARBAGE: _garbage,
    Upstream.SHUTDOWN: _shutdown,
    Upstream.NO_SUCCESSORS: _refuse_successors,
    Upstream.GAP: _skip,
    Upstream.TOO_MANY: partial(_refuse_all, sockets=429, rest=429),
    Upstream.TEAPOT: partial(_refuse_all, sockets=503, rest=418),
}
_WHOLE: Final[dict[Whole, Happening]] = {
    Whole.FEEDLESS: _kill_both,
    Whole.ROLLING: _roll,
    Whole.AHEAD: partial(_skew, shift_s=SKEW_S),
    Whole.BEHIND: partial(_skew, shift_s=-SKEW_S),
}
