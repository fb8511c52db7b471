"""What a scraper is answered: the format it prefers, compressed if it can read that, each name once."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from telemetry.exposition import Exposition
from telemetry.families import counters, histograms
from telemetry.histograms import Histogram
from tests.support.metrics import value
from version import VERSION


class Part:
    def __init__(self, name: str) -> None:
        self.name = name
        self.histogram = Histogram()
        self.histogram.observe(0.3, "4bf92f3577b34da6a3ce929d0e0e4736")

    def collect(self) -> Iterator[Metric]:
        yield counters("shared", "Of both", "part", {self.name: 1})
        yield histograms("wait_seconds", "Of both", ["part"], [((self.name,), self.histogram)])


@pytest.fixture
async def url() -> AsyncIterator[str]:
    exposition = Exposition("replica")
    exposition.add(Part("one"))
    exposition.add(Part("two"))
    app = web.Application()
    app.router.add_get("/metrics", exposition.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    await runner.cleanup()


async def scrape(url: str, **headers: str) -> tuple[str, "aiohttp.ClientResponse"]:
    async with aiohttp.ClientSession(headers=headers) as http, http.get(url) as answer:
        return await answer.text(), answer


async def test_parts_with_a_family_in_common_show_it_once(url: str) -> None:
    text, answer = await scrape(url)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert text.count("# TYPE tickcast_shared_total counter") == 1
    assert (value(text, "shared_total", part="one"), value(text, "shared_total", part="two")) == (1, 1)


async def test_a_process_tells_of_itself_and_of_its_release(url: str) -> None:
    text, _ = await scrape(url)
    assert value(text, "build_info", version=VERSION, role="replica") == 1
    for name in ("process_resident_memory_bytes", "process_open_fds", "python_gc_collections_total", "python_info"):
        assert f"\n{name}" in text


async def test_openmetrics_is_answered_to_who_prefers_it_with_exemplars(url: str) -> None:
    text, answer = await scrape(url, Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    found = {one.name: one for one in text_string_to_metric_families(text)}  # type: ignore[no-untyped-call] # untyped there
    exemplars = [sample.exemplar for sample in found["tickcast_wait_seconds"].samples if sample.exemplar]
    assert [exemplar.labels["trace_id"] for exemplar in exemplars] == ["4bf92f3577b34da6a3ce929d0e0e4736"] * 2


async def test_the_answer_is_compressed_for_who_can_read_that(url: str) -> None:
    _, plain = await scrape(url, **{"Accept-Encoding": "identity"})
    _, packed = await scrape(url, **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
