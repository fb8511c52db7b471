"""What is measured: every scenario for every server, each on a stage of its own."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from loadtest.bench.frames import Parser
from loadtest.bench.ingest import measure_cold_start, measure_ingest
from loadtest.bench.metronome import Pace
from loadtest.bench.processes import BenchError
from loadtest.bench.samples import Results, Row, Sample
from loadtest.bench.search import RateSearch
from loadtest.bench.servers import TICKCAST, Contestant
from loadtest.bench.stage import SLOW, Ground, Setup, Stage

UNBATCHED: Final = "unbatched"
SATURATION: Final = "saturation"
STEPS: Final = "saturation, step by step"
MANY_STREAMS: Final = "20 streams x 1,000 clients"
SLOW_QUARTER: Final = "one slow quarter"
IDLE: Final = "idle connections"
NGINX: Final = "through Nginx"
MSGPACK: Final = "msgpack parser"
POLLING: Final = "long polling"
INGEST: Final = "ingest"
COLD_START: Final = "cold start"

SLOW_RATE: Final = "50/s"
MEDIUM_RATE: Final = "400/s"
FAST_RATE: Final = "1,000/s"
_RATES: Final = {SLOW_RATE: 50, MEDIUM_RATE: 400, FAST_RATE: 1000}
FLOOR_RATE: Final = _RATES[MEDIUM_RATE]
INGEST_RATE: Final = "21,000/s"
_INGEST_RATE: Final = 21_000.0
ALL_READ: Final = "all read"
QUARTER_STALLS: Final = "50 of 200 stopped reading"

CLIENTS: Final = 200
TICK_MS: Final = 5.0
"""Batched updates are published so often: an ingestor publishes what one turn of its loop brought."""
_WARM_CLIENTS: Final = 200
_IDLE_STEP: Final = 1000
_IDLE_STEPS: Final = 5
_FIRST_STEP: Final = 0.7
"""Where the search begins: this part of what the unbatched CPU time promises."""
NARROW: Final = 0.8
_SLOW_QUARTER_RATE_MAX: Final = 1000.0
_COLD_SYMBOLS: Final = 500


class Scenario(NamedTuple):
    """`run` measures one server and yields its rows; it may look at what was measured before."""

    name: str
    explanation: str
    run: Callable[[Ground, Contestant, Results], Iterator[Row]]


def measure(
    scenarios: Sequence[Scenario],
    contestants: Sequence[Contestant],
    ground: Ground,
    results: Results,
    report: Callable[[Row], None],
) -> None:
    """Run every scenario for every server into `results`; what cannot be measured gets a row that says why."""

    def keep(row: Row) -> None:
        results.rows.append(row)
        report(row)

    for scenario in scenarios:
        for contestant in contestants:
            try:
                for row in scenario.run(ground, contestant, results):
                    keep(row)
            except BenchError as error:
                keep(Row(scenario.name, contestant.name, skipped=str(error)))


def _unbatched(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    with Stage(ground, contestant, Setup()) as stage:
        stage.connect(CLIENTS)
        for variant, rate in _RATES.items():
            yield Row(UNBATCHED, contestant.name, variant, stage.measure(Pace(rate), 3.0))


def _saturation(ground: Ground, contestant: Contestant, results: Results) -> Iterator[Row]:
    """Raise the rate step by step; a failed step leaves a backlog, so the next gets a new server.

    A narrow failure has a second chance: a moment of somebody else's work on the machine fails a step, too.
    """
    search = RateSearch(_FIRST_STEP * _promised_rate(results, contestant))
    best: Sample | None = None
    failed_before = False
    while not search.done:
        with Stage(ground, contestant, Setup()) as stage:
            stage.connect(CLIENTS)
            served = True
            while served and not search.done:
                row = _step(stage, contestant, search.rate)
                yield row
                served = row.sample is not None and row.sample.served
                if row.sample and served and (best is None or row.sample.delivered_per_s > best.delivered_per_s):
                    best = row.sample
                if served or failed_before or not _is_narrow(row):
                    search.record(served=served)
                    failed_before = False
                else:
                    failed_before = True
    yield Row(SATURATION, contestant.name, "", best, skipped="" if best else "no rate was served")


def _step(stage: Stage, contestant: Contestant, rate: float) -> Row:
    """One rate; also one that the publisher or the clients do not survive is a result."""
    variant = f"{rate:,.0f}/s"
    try:
        return Row(STEPS, contestant.name, variant, stage.measure(Pace(rate, TICK_MS), 2.0))
    except BenchError as error:
        return Row(STEPS, contestant.name, variant, skipped=str(error))


def _is_narrow(row: Row) -> bool:
    """Whether a step that failed delivered nearly all."""
    return row.sample is not None and row.sample.delivered_per_s >= NARROW * row.sample.offered_per_s


def _promised_rate(results: Results, contestant: Contestant) -> float:
    """Updates/s that a core would be busy with at the unbatched CPU time per delivery. Raises BenchError."""
    sample = results.sample(UNBATCHED, contestant.name, FAST_RATE)
    if sample is None or not sample.delivered:
        raise BenchError("nothing was delivered unbatched")
    return 1e6 / sample.cpu_us / CLIENTS


def _many_streams(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    with Stage(ground, contestant, Setup(streams=20)) as stage:
        stage.connect(1000)
        yield Row(MANY_STREAMS, contestant.name, "60/s", stage.measure(Pace(60, TICK_MS), 5.0))


def _slow_quarter(ground: Ground, contestant: Contestant, results: Results) -> Iterator[Row]:
    """At half of what the server can serve; the slow ones sit in the middle of the others."""
    best = results.sample(SATURATION, contestant.name)
    if best is None:
        raise BenchError("its saturation is unknown")
    pace = Pace(min(_SLOW_QUARTER_RATE_MAX, best.published / best.seconds / 2), TICK_MS)
    with Stage(ground, contestant, Setup()) as stage:
        stage.connect(75)
        stage.connect(50, SLOW)
        stage.connect(75)
        yield Row(SLOW_QUARTER, contestant.name, ALL_READ, stage.measure(pace, 10.0))
        stage.freeze_slow()
        yield Row(SLOW_QUARTER, contestant.name, QUARTER_STALLS, stage.measure(pace, 10.0))


def _idle(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    with Stage(ground, contestant, Setup(streams=1)) as stage:
        stage.connect(_WARM_CLIENTS)
        yield Row(IDLE, contestant.name, connecting=stage.connect_idle(_IDLE_STEP, _IDLE_STEPS))


def _through_nginx(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    with Stage(ground, contestant, Setup(through_nginx=True)) as stage:
        stage.connect(CLIENTS)
        yield Row(NGINX, contestant.name, SLOW_RATE, stage.measure(Pace(50, TICK_MS), 5.0))


def _msgpack(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    with Stage(ground, contestant, Setup(parser=Parser.MSGPACK)) as stage:
        stage.connect(CLIENTS)
        yield Row(MSGPACK, contestant.name, SLOW_RATE, stage.measure(Pace(50, TICK_MS), 5.0))


def _polling(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    with Stage(ground, contestant, Setup(polling=True)) as stage:
        stage.connect(100)
        yield Row(POLLING, contestant.name, "10/s", stage.measure(Pace(10), 5.0))


def _ingest(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    """The peers have no such part."""
    if contestant.name == TICKCAST:
        yield Row(INGEST, TICKCAST, INGEST_RATE, measure_ingest(ground, _INGEST_RATE, 5.0))


def _cold_start(ground: Ground, contestant: Contestant, _results: Results) -> Iterator[Row]:
    if contestant.name == TICKCAST:
        yield Row(COLD_START, TICKCAST, cold_start=measure_cold_start(ground, _COLD_SYMBOLS))


MAIN_SCENARIOS: Final = (
    Scenario(
        UNBATCHED,
        "200 clients, each subscribed to 5 streams; updates come one by one, evenly spaced but for a small jitter. "
        "The goal is judged at 400/s, the highest of these rates at which every update can be a turn of its own: at "
        "1,000/s Node is overloaded and sends several updates a turn.",
        _unbatched,
    ),
    Scenario(
        SATURATION,
        "The same clients; updates come in batches every 5 ms, at a rate that is raised while at least 97 % "
        "arrive within the window and p99 stays below 100 ms. The best step that was served.",
        _saturation,
    ),
)
MORE_SCENARIOS: Final = (
    Scenario(MANY_STREAMS, "Every client subscribed to all 20 streams, 60 updates/s together.", _many_streams),
    Scenario(
        SLOW_QUARTER,
        "At half of its own saturation (at most 1,000 updates/s): 150 clients that read, beside 50 that read first "
        "and then stop. Figures are those of the 150; CPU time includes what the server spends on the 50.",
        _slow_quarter,
    ),
    Scenario(
        IDLE,
        "5 times 1,000 clients connect, subscribe to one stream and idle, on a server that had 200. Memory is "
        "the slope of the proportional set size over the steps; CPU time is that of connecting and subscribing.",
        _idle,
    ),
    Scenario(NGINX, "200 clients, 5 streams, 50 updates/s, through the Nginx that we ship.", _through_nginx),
    Scenario(MSGPACK, "200 clients, 5 streams, 50 updates/s, with socket.io-msgpack-parser's packets.", _msgpack),
    Scenario(POLLING, "100 clients over long polling, 5 streams, 10 updates/s.", _polling),
    Scenario(
        INGEST,
        "One ingestor alone: recorded frames of Binance (trade, bookTicker, depth; simulated ones where there is no "
        "recording) go over one WebSocket to it and through Redis to a process that looks at them. Server: the "
        "ingestor, publisher: what plays the exchange, delivery: a message; lags run from the moment a frame was due.",
        _ingest,
    ),
    Scenario(
        COLD_START,
        f"{_COLD_SYMBOLS} symbols x 4 kinds (ticker, miniTicker, kline, depth20), asked of an ingestor that carries "
        "nearly nothing. The stand-in keeps Binance's limits and counts. A SUBSCRIBE takes 200 names or 4,096 bytes; "
        "Binance reads 5 messages a second from a connection and we send at most 2 in 0.7 s, which makes the plan.",
        _cold_start,
    ),
)
