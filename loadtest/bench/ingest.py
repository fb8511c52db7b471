"""The feed, measured: exchange -> ingestor -> Redis -> a process that looks at what arrives there."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import psutil

from deploy.readiness import free_port
from loadtest.bench.cold_start import ColdStart, plan
from loadtest.bench.ingest_frames import read_frames
from loadtest.bench.processes import LOOPBACK, ROOT, BenchError, Child, get_json
from loadtest.bench.samples import Sample, Usage
from loadtest.bench.servers import Launch
from loadtest.bench.stage import Ground, redis_argv
from loadtest.bench.usage import read_usage
from market.streams import Kind, Market, StreamName

RECORDING: Final = ROOT.parent / "shared" / "data" / "binance" / "ws" / "spot-btc-eth-20240808.ndjson.gz"
"""Recorded traffic of a busy day; where it is not, the stand-in is recorded instead."""
KINDS: Final = ((Kind.TICKER, ""), (Kind.MINI_TICKER, ""), (Kind.KLINE, "1m"), (Kind.DEPTH20, ""))
"""What a cold start asks for of each symbol: kinds that speak every second or two, however calm the market is."""

_WARM_UP_S: Final = 1.0
_DRAIN_S: Final = 5.0
_POLL_S: Final = 0.05
_LATE_S: Final = 0.2
_CATCH_UP_S: Final = 15.0
_SETTLE_MAX_S: Final = 60.0
_STAND_IN_BYTES: Final = 32_768
_STAND_IN_STREAMS: Final = tuple(
    f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("trade", "bookTicker", "depth@100ms")
)


class IngestStage:
    """A context manager: Redis, what plays the exchange (`exchange(port)`) and one ingestor as it ships.

    The ingestor is the "server" on its own core, the exchange the "publisher", the probe the "receiver".
    """

    def __init__(self, ground: Ground, exchange: Callable[[int], Launch]) -> None:
        self._ground = ground
        self._children: dict[str, Child] = {}
        self._exits = contextlib.ExitStack()
        self._launch = exchange
        self.exchange_port = free_port()
        self._redis_port = free_port()
        self._health_port = free_port()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def watch(self, streams: Sequence[StreamName]) -> None:
        """Have the probe subscribe to `streams` on the bus; nobody has asked the ingestor for them yet."""
        probe = (sys.executable, "-m", "loadtest.bench.ingest_probe", self._url, *map(str, streams))
        self._spawn("receiver", probe).ask("look")  # it is ready once it answers

    def ask_probe(self, command: str) -> dict[str, Any]:
        """Have the probe carry out a command; see ingest_probe.py."""
        return self._children["receiver"].ask(command)

    def ask_source(self, command: str) -> dict[str, Any]:
        """Have the source carry out a command; see ingest_source.py."""
        return self._children["publisher"].ask(command)

    def groups(self) -> list[dict[str, Any]]:
        """What the ingestor says of each group of streams that it carries (`streams`, `subscribed`)."""
        return list(get_json(self._health_port, "/health")["groups"].values())

    @property
    def subscribed(self) -> int:
        """Streams of groups for which the exchange has acknowledged everything."""
        return sum(group["streams"] for group in self.groups() if group["subscribed"])

    @property
    def exchange_late_s(self) -> float:
        """How far the stand-in's market is behind the clock, in s."""
        return time.time() - float(get_json(self.exchange_port, "/control/status")["now"]) / 1000

    def usage(self) -> Usage:
        """CPU time used so far."""
        return read_usage(self._children, (self._ground.server_core, self._ground.other_core))

    def memory_mb(self) -> float:
        """The ingestor's resident memory, in MB."""
        memory: float = psutil.Process(self._children["server"].pid).memory_info().rss / 2**20
        return memory

    @property
    def _url(self) -> str:
        return f"redis://{LOOPBACK}:{self._redis_port}/0"

    def _start(self) -> None:
        self._spawn("redis", redis_argv(self._redis_port, self._ground.directory)).await_port(self._redis_port)
        launch = self._launch(self.exchange_port)
        self._spawn("publisher", launch.argv, launch.env).await_port(self.exchange_port)
        env = {
            "HOST": LOOPBACK,
            "PORT": str(self._health_port),
            "BUS_URL": self._url,
            "EXCHANGE": "simulate",
            "EXCHANGE_URL": f"http://{LOOPBACK}:{self.exchange_port}",
        }
        argv = (sys.executable, "-m", "app", "ingestor")
        server = self._spawn("server", argv, env, core=self._ground.server_core)
        server.await_port(self._health_port, "/health/ready")

    def _spawn(
        self, name: str, argv: tuple[str, ...], env: Mapping[str, str] | None = None, core: int | None = None
    ) -> Child:
        where = self._ground.other_core if core is None else core
        child = self._exits.enter_context(Child(name, argv, where, self._ground.directory, env))
        self._children[name] = child
        return child


def measure_ingest(ground: Ground, rate: float, seconds: float) -> Sample:
    """Play recorded frames at `rate` a second, and wait until all have arrived on the bus.

    Lags run from the moment a frame was due to its arrival at another process over Redis. Raises BenchError
    when a stream's messages arrive in another order than they were sent.
    """
    recordings = [RECORDING] if RECORDING.is_file() else _record_stand_in(ground)
    streams = sorted({StreamName.parse(frame.name) for frame in read_frames(recordings)})
    if not streams:
        raise BenchError("the recording holds no message of a stream")
    source = (sys.executable, "-m", "loadtest.bench.ingest_source")
    with IngestStage(ground, lambda port: Launch((*source, str(port), *map(str, recordings)), {})) as stage:
        stage.watch(streams)
        stage.ask_probe("want")
        _await(lambda: stage.ask_source("?")["subscribed"] >= len(streams), "the ingestor does not subscribe")
        _play(stage, rate, _WARM_UP_S)
        before = stage.usage()
        sent, seen = _play(stage, rate, seconds)
        return _sample_of(seen, sent, stage.memory_mb(), stage.usage().since(before))


def measure_cold_start(ground: Ground, symbols: int) -> ColdStart:
    """Ask an ingestor that carries next to nothing for KINDS of so many symbols, and wait until all have spoken."""
    # A calm market: the stand-in is to have time to answer.
    env = {"HOST": LOOPBACK, "EXCHANGE": "simulate", "SIM_SYMBOLS": str(symbols), "SIM_TRADES_PER_SECOND": "0.2"}
    argv = (sys.executable, "-m", "app", "exchange")
    with IngestStage(ground, lambda port: Launch(argv, {**env, "PORT": str(port)})) as stage:
        # It first lives through the time that its start took; where it has no core to do so, we begin anyway.
        with contextlib.suppress(BenchError):
            _await(lambda: stage.exchange_late_s < _LATE_S, "the stand-in does not keep up", _CATCH_UP_S)
        listed = get_json(stage.exchange_port, "/api/v3/exchangeInfo")["symbols"]
        streams = [
            StreamName.of(Market.SPOT, listing["symbol"], kind, option) for listing in listed for kind, option in KINDS
        ]
        stage.watch(streams)
        before, began = stage.usage(), time.monotonic()
        stage.ask_probe("want")
        _await(lambda: stage.subscribed >= len(streams), "the exchange has not acknowledged every stream")
        acknowledged_s, usage = time.monotonic() - began, stage.usage().since(before)
        _await(lambda: stage.ask_probe("look")["spoke"] >= len(streams), "some streams stay silent")
        spoke_s = time.monotonic() - began
        groups = stage.groups()
        counted = get_json(stage.exchange_port, "/control/status")
    return ColdStart(
        plan=plan([stream.binance_name for stream in streams], [group["streams"] for group in groups]),
        acknowledged_s=acknowledged_s,
        spoke_s=spoke_s,
        connections=counted["connections_total"],
        messages=counted["client_messages_total"],
        busiest_second=counted["busiest_second"][Market.SPOT],
        refused=counted["connections_refused_total"] + counted["rate_closed_total"],
        others_share=_others_share(usage),
    )


def _others_share(usage: Usage) -> float:
    """How much of a core something else took, of the busier one of the two."""
    server_s = usage.processes["server"].total_s
    around_s = sum(cpu.total_s for cpu in usage.processes.values()) - server_s
    return max(0.0, usage.cores_s[0] - server_s, usage.cores_s[1] - around_s) / usage.at_s


def _record_stand_in(ground: Ground) -> list[Path]:
    """Record a lively stand-in for as long as it takes to fill _STAND_IN_BYTES."""

    def recorded() -> int:
        return sum(path.stat().st_size for path in folder.glob("*.ndjson.gz"))

    port, folder = free_port(), ground.directory / "recording"
    env = {"HOST": LOOPBACK, "PORT": str(port), "EXCHANGE": "simulate", "SIM_TRADES_PER_SECOND": "50"}
    record = (sys.executable, "-m", "exchange", "record", "--ws-base", f"ws://{LOOPBACK}:{port}")
    options = ("--streams", ",".join(_STAND_IN_STREAMS), "--out", str(folder))
    where = ground.other_core, ground.directory
    with Child("recorded exchange", (sys.executable, "-m", "app", "exchange"), *where, env) as exchange:
        exchange.await_port(port)
        with Child("recorder", (*record, *options), *where):
            _await(lambda: recorded() >= _STAND_IN_BYTES, "nothing was recorded of the stand-in")
    return sorted(folder.glob("*.ndjson.gz"))


def _play(stage: IngestStage, rate: float, seconds: float) -> tuple[int, dict[str, Any]]:
    """Play for so long and wait until everything has arrived; how much was sent, and what the probe saw."""
    stage.ask_probe("begin")
    before = stage.ask_source(f"play {rate}")["sent"]
    time.sleep(seconds)
    sent = stage.ask_source("stop")["sent"] - before
    # What does not arrive is a result, not an error.
    with contextlib.suppress(BenchError):
        _await(lambda: stage.ask_probe("look")["messages"] >= sent, "some never arrived", _DRAIN_S)
    return sent, stage.ask_probe("look")


def _await(condition: Callable[[], bool], complaint: str, longest_s: float = _SETTLE_MAX_S) -> None:
    """Return once `condition` holds. Raises BenchError with `complaint` after `longest_s`."""
    deadline = time.monotonic() + longest_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{complaint} within {longest_s:.0f} s")
        time.sleep(_POLL_S)


def _sample_of(seen: Mapping[str, Any], sent: int, memory_mb: float, usage: Usage) -> Sample:
    if seen["disordered"]:
        raise BenchError(f"{seen['disordered']} messages arrived in another order than they were sent")
    return Sample(
        clients=1,
        published=sent,
        delivered=seen["messages"],
        reads=0,
        lost_clients=0,
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
        rss_mb=memory_mb,
        usage=usage,
    )
