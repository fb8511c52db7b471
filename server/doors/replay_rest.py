"""`GET /replay`: the stored recordings, and `GET /replay/<id>`: rows of one stream in a range of time, in pages."""

from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from market.errors import Code, MarketError
from market.messages import Message
from market.streams import StreamName
from server.doors.rest_access import visitor_of
from server.doors.rest_guard import as_json
from server.doors.rest_query import check_single, whole_number
from server.every import is_every
from server.replay.reader import RecordingReader, Selection
from server.replay.recordings import Recording, Recordings
from server.replay.requests import time_range

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
_PARAMETERS: Final = ("stream", "startTime", "endTime", "limit", "skip", "format")


class _Query(NamedTuple):
    stream: StreamName
    start_ms: int
    end_ms: int
    limit: int
    skip: int
    format: str


class _Page:
    """Rows that are being gathered, and where the next page begins."""

    def __init__(self, query: _Query) -> None:
        self.rows: list[Message] = []
        self.next: dict[str, int] | None = None
        self._query = query
        self._room = MAX_ANSWER_BYTES
        self._at_ms = query.start_ms
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
        if at_ms != self._query.start_ms or before >= self._query.skip:
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
        query = _parse(request)
        visitor_of(request).grant.check(query.stream)
        if self._under_way >= MAX_AT_ONCE:
            raise MarketError(Code.REPLAY_LIMIT, f"At most {MAX_AT_ONCE} pages are read here at once; try again")
        self._under_way += 1
        try:
            recording = await self._recordings.find(request.match_info["recording"])
            page = await self._read(recording, query)
        finally:
            self._under_way -= 1
        return _as_ndjson(page) if query.format == "ndjson" else _as_page(recording, query.stream, page)

    async def _read(self, recording: Recording, query: _Query) -> _Page:
        page = _Page(query)
        selection = Selection(frozenset((query.stream,)), query.start_ms, query.end_ms)
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
                steps += reader.reached_ms > query.start_ms
            page.break_off(reader.reached_ms)
            return page
        finally:
            reader.close()


def _parse(request: web.Request) -> _Query:
    """The query. Raises MarketError (bad_request, invalid_stream, invalid_symbol, invalid_time)."""
    query = request.query
    check_single(request, _PARAMETERS)
    limit = whole_number(request, "limit")
    limit = DEFAULT_ROWS if limit is None else limit
    if not 1 <= limit <= MAX_ROWS:
        raise MarketError(Code.BAD_REQUEST, f"limit must be 1 to {MAX_ROWS}; ask for more in several requests")
    form = query.get("format") or "json"
    if form not in ("json", "ndjson"):
        raise MarketError(Code.BAD_REQUEST, "format must be json or ndjson")
    stream = StreamName.parse(query.get("stream", ""))
    if is_every(stream):
        raise MarketError(Code.INVALID_STREAM, "Rows are of one stream; getReplay sends those of all symbols")
    times = time_range(whole_number(request, "startTime"), whole_number(request, "endTime"))
    return _Query(stream, *times, limit, whole_number(request, "skip") or 0, form)


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
