"""Bybit's public spot connection, server side: subscriptions, pings, and the limits that Bybit sets.

Source: Bybit v5 "Connect". How refusals are worded is not documented; clients have to go by `success`.
"""

import asyncio
import time
from typing import Any, Final
from uuid import uuid4

import msgspec
import structlog
from aiohttp import WSMsgType, web

from bybit.subscriptions import MAX_ARGS, Op
from exchange.broadcast import Broadcast, text_frame
from exchange.bybit_topics import BybitMarket
from exchange.connections import MAX_BACKLOG
from exchange.faults import Faults
from market.streams import Market

PATH: Final = "/bybit/v5/public/spot"
MAX_MESSAGE_BYTES: Final = 32 * 1024
MAX_ARGS_LENGTH: Final = 21_000
"""Characters that the topics of one connection may have together."""

_CLOSE_S: Final = 2.0
_GOING_AWAY: Final = 1001

_log = structlog.get_logger(__name__)
_encode: Final = msgspec.json.Encoder().encode


class _Asked(msgspec.Struct):
    op: str
    args: list[str] = []
    req_id: str = ""


_decode: Final = msgspec.json.Decoder(_Asked).decode


class BybitConnection:
    """One client; frames go straight to its transport, shared with others (exchange/broadcast.py: Subscriber)."""

    combined = False

    def __init__(self, request: web.Request, response: web.WebSocketResponse) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client left during the handshake")
        self.topics: set[str] = set()
        self.conn_id = str(uuid4())
        self._response = response
        self._transport: asyncio.WriteTransport = request.transport
        self._queued: list[bytes] = []

    def send(self, data: bytes) -> bool:
        """Queue one frame; true = the first since the last flush."""
        self._queued.append(data)
        return len(self._queued) == 1

    def flush(self) -> None:
        """Write what is queued; a client that has let too much pile up is cut off."""
        queued, self._queued = self._queued, []
        if self._transport.is_closing():
            return
        self._transport.write(b"".join(queued))
        if self._transport.get_write_buffer_size() > MAX_BACKLOG:
            _log.warning("client reads too slowly, cut off", path=PATH)
            self.abort()

    def abort(self) -> None:
        """Cut the connection without a word."""
        self._transport.abort()

    async def close(self) -> None:
        """Close politely; a client that does not answer is cut off."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._response.close(code=_GOING_AWAY, message=b"Server shutting down")
        except TimeoutError:
            self.abort()


class BybitSockets:
    """All open connections: accepts them and carries out what clients ask."""

    def __init__(self, broadcast: Broadcast, faults: Faults, market: BybitMarket) -> None:
        self.open: dict[BybitConnection, None] = {}
        self.opened_total = 0
        self.pings_total = 0
        self.requests_total = 0
        """Subscriptions and what else clients asked, pings aside."""
        self._broadcast = broadcast
        self._faults = faults
        self._market = market

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        response = web.WebSocketResponse(compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=_CLOSE_S / 2)
        await response.prepare(request)
        connection = BybitConnection(request, response)
        self.open[connection] = None
        self.opened_total += 1
        try:
            async for message in response:
                if message.type is not WSMsgType.TEXT:
                    break
                self._handle(connection, message.data)
        finally:
            self.open.pop(connection, None)
            for topic in connection.topics:
                self._broadcast.remove(connection, (Market.BYBIT, topic))
        return response

    def drop(self) -> int:
        """Cut all connections without a word; returns how many."""
        dropped = list(self.open)
        for connection in dropped:
            connection.abort()
        return len(dropped)

    def status(self) -> dict[str, int]:
        """Connections and counters, as `/control/status` shows them."""
        return {
            "connections": len(self.open),
            "connections_total": self.opened_total,
            "requests_total": self.requests_total,
            "pings_total": self.pings_total,
        }

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(connection.close() for connection in list(self.open)))

    def _handle(self, connection: BybitConnection, text: str) -> None:
        try:
            asked = _decode(text)
        except msgspec.DecodeError:
            asked = _Asked("")
        added: list[str] = []
        self.requests_total += asked.op != Op.PING
        if asked.op == Op.PING:
            self.pings_total += 1
            self._reply(connection, asked, "pong")
        elif refusal := self._refusal(connection, asked):
            self._reply(connection, asked, refusal, success=False)
        elif asked.op == Op.SUBSCRIBE:
            added = [topic for topic in asked.args if topic not in connection.topics]
            self._reply(connection, asked, "subscribe")
        else:
            self._leave(connection, asked.args)
            self._reply(connection, asked, "")
        # The reply stands before the first message of what it grants.
        for topic in added:
            self._join(connection, topic)
        self._broadcast.flush()

    def _refusal(self, connection: BybitConnection, asked: _Asked) -> str:
        """Why a request is refused as a whole; empty = it is not."""
        if asked.op not in (Op.SUBSCRIBE, Op.UNSUBSCRIBE) or not asked.args:
            return "error:request not supported"
        if len(asked.args) > MAX_ARGS:
            return f"args size >{MAX_ARGS}"
        unknown = [topic for topic in asked.args if not self._market.has(topic)]
        if unknown:
            return f"error:handler not found,topic:{unknown[0]}"
        if asked.op == Op.SUBSCRIBE and sum(map(len, connection.topics.union(asked.args))) > MAX_ARGS_LENGTH:
            return "error:args too long"
        return ""

    def _join(self, connection: BybitConnection, topic: str) -> None:
        connection.topics.add(topic)
        self._broadcast.add(connection, (Market.BYBIT, topic))
        snapshot = self._market.snapshot(topic)
        if snapshot is not None and not self._faults.suppresses(Market.BYBIT, topic, time.monotonic()):
            self._broadcast.queue(connection, text_frame(snapshot))

    def _leave(self, connection: BybitConnection, topics: list[str]) -> None:
        for topic in connection.topics.intersection(topics):
            connection.topics.discard(topic)
            self._broadcast.remove(connection, (Market.BYBIT, topic))

    def _reply(self, connection: BybitConnection, asked: _Asked, ret_msg: str, *, success: bool = True) -> None:
        body: dict[str, Any] = {
            "success": success,
            "ret_msg": ret_msg,
            "conn_id": connection.conn_id,
            "req_id": asked.req_id,
            "op": asked.op,
        }
        self._broadcast.queue(connection, text_frame(_encode(body)))
