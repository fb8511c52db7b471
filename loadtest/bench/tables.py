"""The figures of a run as tables of text, for the terminal and for the page. Pure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from binance.entrances import MESSAGES_PER_SECOND
from binance.routes import MAX_STREAMS
from loadtest.bench.cold_start import CONNECTIONS_MAX
from loadtest.bench.samples import BUSY, DISTURBED, Results, Row, Sample
from loadtest.bench.scenarios import MEDIUM_RATE
from loadtest.bench.servers import TICKCAST
from market.streams import Market


class Table(NamedTuple):
    """Cells of text under a head; the first column is aligned to the left, all others to the right."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


_AROUND: Final = ("receiver", "publisher", "redis", "nginx")
_SAMPLE_HEAD: Final = (
    *("server", "updates", "offered/s", "delivered/s", "CPU us", "user", "system", "p50 ms", "p99 ms", "RSS MB"),
    *("core 1", "+".join(_AROUND[:3]), "others", "rate x", "CPU x"),
)
_CONNECTING_HEAD: Final = (
    *("server", "clients", "connects/s", "CPU us", "user", "system", "memory KB", "CPU x", "memory x"),
)
_COLD_START_HEAD: Final = (
    *("server", "streams", "connections", "on fullest", "SUBSCRIBEs", "planned s", "acknowledged s", "all spoke s"),
    *("messages", "in 1 s", "refused", "others"),
)

LEGEND: Final = (
    "CPU us: the server's CPU time per delivery (idle connections: per client). core 1: how busy the other core was, "
    "with anything (* = it may be what limited the figure), and the parts of receiver, publisher, Redis and, where it "
    "is, Nginx. others: what took the server's core besides the server (! = so much that the figures mean little). "
    "rate x, CPU x, memory x: Tickcast's figure divided by this server's."
)


def table(rows: Sequence[Row], results: Results) -> Table:
    """All rows of one scenario."""
    if any(row.cold_start for row in rows):
        return Table(_COLD_START_HEAD, [_cold_start_cells(row) for row in rows])
    if any(row.connecting for row in rows):
        return Table(_CONNECTING_HEAD, [_connecting_cells(row, results) for row in rows])
    return Table(_SAMPLE_HEAD, [_sample_cells(row, results) for row in rows])


def as_text(content: Table) -> str:
    """The table with its columns aligned."""
    lines = [content.head, *content.rows]
    widths = [max(len(line[i]) for line in lines if len(line) == len(content.head)) for i in range(len(content.head))]
    return "\n".join(_line(line, widths) for line in lines)


def line_of(row: Row) -> str:
    """One row in words, for the progress on the terminal."""
    words = f"{row.scenario}: {row.server} {row.variant}".rstrip()
    if row.sample:
        sample = row.sample
        words += f": {sample.delivered_per_s:,.0f}/s of {sample.offered_per_s:,.0f}/s, "
        words += f"{sample.cpu_us:.2f} us each, p99 {sample.p99_ms:.1f} ms"
    elif row.connecting:
        cost = row.connecting
        words += f": {cost.connects_per_s:,.0f} connects/s, {cost.cpu_us:.0f} us and {cost.memory_kb:.1f} KB each"
    elif row.cold_start:
        words += f": {row.cold_start.line}"
    else:
        words += f": skipped, {row.skipped}"
    return words


def capacity_lines(results: Results) -> list[str]:
    """How it is known that the generator is not the bottleneck."""
    lines = []
    for writes, sample in results.capacity.items():
        cost_us = sample.share("receiver") * sample.seconds * 1e6 / sample.delivered if sample.delivered else 0.0
        lines.append(
            f"The receiver took {sample.delivered_per_s:,.0f} frames/s ({writes}) from a sender that does nothing "
            f"else, at {cost_us:.2f} us of CPU a frame."
        )
    if results.floor and results.floor.delivered:
        floor = results.floor
        lines.append(
            f"The floor: a sender that makes one write for each client and update, and does nothing else, takes "
            f"{floor.cpu_us:.2f} us a delivery ({floor.system_us:.2f} of them the kernel's) at {MEDIUM_RATE}."
        )
    busiest = max(((row.sample.second_core_share, row) for row in results.rows if row.sample), default=None, key=_first)
    if busiest:
        share, row = busiest
        lines.append(f"Its core was busiest with {share:.0%}: {row.scenario}, {row.server} {row.variant}.".strip())
    return lines


def warnings(results: Results) -> list[str]:
    """What makes this run's figures doubtful; nothing on a quiet machine."""
    samples = [row.sample for row in results.rows if row.sample]
    disturbed = sum(sample.disturbed for sample in samples)
    limited = sum(sample.generator_limited for sample in samples)
    lines = []
    if disturbed:
        lines.append(
            f"WARNING: during {disturbed} of {len(samples)} measurements something else took more than {DISTURBED:.0%} "
            "of the server's core: repeat this run on a quiet machine"
        )
    if any(row.cold_start and row.cold_start.others_share > DISTURBED for row in results.rows):
        lines.append("WARNING: something else ran during the cold start, whose times are mostly the stand-in's then")
    if limited:
        lines.append(
            f"WARNING: during {limited} of {len(samples)} measurements the generator's core was busier than {BUSY:.0%}"
        )
    return lines


def _first(pair: tuple[float, Row]) -> float:
    return pair[0]


def _line(cells: tuple[str, ...], widths: Sequence[int]) -> str:
    if len(cells) != len(widths):
        return "  ".join(cells)
    first, *others = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join((first, *others)).rstrip()


def _sample_cells(row: Row, results: Results) -> tuple[str, ...]:
    if row.sample is None:
        return (row.server, f"skipped: {row.skipped}")
    sample, ours = row.sample, results.sample(row.scenario, TICKCAST, row.variant)
    return (
        row.server,
        row.variant or f"{sample.published / sample.seconds:,.0f}/s",
        f"{sample.offered_per_s:,.0f}",
        f"{sample.delivered_per_s:,.0f}",
        f"{sample.cpu_us:.2f}",
        f"{sample.user_us:.2f}",
        f"{sample.system_us:.2f}",
        f"{sample.p50_ms:.1f}",
        f"{sample.p99_ms:.1f}",
        f"{sample.rss_mb:.0f}",
        f"{sample.second_core_share:.0%}" + ("*" if sample.generator_limited else ""),
        "+".join(f"{sample.share(name):.0%}" for name in _AROUND if name in sample.usage.processes),
        f"{sample.others_share:.0%}" + ("!" if sample.disturbed else ""),
        *_factors(ours, sample),
    )


def _cold_start_cells(row: Row) -> tuple[str, ...]:
    if row.cold_start is None:
        return (row.server, f"skipped: {row.skipped}")
    start = row.cold_start
    return (
        row.server,
        f"{start.plan.streams:,}",
        f"{start.connections} of {CONNECTIONS_MAX}",
        f"{start.plan.fullest} of {MAX_STREAMS:,}",
        str(start.plan.messages),
        f"{start.plan.seconds:.1f}",
        f"{start.acknowledged_s:.2f}",
        f"{start.spoke_s:.2f}",
        str(start.messages),
        f"{start.busiest_second} of {MESSAGES_PER_SECOND[Market.SPOT]}",
        str(start.refused),
        f"{start.others_share:.0%}" + ("!" if start.others_share > DISTURBED else ""),
    )


def _factors(ours: Sample | None, sample: Sample) -> tuple[str, str]:
    if ours is None or ours is sample or not sample.delivered:
        return "", ""
    return f"{ours.delivered_per_s / sample.delivered_per_s:.2f}", f"{ours.cpu_us / sample.cpu_us:.2f}"


def _connecting_cells(row: Row, results: Results) -> tuple[str, ...]:
    if row.connecting is None:
        return (row.server, f"skipped: {row.skipped}")
    cost, ours = row.connecting, results.connecting(row.scenario, TICKCAST)
    compared = ours is not None and ours is not cost
    return (
        row.server,
        f"{cost.clients:,}",
        f"{cost.connects_per_s:,.0f}",
        f"{cost.cpu_us:.0f}",
        f"{cost.cpu.user_s * 1e6 / cost.clients:.0f}",
        f"{cost.cpu.system_s * 1e6 / cost.clients:.0f}",
        f"{cost.memory_kb:.1f}",
        f"{ours.cpu_us / cost.cpu_us:.2f}" if ours and compared else "",
        f"{ours.memory_kb / cost.memory_kb:.2f}" if ours and compared else "",
    )
