"""The bus contract: what every implementation guarantees, in prose, and the verbs it offers.

Market data
    `publish` sends a batch of messages; whoever has subscribed to a message's stream receives it.
    Delivery is at most once, and in order per publisher and stream. A message published while the
    server is away is dropped and counted (`dropped_total`), never queued: market data that comes
    late is worth less than data that comes next.

Announcements
    `announce` sends a small body to everybody who listens on a topic, with the same guarantees.

Values
    `put` and `get` keep the latest bytes under a key for `VALUE_TTL_S` seconds. They are a cache:
    `get` answers None for what it does not have, also while the server is away.

Lost server
    The connection is retried from 100 ms with jitter up to 3 s for ever; subscriptions and topics
    are restored before `connected` turns true again. Nothing raises because a server is away:
    `connected` and `last_received` say so.

Handlers
    Handlers are plain functions, called in the event loop with everything that one read brought.
    A batch is therefore bounded by the read, and no queue stands between bus and handler. A handler
    that raises is logged and counted (`handler_errors_total`); the bus goes on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from market.messages import Message
from market.streams import StreamName

VALUE_TTL_S: Final = 60
"""How long a value lives in the bus's cache, in s."""

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 3.0

MessageHandler: TypeAlias = Callable[[Sequence[Message]], None]
AnnouncementHandler: TypeAlias = Callable[[bytes], None]


class Bus(ABC):
    """One process's end of the bus. Handlers are set before `start`; see the module's text for guarantees."""

    def __init__(self) -> None:
        self._on_messages: MessageHandler = _ignore
        self._topics: dict[str, AnnouncementHandler] = {}
        self.dropped_total = 0
        self.handler_errors_total = 0
        self.last_received = 0.0
        """`time.monotonic()` of the latest message or announcement; 0.0 before the first."""

    def on_messages(self, handler: MessageHandler) -> None:
        """Have `handler` called with every batch of received messages."""
        self._on_messages = handler

    def listen(self, topic: str, handler: AnnouncementHandler) -> None:
        """Have `handler` called with every body announced on `topic`; one handler a topic."""
        self._topics[topic] = handler

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether the server is reachable and all subscriptions stand."""

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
    async def put(self, values: Mapping[str, bytes]) -> None:
        """Keep these values for VALUE_TTL_S seconds."""

    @abstractmethod
    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""


def _ignore(_messages: Sequence[Message]) -> None:
    """Stand in for a handler in processes that only publish."""
