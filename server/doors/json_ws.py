"""The JSON door: WebSockets at `/` for clients of documents 000, 001 and 004, all three on one connection.

Shapes: docs/protocol.md. Source: seed documents 000, 001 and 004.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from aiohttp import web

from market.errors import Code, MarketError
from market.streams import Market, StreamName
from market.venue import RestError
from server.access.gate import Gate
from server.access.quotas import Quotas
from server.access.stays import Verdict
from server.access.visitors import Visitor
from server.addresses import OriginPolicy, allows
from server.catalogs import Catalogs
from server.delivery import Delivery
from server.doors.heartbeat import Heartbeat
from server.doors.json_connection import JsonConnection
from server.doors.json_encodings import RAW, RAW_PREFIXED, TYPED, PriceUpdates
from server.doors.json_messages import read_message
from server.doors.json_requests import (
    Authenticate,
    Command,
    Form,
    GetReplay,
    HistoricalKlines,
    Item,
    Ping,
    Rejection,
    StopReplay,
    Subscribe,
    Unsubscribe,
    UnsubscribeAll,
    covered,
    parse_command,
    typed_to_leave,
)
from server.doors.renewal import renewed
from server.doors.replayed import JsonListener, replay_head
from server.doors.rest_guard import as_json
from server.drain import turn_away
from server.encodings import Encoding
from server.first_sight import Newcomer
from server.frames import Batch, Frame
from server.history.klines import History, KlineQuery
from server.history.requests import check_covered, check_symbol
from server.hub import Hub
from server.refusals import Refusal, refusal_of
from server.replay.reader import Selection
from server.replay.replays import Plan, Replays
from server.traces import CommandTraces
from server.transport.handshake import take_over
from server.transport.websocket import WebSocket

GREETING: Final = "Connected to Future Socket NATS server"
"""What document 001's clients are told, and may look for."""
PING_INTERVAL_S: Final = 25.0
PING_TIMEOUT_S: Final = 60.0
MAX_MESSAGE_BYTES: Final = 1_000_000
"""A longer message ends the connection (close 1009)."""
MAX_INBOX: Final = 256
"""Messages of one client that wait to be handled; it is not read while more would come."""
MAX_ASKED: Final = 16
"""Requests for candles of one client that may wait; one is under way."""
_INTERNAL: Final = Refusal(Code.INTERNAL, "Something went wrong here; it was logged")

log = structlog.get_logger(__name__)


class JsonDoor:
    """The JSON clients of one replica."""

    def __init__(
        self,
        hub: Hub,
        catalogs: Catalogs,
        history: History,
        delivery: Delivery,
        *,
        replays: Replays,
        is_allowed_origin: OriginPolicy,
        gate: Gate,
        traces: CommandTraces,
        quotas: Quotas,
    ) -> None:
        self._traces = traces
        self._hub = hub
        self._catalogs = catalogs
        self._history = history
        self._replays = replays
        self._delivery = delivery
        self._is_allowed_origin = is_allowed_origin
        self._gate = gate
        self._quotas = quotas
        self._heartbeat = Heartbeat(PING_INTERVAL_S, PING_TIMEOUT_S)
        self._connections: set[JsonConnection] = set()
        self._emptied = asyncio.Event()
        self._is_closing = False
        self._encodings: dict[Form, Encoding] = {
            Form.TYPED: TYPED,
            Form.RAW: RAW,
            Form.RAW_PREFIXED: RAW_PREFIXED,
            Form.PRICE: PriceUpdates(self._tick_size),
        }
        self.opened_total = 0
        """Clients that connected."""
        self.refused_total = 0

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def upgrade(self, request: web.Request) -> web.StreamResponse:
        """Open a client's WebSocket; 403 for a page of an origin that may not connect. Raises OverQuotaError."""
        if not allows(self._is_allowed_origin, request):
            self.refused_total += 1
            return web.Response(status=HTTPStatus.FORBIDDEN, text="This origin may not connect")
        self._quotas.knock(self._gate.address_of(request))
        try:
            visitor = await self._gate.admit(request)
        except MarketError as error:
            self.refused_total += 1
            refusal = refusal_of(error)
            response = as_json({"type": "error"} | refusal.body, refusal.status)
            response.headers.update(refusal.headers)
            return response
        if self._is_closing:
            return turn_away()
        self._quotas.check(visitor)
        return take_over(request, partial(self._open, visitor))

    def drain(self) -> list[JsonConnection]:
        """Take no new clients; those that have to leave."""
        self._is_closing = True
        return list(self._connections)

    async def close(self) -> None:
        """Close all clients; returns when they are gone, which takes at most websocket.CLOSE_TIMEOUT_S."""
        for connection in self.drain():
            connection.dismiss()
        if self._connections:
            await self._emptied.wait()
        self._heartbeat.close()

    def _open(self, visitor: Visitor, transport: asyncio.Transport, *, deflate: bool) -> WebSocket:
        connection = JsonConnection(self._quotas.enter(visitor), self._heartbeat)
        connection.ws = WebSocket(
            transport,
            self._delivery,
            connection.stay,
            on_message=partial(self._on_message, connection),
            on_lost=partial(self._on_lost, connection),
            on_slow=connection.let_go,
            on_pong=connection.pong,
            max_bytes=MAX_MESSAGE_BYTES,
            deflate=deflate,
        )
        self._connections.add(connection)
        self.opened_total += 1
        self._heartbeat.add(connection)
        self._gate.watch(connection)
        connection.tell({"type": "connection", "clientId": connection.client_id, "message": GREETING})
        return connection.ws

    def _on_lost(self, connection: JsonConnection) -> None:
        connection.is_lost = True
        connection.stay.leave()
        if connection.inbox:
            connection.inbox.clear()
        if connection.historian is not None:
            connection.historian.cancel()
        self._heartbeat.remove(connection)
        self._gate.forget(connection)
        self._hub.drop(connection)
        self._replays.drop(connection)
        self._connections.discard(connection)
        if self._is_closing and not self._connections:
            self._emptied.set()

    def _on_message(self, connection: JsonConnection, data: str | bytes) -> None:
        """Take one message; those of one client are handled one after the other."""
        verdict = connection.stay.command(len(data))
        if verdict is Verdict.REFUSED:
            self._refuse(connection, refusal_of(connection.stay.refusal()), upper=connection.is_upper)
            return
        if verdict is Verdict.FLOOD:
            connection.turn_away()
            return
        if connection.inbox is None:
            inbox = connection.inbox = deque((data,))
            connection.worker = asyncio.get_running_loop().create_task(self._work_off(connection, inbox))
            return
        connection.inbox.append(data)
        if len(connection.inbox) == MAX_INBOX:
            connection.ws.pause_reading()

    async def _work_off(self, connection: JsonConnection, inbox: deque[str | bytes]) -> None:
        while inbox:
            await self._take(connection, inbox.popleft())
            if len(inbox) == MAX_INBOX // 2:
                connection.ws.resume_reading()
        connection.inbox = connection.worker = None

    async def _take(self, connection: JsonConnection, data: str | bytes) -> None:
        """Handle one message; a refusal is answered and closes nothing."""
        try:
            message = read_message(data)
            connection.is_upper = message.is_upper
            check = connection.visitor.grant.guarding(self._catalogs.check)
            command = parse_command(message, check, connection.visitor.grant.max_streams)
            name = type(command).__name__
            await self._traces.follow(name, "json", connection.name, self._handle(connection, command))
        except MarketError as error:
            self._refuse(connection, refusal_of(error), upper=connection.is_upper)
        except Exception:
            log.exception("message handler failed", client=connection.client_id)
            self._refuse(connection, _INTERNAL, upper=connection.is_upper)

    async def _handle(self, connection: JsonConnection, command: Command) -> None:
        match command:
            case Subscribe():
                await self._subscribe(connection, command)
            case Unsubscribe():
                self._unsubscribe(connection, command)
            case UnsubscribeAll():
                self._hub.drop(connection)
                connection.stay.settle(0)
                connection.tell({"type": "unsubscribed", **command.echo})
            case HistoricalKlines():
                self._ask_history(connection, command)
            case GetReplay():
                await self._get_replay(connection, command)
            case StopReplay():
                self._replays.stop(connection, command.replay_id)
            case Authenticate():
                await self._authenticate(connection, command)
            case Ping():
                connection.tell({"type": "PONG" if connection.is_upper else "pong"})

    async def _authenticate(self, connection: JsonConnection, request: Authenticate) -> None:
        """Let another token take the place of the one that the client came with."""
        before = connection.visitor.grant
        await self._gate.renew(connection, request.token)
        if not connection.is_lost:  # while its key was looked for
            self._gate.watch(connection)
            body = renewed(connection, before, self._hub, self._replays)
            connection.tell({"type": "authenticated", **body})

    async def _subscribe(self, connection: JsonConnection, request: Subscribe) -> None:
        wanted = {(item.stream, self._encodings[item.form]) for item in request.items}
        connection.stay.hold(len(connection.groups.keys() | wanted))
        streams = [item.stream for item in request.items]
        try:
            await self._hub.prepare(streams)
        except MarketError:
            connection.stay.settle(len(connection.groups))
            raise
        try:
            await self._hub.backfill(request.since)
            if not connection.is_lost:  # while we prepared
                # From here to the acknowledgement nothing may suspend: see server/hub.py.
                self._join(connection, request)
        finally:
            self._hub.release(streams)

    def _join(self, connection: JsonConnection, request: Subscribe) -> None:
        """Join all streams and acknowledge; what was missed, and latest values, go out right behind it."""
        resent: list[Frame] = []
        recovered: dict[str, bool] = {}
        named = {(item.stream, self._encodings[item.form]) for item in request.items}
        newcomer = Newcomer(connection, request.since, snapshot=request.snapshot, named=named)
        for item in request.items:
            encoding = self._encodings[item.form]
            pace = request.pace if item.stream.is_state else None
            channel = self._hub.channel(item.stream)
            sight = newcomer.first_sight(channel, encoding)
            self._hub.join(connection, item.stream, encoding, pace, shown=sight.shown)
            encode = connection.groups[item.stream, encoding].encode
            frames = map(encode, [*sight.missed, *sight.snapshots])
            resent += filter(None, [*frames, channel.notice(encoding)])
            if sight.recovered is not None:
                recovered[item.sent] = sight.recovered
        self._acknowledge(connection, request, "subscribed", recovered)
        if resent:
            connection.send(Batch(resent))

    def _unsubscribe(self, connection: JsonConnection, request: Unsubscribe) -> None:
        if request.kinds:
            for stream in typed_to_leave(request, _held(connection, TYPED)):
                self._hub.leave(connection, stream, TYPED)
        else:
            for item in request.items:
                self._hub.leave(connection, item.stream, self._encodings[item.form])
        connection.stay.settle(len(connection.groups))
        self._acknowledge(connection, request, "unsubscribed", {})

    def _acknowledge(
        self, connection: JsonConnection, request: Subscribe | Unsubscribe, answer: str, recovered: dict[str, bool]
    ) -> None:
        """Answer for what was rejected, then for what was accepted: in 004's manner one by one."""
        self._refuse_names(connection, request.rejected)
        if request.echo is None:
            for item in request.items:
                connection.tell({"type": answer.upper(), "symbol": item.sent})
        elif request.items:
            more = {"recovered": recovered} if recovered else {}
            connection.tell({"type": answer, **request.echo, **_sent_names(request.echo, request.items), **more})

    def _refuse_names(self, connection: JsonConnection, rejected: Iterable[Rejection]) -> None:
        for rejection in rejected:
            named = {rejection.key: rejection.sent}
            self._refuse(connection, refusal_of(rejection.error), upper=connection.is_upper, **named)

    async def _get_replay(self, connection: JsonConnection, request: GetReplay) -> None:
        """Begin a replay: its messages follow `replayStart`."""
        request = covered(request, connection.visitor.grant.check)
        self._refuse_names(connection, request.rejected)
        if not request.items:
            return
        wish = request.wish
        recording = await self._replays.recordings.find(wish.recording)
        if connection.is_lost:  # while we looked
            return
        live: dict[StreamName, list[Encoding]] = {}
        for item in request.items:
            live.setdefault(item.stream, []).append(self._encodings[item.form])
        plan = Plan(recording, Selection(frozenset(live), wish.start_ms, wish.end_ms), wish.speed)
        replay_id = self._replays.start(connection, plan, partial(JsonListener, connection, connection.tell, live))
        echo = {**request.echo, **_sent_names(request.echo, request.items)}
        connection.tell({"type": "replayStart", **echo, **replay_head(replay_id, plan)})

    def _ask_history(self, connection: JsonConnection, request: HistoricalKlines) -> None:
        """Fetch candles while the client's next messages are handled."""
        if len(connection.asked) >= MAX_ASKED:
            raise MarketError(Code.RATE_LIMITED, f"At most {MAX_ASKED} requests for klines may wait")
        connection.asked.append(request)
        if connection.historian is None:
            connection.historian = asyncio.get_running_loop().create_task(self._answer_history(connection))

    async def _answer_history(self, connection: JsonConnection) -> None:
        """Answer one request after the other: a client has one under way."""
        while connection.asked:
            request = connection.asked[0]
            try:
                work = self._historical_klines(connection, request)
                await self._traces.follow("HistoricalKlines answer", "json", connection.name, work)
            except (MarketError, RestError) as error:
                refusal = refusal_of(error)
                reason = refusal.message.removeprefix("Binance API error: ")
                text = f"Failed to fetch historical klines: Binance API error: {reason}"
                self._refuse(connection, refusal._replace(message=text), upper=False)
            except Exception:
                log.exception("klines not answered", client=connection.client_id)
                self._refuse(connection, _INTERNAL, upper=False)
            del connection.asked[0]
        connection.historian = None

    async def _historical_klines(self, connection: JsonConnection, request: HistoricalKlines) -> None:
        times = (request.start_ms, request.end_ms)
        query = KlineQuery(request.market, request.symbol, request.interval, request.limit, *times)
        check_covered(query, connection.visitor.grant)
        check_symbol(query, self._catalogs)
        rows = await self._history.klines(query)
        names = {"type": "historicalKlines", "symbol": request.symbol, "interval": request.interval}
        connection.tell({**names, "klines": msgspec.Raw(rows)})

    def _refuse(self, connection: JsonConnection, refusal: Refusal, *, upper: bool, **named: str) -> None:
        """Send an error, in 004's manner where `upper`; `named` says what it is about (`symbol`, `stream`)."""
        self.refused_total += 1
        connection.tell({"type": "ERROR" if upper else "error"} | refusal.body | named)

    def _tick_size(self, symbol: str) -> str | None:
        catalog = self._catalogs.get(Market.SPOT)
        info = catalog.get(symbol) if catalog else None
        return info.tick_size if info else None


def _held(connection: JsonConnection, encoding: Encoding) -> Collection[StreamName]:
    return [stream for stream, held in connection.groups if held is encoding]


def _sent_names(echo: Mapping[str, object], items: Iterable[Item]) -> dict[str, list[str]]:
    """What an acknowledgement repeats of the accepted names, as they were sent."""
    return {"rawStreams" if "rawStreams" in echo else "symbols": [item.sent for item in items]}
