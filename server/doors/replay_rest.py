"""`GET /replay`: the stored recordings, and `GET /replay/<id>`: rows of one stream in a range of time, in pages."""

from typing import Final

import msgspec
from aiohttp import web

from market.errors import Code, MarketError
from market.messages import Message
from market.streams import StreamName
from server.doors.rest_guard import as_json
from server.every import is_every
from server.recording_reader import RecordingReader, Selection
from server.recordings import Recording, Recordings
from server.replay_requests import time_range

DEFAULT_ROWS: Final = 500
MAX_ROWS: Final = 10_000
MAX_RECORDINGS: Final = 1_000
MAX_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""Bytes of payloads at which a page ends."""
MAX_STEPS: Final = 256
"""Turns of the reader in the range of time (64 MiB of lines) after which a page ends, with whatever was found."""
MAX_AT_ONCE: Final = 4
"""Pages that are read at once; they share one thread with the replays."""
NEXT_HEADER: Final = "X-Replay-Next"
_NDJSON: Final = "application/x-ndjson"


class _Query(msgspec.Struct, rename="camel"):
    stream: str
    start_time: int = 0
    end_time: int = 0
    limit: int = DEFAULT_ROWS
    skip: int = 0
    format: str = "json"


class _Page:
    """Rows that are being gathered, and where the next page begins."""

    def __init__(self, query: _Query) -> None:
        self.rows: list[Message] = []
        self.next: dict[str, int] | None = None
        self._query = query
        self._room = MAX_ANSWER_BYTES
        self._at_ms = query.start_time
        self._at_count = 0

    def add(self, message: Message) -> bool:
        """Take one message; False = the page is full and it stands on the next one."""
        at_ms = message.received_us // 1_000
        before = self._at_count if at_ms == self._at_ms else 0
        if len(self.rows) >= self._query.limit or (self._room < 0 and self.rows):
            self.next = {"startTime": at_ms, "skip": before}
            return False
        self._at_ms, self._at_count = at_ms, before + 1
        # Rows of the page before, received in the same ms as its last one.
        if at_ms != self._query.start_time or before >= self._query.skip:
            self.rows.append(message)
            self._room -= len(message.payload)
        return True

    def break_off(self, reached_ms: int) -> None:
        """Let the next page begin where the reading got to."""
        at_ms = max(reached_ms, self._at_ms)
        self.next = {"startTime": at_ms, "skip": self._at_count if at_ms == self._at_ms else 0}


class ReplayRestDoor:
    """Answers from stored recordings; refusals take their shape in rest_guard.py."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self._under_way = 0

    def attach(self, app: web.Application) -> None:
        """Serve the routes in `app`."""
        app.router.add_get("/replay", self._list)
        app.router.add_get("/replay/{recording}", self._rows)

    async def _list(self, _request: web.Request) -> web.Response:
        found = await self._recordings.list()
        recordings = [recording.body for recording in found[:MAX_RECORDINGS]]
        return as_json({"success": True, "data": {"recordings": recordings}})

    async def _rows(self, request: web.Request) -> web.Response:
        query, stream = _parse(request)
        if self._under_way >= MAX_AT_ONCE:
            raise MarketError(Code.REPLAY_LIMIT, f"At most {MAX_AT_ONCE} pages are read here at once; try again")
        self._under_way += 1
        try:
            recording = await self._recordings.find(request.match_info["recording"])
            page = await self._read(recording, stream, query)
        finally:
            self._under_way -= 1
        return _as_ndjson(page) if query.format == "ndjson" else _as_page(recording, stream, page)

    async def _read(self, recording: Recording, stream: StreamName, query: _Query) -> _Page:
        page = _Page(query)
        selection = Selection(frozenset((stream,)), *time_range(query.start_time, query.end_time))
        reader = RecordingReader(self._recordings, recording, selection)
        try:
            steps = 0
            while steps < MAX_STEPS:
                messages = await reader.step()
                if messages is None:
                    return page
                if not all(map(page.add, messages)):
                    return page
                # What stands before the range does not count, or no page would ever get past it.
                steps += reader.reached_ms > query.start_time
            page.break_off(reader.reached_ms)
            return page
        finally:
            reader.close()


def _parse(request: web.Request) -> tuple[_Query, StreamName]:
    """The query and its stream. Raises MarketError (bad_request, invalid_stream, invalid_symbol, invalid_time)."""
    try:
        query = msgspec.convert(dict(request.query), _Query, strict=False)
    except msgspec.ValidationError as error:
        raise MarketError(Code.BAD_REQUEST, f"{error}; expected stream, startTime, endTime, limit, format") from None
    if not 1 <= query.limit <= MAX_ROWS:
        raise MarketError(Code.BAD_REQUEST, f"limit must be 1 to {MAX_ROWS}; ask for more in several requests")
    if query.skip < 0 or query.format not in ("json", "ndjson"):
        raise MarketError(Code.BAD_REQUEST, "skip must not be negative, format must be json or ndjson")
    time_range(query.start_time, query.end_time)
    stream = StreamName.parse(query.stream)
    if is_every(stream):
        raise MarketError(Code.INVALID_STREAM, "Rows are of one stream; getReplay sends those of all symbols")
    return query, stream


def _as_page(recording: Recording, stream: StreamName, page: _Page) -> web.Response:
    rows = [
        {"cursor": row.cursor, "ts": row.received_us // 1_000, "data": msgspec.Raw(row.payload)} for row in page.rows
    ]
    data = {"recording": recording.id, "stream": str(stream), "rows": rows, "next": page.next}
    return as_json({"success": True, "data": data, "source": "replay"})


def _as_ndjson(page: _Page) -> web.Response:
    lines = [
        b'{"stream":%b,"cursor":%d,"ts":%d,"data":%b}\n'
        % (msgspec.json.encode(str(row.stream)), row.cursor, row.received_us // 1_000, row.payload)
        for row in page.rows
    ]
    response = web.Response(body=b"".join(lines), content_type=_NDJSON)
    if page.next is not None:
        response.headers[NEXT_HEADER] = f"startTime={page.next['startTime']}&skip={page.next['skip']}"
    return response
