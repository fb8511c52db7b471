"""Samples and results made up for tests of what is computed from them."""

from dataclasses import replace

from loadtest.bench import scenarios
from loadtest.bench.cold_start import ColdStart, Plan
from loadtest.bench.samples import Connecting, Cpu, Results, Row, Sample, Usage
from loadtest.bench.servers import NODE, STOCK, TICKCAST

A_SAMPLE = Sample(
    clients=200,
    published=1000,
    delivered=200_000,
    reads=150_000,
    lost_clients=0,
    p50_ms=1.0,
    p99_ms=20.0,
    rss_mb=80.0,
    usage=Usage(1.0, {"server": Cpu(0.3, 0.5), "receiver": Cpu(0.1, 0.2), "redis": Cpu(0.0, 0.1)}, (0.9, 0.5)),
)
A_COLD_START = ColdStart(
    Plan(streams=2000, connections=8, fullest=300, messages=2, seconds=0.0),
    acknowledged_s=0.5,
    spoke_s=6.0,
    connections=8,
    messages=16,
    busiest_second=2,
    refused=0,
    others_share=0.02,
)


def sample(*, delivered: int = 200_000, cpu_s: float = 0.8, p99_ms: float = 20.0) -> Sample:
    usage = replace(A_SAMPLE.usage, processes={"server": Cpu(cpu_s, 0.0), "receiver": Cpu(0.3, 0.0)})
    return replace(A_SAMPLE, published=delivered // 200, delivered=delivered, p99_ms=p99_ms, usage=usage)


def connecting(*, cpu_s: float, memory_bytes: int) -> Connecting:
    return Connecting(4000, 2.0, Cpu(cpu_s, 0.0), {0: 2**26, 4000: 2**26 + memory_bytes}, receiver_share=0.1)


def results() -> Results:
    """Every goal met: saturation 10 and 40 times, half the CPU, half the memory, a slow quarter that nobody feels."""
    rows = []
    for server, factor in ((TICKCAST, 1), (NODE, 10), (STOCK, 40)):
        cpu_s = 0.4 if server == TICKCAST else 0.8
        rows += [
            Row(scenarios.UNBATCHED, server, scenarios.SLOW_RATE, sample(cpu_s=cpu_s)),
            Row(scenarios.UNBATCHED, server, scenarios.MEDIUM_RATE, sample(cpu_s=cpu_s)),
            Row(scenarios.STEPS, server, "5,000/s", sample(delivered=1_000_000 // factor)),
            Row(scenarios.SATURATION, server, "", sample(delivered=1_000_000 // factor)),
            Row(scenarios.SLOW_QUARTER, server, scenarios.ALL_READ, sample(p99_ms=10.0)),
            Row(scenarios.SLOW_QUARTER, server, scenarios.QUARTER_STALLS, sample(p99_ms=11.0)),
            Row(scenarios.IDLE, server, connecting=connecting(cpu_s=cpu_s, memory_bytes=int(cpu_s * 2**26))),
            Row(scenarios.MSGPACK, server, skipped="it has no <such> parser"),
        ]
    ingest = replace(A_SAMPLE, clients=1, published=105_000, delivered=105_000, usage=replace(A_SAMPLE.usage, at_s=5.0))
    rows += [
        Row(scenarios.INGEST, TICKCAST, scenarios.INGEST_RATE, ingest),
        Row(scenarios.COLD_START, TICKCAST, cold_start=A_COLD_START),
    ]
    return Results(rows, {"1 a write": A_SAMPLE})
