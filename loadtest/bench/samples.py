"""What one measurement found, and the figures that follow from it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import linear_regression
from typing import Final

from loadtest.bench.cold_start import ColdStart

P99_LIMIT_MS: Final = 100.0
"""Later than this is not live any more: a rate counts as served below it."""
DELIVERED_MIN: Final = 0.97
"""Of what was offered; the rest is on its way when a window ends."""
BUSY: Final = 0.95
"""A core that is busier than this may itself be what limits a figure."""
DISTURBED: Final = 0.1
"""Of the server's core; when something else takes more, a figure says little about the server."""


@dataclass(frozen=True)
class Cpu:
    """CPU time of one process, in s."""

    user_s: float = 0.0
    system_s: float = 0.0

    def __add__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user_s + other.user_s, self.system_s + other.system_s)

    def __sub__(self, other: "Cpu") -> "Cpu":
        return Cpu(self.user_s - other.user_s, self.system_s - other.system_s)

    @property
    def total_s(self) -> float:
        """User and system together, in s."""
        return self.user_s + self.system_s


@dataclass(frozen=True)
class Usage:
    """CPU time used so far, or between two moments: by process, and by core."""

    at_s: float
    processes: Mapping[str, Cpu]
    cores_s: tuple[float, ...]
    """How long each core of the bench was busy, with anything: the server's first, then the other one."""

    def since(self, earlier: "Usage") -> "Usage":
        """What was used since `earlier`."""
        used = {name: cpu - earlier.processes.get(name, Cpu()) for name, cpu in self.processes.items()}
        cores = tuple(now - then for now, then in zip(self.cores_s, earlier.cores_s, strict=True))
        return Usage(self.at_s - earlier.at_s, used, cores)


@dataclass(frozen=True)
class Sample:
    """What happened in a window of `usage.at_s` seconds with `clients` subscribed to every stream."""

    clients: int
    published: int
    delivered: int
    reads: int
    lost_clients: int
    p50_ms: float
    p99_ms: float
    rss_mb: float
    usage: Usage

    @property
    def seconds(self) -> float:
        """The window's length, in s."""
        return self.usage.at_s

    @property
    def offered_per_s(self) -> float:
        """Deliveries a second that the published updates ask for."""
        return self.published * self.clients / self.seconds

    @property
    def delivered_per_s(self) -> float:
        """Deliveries a second that arrived."""
        return self.delivered / self.seconds

    @property
    def user_us(self) -> float:
        """The server's user CPU time per delivery, in us."""
        return self._per_delivery(self.server.user_s)

    @property
    def system_us(self) -> float:
        """The server's system CPU time per delivery, in us."""
        return self._per_delivery(self.server.system_s)

    @property
    def cpu_us(self) -> float:
        """The server's CPU time per delivery, in us."""
        return self.user_us + self.system_us

    @property
    def server(self) -> Cpu:
        """The server's CPU time."""
        return self.usage.processes["server"]

    @property
    def others_share(self) -> float:
        """How much of the server's core something else took: should be next to nothing."""
        return max(0.0, (self.usage.cores_s[0] - self.server.total_s) / self.seconds)

    @property
    def second_core_share(self) -> float:
        """How busy the other core was: receiver, publisher, Redis and whatever else.

        The kernel samples a core's figure at its ticks and counts a process exactly: the larger is believed.
        """
        ours = sum(cpu.total_s for name, cpu in self.usage.processes.items() if name != "server")
        return max(self.usage.cores_s[1], ours) / self.seconds

    @property
    def disturbed(self) -> bool:
        """Whether something else had so much of the server's core that the figures mean little."""
        return self.others_share > DISTURBED

    @property
    def generator_limited(self) -> bool:
        """Whether the other core may be what limited the figures."""
        return self.second_core_share > BUSY

    @property
    def served(self) -> bool:
        """Whether everything offered arrived in time, and nobody was let go."""
        in_full = self.delivered_per_s >= DELIVERED_MIN * self.offered_per_s
        return in_full and self.p99_ms < P99_LIMIT_MS and not self.lost_clients and self.delivered > 0

    def share(self, process: str) -> float:
        """How much of a core `process` took."""
        return self.usage.processes.get(process, Cpu()).total_s / self.seconds

    def _per_delivery(self, seconds: float) -> float:
        return seconds * 1e6 / self.delivered if self.delivered else float("nan")


@dataclass(frozen=True)
class Connecting:
    """What `clients` cost a server that connected, subscribed to one stream and then idled."""

    clients: int
    seconds: float
    cpu: Cpu
    memory_bytes: Mapping[int, int]
    """The server's memory (proportional set size) beside so many of them, step by step."""
    receiver_share: float

    @property
    def connects_per_s(self) -> float:
        """Clients connected and subscribed a second."""
        return self.clients / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time per client, in us."""
        return self.cpu.total_s * 1e6 / self.clients

    @property
    def memory_kb(self) -> float:
        """What one more client takes of the server's memory, in KB of 1,024 bytes: the slope over all steps.

        Their difference from first to last would hide what fits into memory that was free already, or into
        a heap that grows by large pieces. The kernel's part (socket buffers) is the same for every server.
        """
        slope: float = linear_regression(list(self.memory_bytes), list(self.memory_bytes.values())).slope
        return slope / 1024


@dataclass(frozen=True)
class Row:
    """One line of a scenario's table. Without a sample it says why there is none."""

    scenario: str
    server: str
    variant: str = ""
    sample: Sample | None = None
    connecting: Connecting | None = None
    cold_start: ColdStart | None = None
    skipped: str = ""


@dataclass
class Results:
    """All rows of a run, in the order of measuring, the generator's own capacity, and what bare writes cost."""

    rows: list[Row] = field(default_factory=list)
    capacity: dict[str, Sample] = field(default_factory=dict)
    floor: Sample | None = None

    def sample(self, scenario: str, server: str, variant: str = "") -> Sample | None:
        """The sample of one row, if it was measured."""
        for row in self.rows:
            if (row.scenario, row.server, row.variant) == (scenario, server, variant):
                return row.sample
        return None

    def cold_start(self, scenario: str, server: str) -> ColdStart | None:
        """How a cold start went, if one was measured."""
        return next((row.cold_start for row in self.rows if (row.scenario, row.server) == (scenario, server)), None)

    def connecting(self, scenario: str, server: str) -> Connecting | None:
        """What connecting cost, if it was measured."""
        return next((row.connecting for row in self.rows if (row.scenario, row.server) == (scenario, server)), None)
