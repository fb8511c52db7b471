"""The bus on NATS: a subject per stream and topic, on one connection to one server of a cluster."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

import structlog

from bus import nats_wire
from bus.base import VALUE_TTL_S, BusEnd, check_sizes
from bus.loglimit import LogLimit
from bus.nats_keeper import StoreAwayError, StoreKeeper
from bus.nats_link import Link, NotAuthorizedError, open_link
from bus.nats_requests import INBOX_SID, Requests
from bus.nats_servers import Servers
from bus.nats_values import SEEN_SID, SeenStore
from bus.nats_wire import Received
from bus.supervision import stay_connected
from bus.tls import SYSTEM_TRUST, BusTls
from bus.trouble import shown, trouble_of
from market.messages import Message
from market.streams import StreamName

CONNECT_TIMEOUT_S: Final = 2.0
"""How long an attempt to connect, or to learn that a subscription stands, may take, in s."""

_ENVELOPE_BYTES: Final = 64
"""What a value gains on its way, at most."""
_PUBLISH_REFUSED: Final = "Permissions Violation for Publish"

_log = structlog.get_logger(__name__)


@lru_cache(maxsize=65_536)
def _subject(stream: StreamName) -> bytes:
    return stream.subject.encode()


def _topic_subject(topic: str) -> bytes:
    return b"ctl.%b" % nats_wire.token(topic)


class NatsBus(BusEnd):
    """One process's end of the bus on NATS; bus/nats_servers.py has the form of `url`.

    A server that is lost is followed by the URL's next one. Raises ValueError for a URL that is none.
    """

    connects_total: int = 0
    trouble: str = ""

    def __init__(self, url: str, name: str = "", tls: BusTls = SYSTEM_TRUST) -> None:
        super().__init__()
        self._servers = Servers(url, tls)
        self._name = name
        self._log = _log.bind(servers=str(self._servers), bus=name)
        # Ends that start together spread over the cluster.
        self._attempts = random.randrange(len(self._servers.all))  # noqa: S311 # spreads load, guards nothing
        self._sids: dict[StreamName, bytes] = {}
        self._streams: dict[bytes, StreamName] = {}
        self._last_sid = 0
        self._handlers: dict[bytes, Callable[[Received], None]] = {}
        self._link: Link | None = None
        self._keeper: StoreKeeper | None = None
        self._stands = False
        self._supervisor: asyncio.Task[None] | None = None
        self._connect_errors = LogLimit()
        self._malformed = LogLimit()
        self._refused = LogLimit()

    @property
    def connected(self) -> bool:
        """Whether a server is reachable and all subscriptions stand."""
        return self._stands

    async def start(self) -> None:
        """Begin to connect; returns at once, also when all servers are away."""
        if self._started:
            raise RuntimeError("a bus starts once")
        self._started = True
        self._supervisor = asyncio.create_task(stay_connected(self._connect_and_stay), name="bus")

    async def close(self) -> None:
        """End the connection. Nothing is delivered afterwards."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        # The supervisor may have been cancelled in the middle of its own tidying up.
        await self._disconnect()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send a batch in one write; what the server has not acknowledged counts as dropped."""
        await self._publish([(_subject(message.stream), message.encode()) for message in messages])

    async def announce(self, topic: str, body: bytes) -> None:
        """Send `body` to all listeners of `topic`, this process's own included."""
        await self._publish([(_topic_subject(topic), body)])

    async def subscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams from now on. Returns once the server knows, or at once while it is away."""
        wanted = list(streams)
        commands = [self._add(stream) for stream in wanted if stream not in self._sids]
        # Also when all of them were there: another caller may still wait for the server.
        if wanted:
            await self._settle(commands, "subscribing waits for the next connection")

    async def unsubscribe(self, streams: Iterable[StreamName]) -> None:
        """Receive these streams no longer."""
        sids = [sid for stream in streams if (sid := self._sids.pop(stream, None)) is not None]
        for sid in sids:
            del self._streams[sid]
        if sids:
            await self._settle(map(nats_wire.unsubscribe, sids), "unsubscribing ended with the connection")

    async def put(self, values: Mapping[str, bytes], ttl_s: int = VALUE_TTL_S) -> None:
        """Keep these values for `ttl_s` seconds. Raises ValueError for one longer than VALUE_MAX_BYTES."""
        check_sizes(values)
        fitting = {key: body for key, body in values.items() if self._fits(key, len(body) + _ENVELOPE_BYTES)}
        if fitting and self._keeper is not None:
            try:
                await self._keeper.use(lambda store: store.put(fitting, ttl_s))
            except StoreAwayError:  # logged where it was met
                return

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values under `keys`, in order; None for what is not there."""
        if keys and self._keeper is not None:
            try:
                return await self._keeper.use(lambda store: store.get(keys))
            except StoreAwayError:  # logged where it was met
                pass
        return [None] * len(keys)

    async def spend(self, key: str, amount: int, limit: int, ttl_s: int) -> int | None:
        """Add `amount` to the total under `key` unless that would exceed `limit` (None)."""
        if self._keeper is not None:
            try:
                return await self._keeper.use(lambda store: store.spend(key, amount, limit, ttl_s))
            except StoreAwayError:  # logged where it was met
                pass
        return self._spend_alone(key, amount, limit, ttl_s)

    def _add(self, stream: StreamName) -> bytes:
        # Never an id that was used before: messages may still be under way under that.
        self._last_sid += 1
        sid = self._sids[stream] = b"%d" % self._last_sid
        self._streams[sid] = stream
        return nats_wire.subscribe(_subject(stream), sid)

    async def _settle(self, commands: Iterable[bytes], otherwise: str) -> None:
        if self._link is None:
            return
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._link.settle(commands)
        except OSError as error:  # TimeoutError is one
            self._log.warning(otherwise, error=str(error))

    async def _publish(self, messages: Sequence[tuple[bytes, bytes]]) -> None:
        if not messages:
            return
        if self._link is None or not self._stands:
            self.dropped_total += len(messages)
            return
        fitting = [(subject, body) for subject, body in messages if self._fits(subject, len(body))]
        self.dropped_total += len(messages) - len(fitting)
        try:
            await self._link.settle([nats_wire.publish(subject, body) for subject, body in fitting])
        except OSError as error:
            self.dropped_total += len(fitting)
            if (held_back := self._refused.admit()) is not None:
                self._log.warning("the bus dropped messages", error=str(error), held_back=held_back)

    def _fits(self, what: str | bytes, size: int) -> bool:
        """Whether the server takes so many bytes; sent more, it ends the connection."""
        if self._link is None or size <= self._link.info.max_payload:
            return True
        if (held_back := self._refused.admit()) is not None:
            self._log.error("more bytes than the server takes", what=what, size=size, held_back=held_back)
        return False

    def _on_refusal(self, text: str) -> None:
        if text.startswith(_PUBLISH_REFUSED):
            self.dropped_total += 1

    def _on_read(self, received: list[Received]) -> None:
        messages: list[Message] = []
        streams, decode = self._streams, Message.decode
        for item in received:
            sid, subject, _, payload = item
            try:
                if (stream := streams.get(sid)) is not None:
                    messages.append(decode(stream, payload))
                elif (handler := self._handlers.get(sid)) is not None:
                    handler(item)
                # Neither: unsubscribed while the message was on its way.
            except ValueError as error:
                self._note_malformed(subject, payload, error)
        if messages:
            self._deliver(messages)

    def _note_malformed(self, subject: bytes, data: bytes, error: ValueError) -> None:
        self.malformed_total += 1
        if (held_back := self._malformed.admit()) is not None:
            self._log.error(
                "no message in what the bus brought",
                subject=subject,
                data=data[:80],
                error=str(error),
                held_back=held_back,
            )

    async def _connect_and_stay(self) -> float:
        """Connect and return when the connection is over: how long it stood, in s; 0.0 for a vain attempt."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                link = await self._connect()
            stands_since = loop.time()
            await asyncio.wait([link.lost])
        except Exception as error:  # noqa: BLE001 # whatever one attempt met, the next may do better
            self.trouble = trouble_of(error, (NotAuthorizedError,))
            if (held_back := self._connect_errors.admit()) is not None:
                self._log.warning(
                    "the bus cannot connect", trouble=self.trouble, error=shown(error), held_back=held_back
                )
            return 0.0
        finally:
            await self._disconnect()
        self._log.warning("the bus lost its server", server=str(link.server), streams=len(self._streams))
        return loop.time() - stands_since

    async def _connect(self) -> Link:
        server = self._servers.all[self._attempts % len(self._servers.all)]
        self._attempts += 1
        link = await open_link(server, self._servers, self._name, self._on_read, self._on_refusal)
        # From here on `subscribe` speaks to the server itself; what came before is restored below.
        self._link = link
        requests, seen = Requests(link), SeenStore(link)
        restored = [requests.subscription, seen.subscription]
        self._handlers = {INBOX_SID: requests.take, SEEN_SID: seen.take}
        for topic in self._topics:
            sid = b"t%d" % len(restored)
            self._handlers[sid] = partial(self._take_announcement, topic)
            restored.append(nats_wire.subscribe(_topic_subject(topic), sid))
        restored += (nats_wire.subscribe(_subject(stream), sid) for stream, sid in self._sids.items())
        await link.settle(restored)
        self._keeper = StoreKeeper(requests, seen)
        self._stands = True
        self.trouble = ""
        self.connects_total += 1
        self._log.info("the bus is connected", server=str(server), streams=len(self._sids), topics=len(self._topics))
        return link

    def _take_announcement(self, topic: str, received: Received) -> None:
        self._deliver_announcement(topic, received[3])

    async def _disconnect(self) -> None:
        self._stands = False
        if self._link is not None:
            self._link.abort()
        # Reset at the end only: `close` does this once more when it interrupts the supervisor here.
        if self._keeper is not None:
            await self._keeper.close()
        if self._link is not None:
            # Not awaited as such: a cancelled supervisor would cancel what others wait for.
            await asyncio.wait([self._link.lost])
        self._link = self._keeper = None
