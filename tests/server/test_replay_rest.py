"""Stored recordings over REST: the list, and pages of rows."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.doors import replay_rest as rest_module
from server.replay import reader as reader_module
from tests.server.conftest import Served
from tests.server.stored import START, mixed, store, trade, trades


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the replica finds recordings."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    monkeypatch.setenv("RECORD", str(folder))  # what `make run` shares with its ingestor
    return folder


@pytest.fixture
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.url) as client:
        yield client


async def pages(http: httpx.AsyncClient, recording: str, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages of a query."""
    found = []
    while True:
        data = (await http.get(f"/replay/{recording}", params=query)).json()["data"]
        found.append(data["rows"])
        if data["next"] is None:
            return found
        query |= data["next"]


async def test_the_stored_recordings_are_listed(http: httpx.AsyncClient, folder: Path) -> None:
    assert (await http.get("/replay")).json() == {"success": True, "data": {"recordings": []}}
    recording = store(folder, "spot", trades(10))
    (entry,) = (await http.get("/replay")).json()["data"]["recordings"]
    assert (entry["id"], entry["startTime"], entry["endTime"]) == (recording, START + 10, START + 100)
    assert entry["streams"] == ["spot:btcusdt@trade"]


async def test_rows_of_a_stream_in_a_range_of_time(http: httpx.AsyncClient, folder: Path) -> None:
    recording = store(folder, "spot", mixed(trades(100), trades(100, symbol="ethusdt")))
    query: dict[str, str | int] = {"stream": "btcusdt@trade", "startTime": START + 200, "endTime": START + 250}
    answer = await http.get(f"/replay/{recording}", params=query)
    rows = [{"cursor": n, "ts": START + 10 * n, "data": json.loads(trades(n)[-1].payload)} for n in range(20, 26)]
    data = {"recording": recording, "stream": "spot:btcusdt@trade", "rows": rows, "next": None}
    assert answer.json() == {"success": True, "data": data, "source": "replay"}
    assert trades(20)[-1].payload in answer.content


@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_pages_hold_every_row_once_however_many_share_a_millisecond(
    http: httpx.AsyncClient, folder: Path, limit: int
) -> None:
    rows = [trade(number, START + number // 5) for number in range(60)]
    recording = store(folder, "spot", mixed(rows, trades(60, symbol="ethusdt")), flush_every=7, rotate_bytes=300)
    found = await pages(http, recording, stream="btcusdt@trade", limit=limit)
    assert all(len(page) <= limit for page in found)
    assert [row["cursor"] for page in found for row in page] == list(range(60))


async def test_a_page_ends_where_its_bytes_do(
    http: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "MAX_ANSWER_BYTES", 1_000)
    recording = store(folder, "spot", trades(100))
    found = await pages(http, recording, stream="btcusdt@trade")
    assert len(found) > 5
    assert [row["cursor"] for page in found for row in page] == list(range(1, 101))


async def test_a_page_ends_where_too_much_was_read_for_it(
    http: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "MAX_STEPS", 2)
    monkeypatch.setattr(reader_module, "STEP_BYTES", 2_000)
    rare = [trade(number, START + 500 * number, "ethusdt") for number in range(1, 5)]
    recording = store(folder, "spot", mixed(trades(300), rare), flush_every=10)
    found = await pages(http, recording, stream="ethusdt@trade")
    assert [] in found
    assert [row["cursor"] for page in found for row in page] == [1, 2, 3, 4]


async def test_a_recording_that_cannot_be_entered_in_its_middle_is_paged_to_its_end(
    http: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "MAX_STEPS", 2)
    monkeypatch.setattr(reader_module, "STEP_BYTES", 2_000)
    recording = store(folder, "spot", trades(300))
    whole = (folder / f"{recording}-000000.ndjson.gz").read_bytes()
    (folder / "foreign.ndjson.gz").write_bytes(gzip.compress(gzip.decompress(whole)))
    for name in (recording, "foreign"):
        found = await pages(http, name, stream="btcusdt@trade")
        assert [row["cursor"] for page in found for row in page] == list(range(1, 301))


async def test_rows_as_lines_of_json(http: httpx.AsyncClient, folder: Path) -> None:
    recording = store(folder, "spot", trades(10))
    query: dict[str, str | int] = {"stream": "btcusdt@trade", "format": "ndjson", "limit": 6}
    answer = await http.get(f"/replay/{recording}", params=query)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.content == b"".join(
        b'{"stream":"spot:btcusdt@trade","cursor":%d,"ts":%d,"data":%b}\n' % (number, row.ts, row.payload)
        for number, row in enumerate(trades(6), start=1)
    )
    rest = await http.get(f"/replay/{recording}?stream=btcusdt@trade&format=ndjson&{answer.headers['X-Replay-Next']}")
    assert [json.loads(line)["cursor"] for line in rest.text.splitlines()] == [7, 8, 9, 10]
    assert "X-Replay-Next" not in rest.headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/replay/none?stream=btcusdt@trade", 404, "unknown_recording"),
        ("/replay/..%2F{id}?stream=btcusdt@trade", 404, "unknown_recording"),
        ("/replay/%2Fetc%2Fpasswd?stream=btcusdt@trade", 404, "unknown_recording"),
        ("/replay/{id}", 400, "invalid_stream"),
        ("/replay/{id}?stream=btcusdt@trade&stream=btcusdt@trade", 400, "bad_request"),
        ("/replay/{id}?stream=nonsense", 400, "invalid_stream"),
        ("/replay/{id}?stream=*@trade", 400, "invalid_stream"),
        ("/replay/{id}?stream=btcusdt@trade&limit=0", 400, "bad_request"),
        ("/replay/{id}?stream=btcusdt@trade&limit=10001", 400, "bad_request"),
        ("/replay/{id}?stream=btcusdt@trade&skip=-1", 400, "bad_request"),
        ("/replay/{id}?stream=btcusdt@trade&format=xml", 400, "bad_request"),
        ("/replay/{id}?stream=btcusdt@trade&startTime=noon", 400, "bad_request"),
        ("/replay/{id}?stream=btcusdt@trade&startTime=2&endTime=1", 400, "invalid_time"),
    ],
)
async def test_what_has_no_answer_is_refused_with_a_code(
    http: httpx.AsyncClient, folder: Path, path: str, status: int, code: str
) -> None:
    recording = store(folder, "spot", trades(1))
    answer = await http.get(path.format(id=recording))
    assert (answer.status_code, answer.json()["success"], answer.json()["code"]) == (status, False, code)


async def test_a_file_beside_the_folder_is_out_of_reach(http: httpx.AsyncClient, folder: Path) -> None:
    secret = store(folder.parent, "secret", trades(1))
    for name in (secret, f"..%2F{secret}", f"%2E%2E%2F{secret}"):
        answer = await http.get(f"/replay/{name}", params={"stream": "btcusdt@trade"})
        assert answer.json()["code"] == "unknown_recording"


async def test_too_many_pages_at_once_are_refused(
    http: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest_module, "MAX_AT_ONCE", 0)
    recording = store(folder, "spot", trades(1))
    answer = await http.get(f"/replay/{recording}", params={"stream": "btcusdt@trade"})
    assert (answer.status_code, answer.json()["code"]) == (429, "replay_limit")
    assert answer.headers["Retry-After"] == "1"
