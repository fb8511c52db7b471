"""The bus contract: what every implementation guarantees, in prose, and the verbs it offers.

Market data
    `publish` sends a batch of messages; whoever has subscribed to a message's stream receives it.
    Delivery is at most once, and in order per publisher and stream. A message published while the
    server is away is dropped and counted (`dropped_total`), never queued: market data that comes
    late is worth less than data that comes next.

Announcements
    `announce` sends a small body to everybody who listens on a topic, with the same guarantees.

Values
    `put` and `get` keep the latest bytes under a key for as many seconds as `put` says. They are a
    cache: `get` answers None for what it does not have, also while the server is away, and what is
    kept may go before its time. A value is at most VALUE_MAX_BYTES long, so that every server takes it.

Budgets
    `spend` takes an amount from a budget that all ends share: the total under a key grows, in one
    step whoever else spends, unless it would exceed the limit. A total ends `ttl_s` after the first
    amount. While the server is away, refuses, or does not count (NATS without JetStream), each end
    counts by itself and lets itself have 1 / ALONE_PART of the limit (`spent_alone_total` counts how
    often): the data must not stop with the bus, and ALONE_PART ends together stay within the limit.
    An amount under way when the server goes may be counted there as well; none is counted too little.

Several servers
    `bus.sharded` puts each stream, topic and key on one of several servers, by consistent hashing. A
    server that is lost stops what is on it until it is back, and nothing else.

Lost server
    The connection is retried from 100 ms with jitter up to 2.5 s for ever; subscriptions and topics
    are restored before `connected` turns true again. A server that keeps the connection and says
    nothing counts as lost within 5 s. Nothing raises because a server is away: `connected` and
    `last_received` say so.

Handlers
    Handlers are plain functions, called in the event loop with everything that one read brought.
    A batch is therefore bounded by the read, and no queue stands between bus and handler. A handler
    that raises is logged and counted (`handler_errors_total`); the bus goes on. Received bytes that
    are no message are logged and counted (`malformed_total`) and never reach a handler.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import structlog

from bus.counters import Counters
from bus.loglimit import LogLimit
from market.messages import Message
from market.streams import StreamName

_log = structlog.get_logger(__name__)

VALUE_TTL_S: Final = 60
"""How long a value lives in the bus's cache unless its `put` says otherwise, in s."""
VALUE_MAX_BYTES: Final = 512 * 1024
ALONE_PART: Final = 4
"""An end without a server lets itself spend the limit divided by this."""

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 2.5
"""Short enough that data flows again within 3 s of the server's return, in s."""


def retry_delay_s(failures: int) -> float:
    """How long to wait after `failures` attempts in a row: doubling up to RETRY_MAX_S, half of it jitter."""
    longest = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(failures, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 # spreads load, guards nothing


MessageHandler: TypeAlias = Callable[[Sequence[Message]], None]
AnnouncementHandler: TypeAlias = Callable[[bytes], None]


class Bus(ABC):
    """The verbs and figures of the bus. Handlers are set before `start`; see the module's text for guarantees."""

    @abstractmethod
    def on_messages(self, handler: MessageHandler) -> None:
        """Have `handler` called with every batch of received messages."""

    @abstractmethod
    def listen(self, topic: str, handler: AnnouncementHandler) -> None:
        """Have `handler` called with every body announced on `topic`; one handler a topic.

        Raises RuntimeError after `start`: the topic would stay silent.
        """

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the server is reachable and all subscriptions stand."""

    @property
    @abstractmethod
    def trouble(self) -> str:
        """Why the latest attempt to connect was in vain, in words for anybody; empty while there is no trouble."""

    @abstractmethod
    async def start(self) -> None:
        """Begin to connect; returns at once, also when the server is away."""

    @abstractmethod
    async def close(self) -> None:
        """End all connections and tasks. Nothing is delivered afterwards."""

    @abstractmethod
    async def publish(self, messages: Sequence[Message]) -> None:
        """Send a batch of messages, in order, in as few round trips as the server allows."""

    @abstractmethod
    async def subscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams from now on. Returns once the server knows, or at once while it is away."""

    @abstractmethod
    async def unsubscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams no longer."""

    @abstractmethod
    async def announce(self, topic: str, body: bytes) -> None:
        """Send `body` to all listeners of `topic`, this process's own included."""

    @abstractmethod
    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep these values for `ttl_s` seconds. Raises ValueError for one longer than VALUE_MAX_BYTES."""

    @abstractmethod
    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""

    @abstractmethod
    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` (0 just reads) to the total under `key`, which ends `ttl_s` seconds after its first.

        The new total, or None where it would exceed `limit` and nothing was added.
        """

    @property
    @abstractmethod
    def dropped_total(self) -> int:
        """Messages and announcements that were given to the bus and never reached a server."""

    @property
    @abstractmethod
    def handler_errors_total(self) -> int:
        """How often a handler raised."""

    @property
    @abstractmethod
    def malformed_total(self) -> int:
        """Received bytes that were no message."""

    @property
    @abstractmethod
    def spent_alone_total(self) -> int:
        """Amounts that were counted here alone because the server was away."""

    @property
    @abstractmethod
    def connects_total(self) -> int:
        """How often the bus was connected; more than once means that it lost its server."""

    @property
    @abstractmethod
    def last_received(self) -> float:
        """`time.monotonic()` of the latest message or announcement; 0.0 before the first."""


class BusEnd(Bus):
    """One process's end of the bus on one server or cluster: handlers, and what is counted."""

    # Assigned to by every implementation; the class's own values stand in for the properties.
    dropped_total: int = 0
    handler_errors_total: int = 0
    malformed_total: int = 0
    spent_alone_total: int = 0
    last_received: float = 0.0

    def __init__(self) -> None:
        self._on_messages: MessageHandler = _ignore
        self._topics: dict[str, AnnouncementHandler] = {}
        self._started = False
        self._handler_errors = LogLimit()
        self._own_counters = Counters()

    def on_messages(self, handler: MessageHandler) -> None:
        """Have `handler` called with every batch of received messages."""
        self._on_messages = handler

    def listen(self, topic: str, handler: AnnouncementHandler) -> None:
        """Have `handler` called with every body announced on `topic`. Raises RuntimeError after `start`."""
        if self._started:
            raise RuntimeError(f"listen to {topic} before the bus is started")
        self._topics[topic] = handler

    def _spend_alone(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        self.spent_alone_total += 1
        return self._own_counters.spend(key, amount, limit // ALONE_PART, ttl_s)

    def _deliver(self, messages: Sequence[Message]) -> None:
        self.last_received = time.monotonic()
        try:
            self._on_messages(messages)
        except Exception as error:  # noqa: BLE001 # whatever a handler raises, the bus goes on
            self._note_handler_error(error, messages=len(messages))

    def _deliver_announcement(self, topic: str, body: bytes) -> None:
        self.last_received = time.monotonic()
        try:
            self._topics[topic](body)
        except Exception as error:  # noqa: BLE001 # whatever a handler raises, the bus goes on
            self._note_handler_error(error, topic=topic)

    def _note_handler_error(self, error: Exception, **context: object) -> None:
        self.handler_errors_total += 1
        if (held_back := self._handler_errors.admit()) is not None:
            _log.error("a bus handler failed", exc_info=error, held_back=held_back, **context)


def check_sizes(values: Mapping[str, bytes]) -> None:
    """Raise ValueError for a value that is longer than VALUE_MAX_BYTES."""
    for key, value in values.items():
        if len(value) > VALUE_MAX_BYTES:
            raise ValueError(f"the value under {key} has {len(value)} bytes; the bus keeps {VALUE_MAX_BYTES} at most")


def _ignore(_messages: Sequence[Message]) -> None:
    """Stand in for a handler in processes that only publish."""
