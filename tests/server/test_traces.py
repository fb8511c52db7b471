"""Traces, as a real collector receives them over OTLP/HTTP; and that nothing of it is there while it is off."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from market.messages import Message
from market.streams import StreamName
from telemetry import latency as latency_module
from telemetry.tracing import Part, Tracing
from tests.server.conftest import Client, Served, until
from tests.support.processes import ROOT

TRADES = StreamName.parse("btcusdt@trade")
ON = {"trace_sample": 1.0}


class Collector:
    """Keeps every span that it is sent, and the resource that the last ones came with."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resource: dict[str, str] = {}

    async def take(self, request: web.Request) -> web.Response:
        export = ExportTraceServiceRequest.FromString(await request.read())
        for resource_spans in export.resource_spans:
            self.resource = {one.key: one.value.string_value for one in resource_spans.resource.attributes}
            for scope_spans in resource_spans.scope_spans:
                self.spans += scope_spans.spans
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """Asked for before `served`, whose replica finds it by OpenTelemetry's own variables."""
    made = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "prices")
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(collector: Collector, served: Served) -> AsyncIterator[Client]:
    connected = Client()
    await connected.connect(served.url, "websocket")
    yield connected
    await connected.io.disconnect()


def attributes(span: Span) -> dict[str, object]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@pytest.mark.parametrize("served", [ON], indirect=True)
async def test_a_message_is_one_trace_from_the_exchange_to_the_clients(
    collector: Collector, served: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency_module, "SAMPLE_EVERY", 1)
    await client.call("subscribe", {"streams": ["btcusdt@trade"]})
    received_us = time.time_ns() // 1_000 - 2_000
    event_ms = received_us // 1_000 - 5
    await served.publisher.publish([Message(TRADES, 7, received_us, b'{"e":"trade","E":%d,"t":7}' % event_ms)])
    await until(lambda: collector.named("message"), "the trace")
    (root,) = collector.named("message")
    assert attributes(root) == {"tickcast.stream": "spot:btcusdt@trade", "tickcast.cursor": 7}
    parts = [collector.named(name)[0] for name in ("exchange", "bus", "socket")]
    assert {(part.trace_id, part.parent_span_id) for part in parts} == {(root.trace_id, root.span_id)}
    assert (root.start_time_unix_nano, parts[0].start_time_unix_nano) == (event_ms * 1_000_000,) * 2
    assert parts[0].end_time_unix_nano == parts[1].start_time_unix_nano == received_us * 1_000
    assert parts[1].end_time_unix_nano == parts[2].start_time_unix_nano
    assert parts[2].end_time_unix_nano == root.end_time_unix_nano
    assert (collector.resource["service.name"], collector.resource["service.instance.id"]) == ("prices", "r1")
    async with (
        aiohttp.ClientSession(headers={"Accept": "application/openmetrics-text"}) as http,
        http.get(f"{served.url}/metrics") as answer,
    ):
        assert f'# {{trace_id="{root.trace_id.hex()}"}}' in await answer.text()


@pytest.mark.parametrize("served", [ON], indirect=True)
async def test_commands_of_every_door_are_traced_with_what_became_of_them(
    collector: Collector, served: Served, client: Client
) -> None:
    await client.call("subscribe", {"streams": ["ethusdt@trade"]})
    await client.call("getHistoricalKlines", {"symbol": "NOSUCH", "interval": "1m"})
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{served.url}/klines/BTCUSDT", params={"limit": 1}) as answer:
            assert answer.status == 200
        async with http.get(f"{served.url}/klines/NOSUCH") as answer:
            assert answer.status == 404
        async with http.ws_connect(served.url) as ws:
            await ws.send_json({"type": "subscribe", "streamType": "ticker", "symbols": ["BTCUSDT"]})
            await until(lambda: collector.named("Subscribe"), "the JSON door's")
        async with http.ws_connect(f"{served.url}/ws") as ws:
            await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            await until(lambda: collector.named("request"), "the Binance door's")
    await until(lambda: len(collector.named("GET /klines/{symbol}")) == 2, "both REST requests")

    def told(name: str) -> set[tuple[object, object]]:
        found = [attributes(span) for span in collector.named(name)]
        return {(one["tickcast.door"], one["tickcast.outcome"]) for one in found}

    assert told("subscribe") == {("socketio", "answered")}
    assert told("getHistoricalKlines") == {("socketio", "refused")}
    assert told("Subscribe") == {("json", "answered")}
    assert told("request") == {("binance", "answered")}
    assert told("GET /klines/{symbol}") == {("rest", "answered"), ("rest", "refused")}
    assert not [span for span in collector.spans if "/metrics" in span.name or "/socket.io" in span.name]


def test_without_traces_nothing_that_sends_them_is_loaded() -> None:
    # redis-py loads other parts of OpenTelemetry wherever they are installed.
    code = "import sys, app; sys.exit(any(name.startswith('opentelemetry.exporter') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=30).returncode == 0


def test_where_the_packages_are_missing_the_start_says_so_in_one_sentence() -> None:
    missing = "import sys; sys.modules['opentelemetry.sdk.trace'] = None; sys.argv = ['app', 'replica']"
    code = f"{missing}; import app; app.main()"
    env = {**os.environ, "TRACE_SAMPLE": "0.5", "HOST": "127.0.0.1", "PORT": "0"}
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=30
    )
    assert finished.returncode != 0
    assert finished.stderr.startswith("Cannot start: TRACE_SAMPLE=0.5 needs OpenTelemetry: pip install -r requirements")
    assert len(finished.stderr.strip().splitlines()) == 1


async def test_a_collector_that_is_away_neither_raises_nor_holds_the_loop_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    tracing = Tracing(1.0, "r1")
    assert len(tracing.send(Part("x", 1, 2), [], {})) == 32
    await tracing.close()
