"""A Redis Cluster: every channel and every value on the node that owns its slot (Redis 7, sharded Pub/Sub).

Each owner has a `RedisNode`; the map of slots is read again when a node says that it moved a slot,
and regularly while a node is away. A value whose slot is on the move right now (ASK, TRYAGAIN) counts
as refused: values are a cache.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import hiredis
import structlog
from redis.asyncio import Connection
from redis.crc import key_slot
from redis.exceptions import RedisError

from bus.loglimit import LogLimit
from bus.redis_link import SHARDED, Command, PushHandler, Reply
from bus.redis_node import REFUSALS, RedisNode
from bus.redis_url import CONNECT_TIMEOUT_S, Address, RedisUrl, ask_once
from bus.trouble import shown, trouble_of

SLOTS: Final = 16_384
REFRESH_S: Final = 15.0
"""How often the map of slots is read when nothing asks for it, in s."""
REFRESH_TROUBLED_S: Final = 0.5
"""The same while a node is away, or a slot is not where the map says, in s."""

_log = structlog.get_logger(__name__)
_slot: Final = lru_cache(maxsize=65_536)(key_slot)


class RedisCluster:
    """All nodes of a cluster that own slots, behind the verbs of one."""

    def __init__(self, url: RedisUrl, channels: Callable[[], Sequence[bytes]], on_pushes: PushHandler) -> None:
        self._url = url
        self._channels = channels
        self._on_pushes = on_pushes
        self._nodes: dict[Address, RedisNode] = {}
        self._owners: list[RedisNode | None] = [None] * SLOTS
        self._moved: set[int] = set()
        self._stale = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._errors = LogLimit()
        self._map_trouble = ""
        self._log = _log.bind(server=str(url))

    @property
    def connected(self) -> bool:
        """Whether every slot has an owner that is reachable, with all its subscriptions."""
        return bool(self._nodes) and None not in self._owners and all(node.connected for node in self._nodes.values())

    @property
    def trouble(self) -> str:
        """Why the latest attempt to reach one of the nodes was in vain; empty while there is no trouble."""
        return next((node.trouble for node in self._nodes.values() if node.trouble), self._map_trouble)

    @property
    def connects_total(self) -> int:
        """How often one of the present nodes was connected."""
        return sum(node.connects_total for node in self._nodes.values())

    def start(self) -> None:
        """Begin to read the map and to connect."""
        self._keeper = asyncio.create_task(self._keep_map(), name="redis cluster")

    async def close(self) -> None:
        """End all connections."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await asyncio.gather(*(node.close() for node in self._nodes.values()))

    async def request(self, commands: Sequence[Command]) -> Sequence[Reply]:
        """The reply to each command; what was sent to a node that is no longer the owner is sent once more."""
        replies: list[Reply] = [ConnectionResetError("no node owns the slot")] * len(commands)
        await self._ask(commands, range(len(commands)), replies)
        moved = [number for number, reply in enumerate(replies) if self._learn(reply)]
        if moved:
            await self._ask(commands, moved, replies)
        return replies

    async def subscribe(self, channels: Sequence[bytes]) -> None:
        """Receive these channels, too; those of a node that is away when it is back."""
        await asyncio.gather(*(node.subscribe(part) for node, part in self._by_owner(channels)))

    async def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Receive these channels no longer."""
        await asyncio.gather(*(node.unsubscribe(part) for node, part in self._by_owner(channels)))

    async def _ask(self, commands: Sequence[Command], numbers: Sequence[int], replies: list[Reply]) -> None:
        parts: defaultdict[RedisNode, list[int]] = defaultdict(list)
        for number in numbers:
            owner = self._owners[_slot(_key(commands[number]))]
            if owner is not None:
                parts[owner].append(number)
        answers = await asyncio.gather(
            *(node.request([commands[number] for number in part]) for node, part in parts.items())
        )
        for part, answer in zip(parts.values(), answers, strict=True):
            for number, reply in zip(part, answer, strict=True):
                replies[number] = reply

    def _by_owner(self, channels: Sequence[bytes]) -> list[tuple[RedisNode, list[bytes]]]:
        parts: defaultdict[RedisNode, list[bytes]] = defaultdict(list)
        for channel in channels:
            owner = self._owners[_slot(channel)]
            if owner is not None:
                parts[owner].append(channel)
        return list(parts.items())

    def _learn(self, reply: Reply) -> bool:
        """Whether `reply` says that a slot has moved (`MOVED slot host:port`) to a node that is known already."""
        if not isinstance(reply, hiredis.ReplyError) or not str(reply).startswith("MOVED "):
            return False
        _, slot, place = str(reply).split()
        host, _, port = place.rpartition(":")
        self._note_moved(int(slot))
        node = self._nodes.get(Address(host, int(port)))
        if node is not None:
            self._owners[int(slot)] = node
        return node is not None

    def _note_moved(self, slot: int) -> None:
        self._moved.add(slot)
        self._stale.set()

    async def _keep_map(self) -> None:
        while True:
            self._stale.clear()
            moved, self._moved = self._moved, set()
            try:
                async with asyncio.timeout(2 * CONNECT_TIMEOUT_S):
                    await self._apply(await self._read_map(), moved)
                self._map_trouble = ""
            except (OSError, TimeoutError, RedisError, ValueError) as error:
                self._moved |= moved
                self._map_trouble = trouble_of(error, REFUSALS)
                if (held_back := self._errors.admit()) is not None:
                    self._log.warning(
                        "no node tells who owns the slots",
                        trouble=self._map_trouble,
                        error=shown(error),
                        held_back=held_back,
                    )
            await asyncio.sleep(REFRESH_TROUBLED_S)
            if self.connected and not self._moved:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFRESH_S):
                        await self._stale.wait()

    async def _read_map(self) -> list[Address | None]:
        """The owner of each slot, from the first node that answers."""
        for node in self._nodes.values():
            (reply,) = await node.request([("CLUSTER", "SLOTS")])
            if isinstance(reply, list):
                return _owners(reply)
        error: Exception = ConnectionResetError("the URL names no node")
        for address in self._url.addresses:
            try:
                return _owners(await ask_once(self._url.connection(address), "CLUSTER", "SLOTS"))
            except (OSError, RedisError) as refused:
                error = refused
        raise error

    async def _apply(self, owners: Sequence[Address | None], moved: set[int]) -> None:
        """Take over a new map, and subscribe at the new owners to what has moved."""
        present = {address for address in owners if address is not None}
        for address in present - self._nodes.keys():
            self._nodes[address] = self._open(address)
        for slot, owner in enumerate(owners):
            node = None if owner is None else self._nodes[owner]
            if node is not self._owners[slot]:
                self._owners[slot] = node
                moved.add(slot)
        gone = self._nodes.keys() - present
        await asyncio.gather(*(self._nodes.pop(address).close() for address in gone))
        if moved:
            await self.subscribe([channel for channel in self._channels() if _slot(channel) in moved])

    def _open(self, address: Address) -> RedisNode:
        async def dial() -> Connection:
            return self._url.connection(address)

        def channels() -> Sequence[bytes]:
            return [channel for channel in self._channels() if self._owners[_slot(channel)] is node]

        node = RedisNode(str(address), dial, channels, self._on_pushes, verbs=SHARDED, on_moved=self._note_moved)
        node.start()
        return node


def _key(command: Command) -> bytes:
    key = command[3 if command[0] == "EVAL" else 1]
    return key if isinstance(key, bytes) else str(key).encode()


def _owners(reply: object) -> list[Address | None]:
    """The owner of each slot in the answer to CLUSTER SLOTS. Raises ValueError for one that is none."""
    owners: list[Address | None] = [None] * SLOTS
    if not isinstance(reply, list) or not reply:
        raise ValueError("the node knows of no slots")
    for first, last, master, *_ in reply:
        address = Address(master[0].decode(), int(master[1]))
        owners[first : last + 1] = [address] * (last + 1 - first)
    return owners
