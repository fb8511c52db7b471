"""Traces over OTLP/HTTP, for those who want them: OpenTelemetry's SDK is loaded only then.

Where they go and under which name is said by OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_BSP_*`). Source: OpenTelemetry specification 1.x.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from binance.settings import SettingsError
from version import VERSION

Attributes = Mapping[str, str | int | bool]


class Part(NamedTuple):
    """A span below a root; times in ns since the epoch."""

    name: str
    begin_ns: int
    end_ns: int


class Tracing:
    """Sends spans whose times are known already, from a thread of the SDK's, whose queue is bounded.

    `sample` is the part of what is asked about that is traced, `replica` whose spans they are. Raises
    SettingsError where the packages are not installed.
    """

    def __init__(self, sample: float, replica: str) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 # optional, and slow to load
            from opentelemetry.context import Context  # noqa: PLC0415
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise SettingsError(
                f"TRACE_SAMPLE={sample} needs OpenTelemetry: pip install -r requirements-otel.txt ({error.name})"
            ) from error
        ours = {"service.name": "tickcast", "service.version": VERSION, "service.instance.id": replica}
        # What the operator says of the process goes before what we say.
        resource = Resource(ours).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("tickcast", VERSION)
        self._root = Context()
        self._below = trace.set_span_in_context
        self._sample = sample

    def is_sampled(self) -> bool:
        """Whether the next one is traced."""
        return random.random() < self._sample  # noqa: S311 # chooses samples, guards nothing

    def send(self, whole: Part, parts: Sequence[Part], attributes: Attributes) -> str:
        """Send a trace of one span and those below it; its id in hex."""
        root = self._tracer.start_span(whole.name, self._root, attributes=attributes, start_time=whole.begin_ns)
        context = self._below(root, self._root)
        for part in parts:
            self._tracer.start_span(part.name, context, start_time=part.begin_ns).end(part.end_ns)
        root.end(whole.end_ns)
        return f"{root.get_span_context().trace_id:032x}"

    async def close(self) -> None:
        """Send what waits, and stop; a collector that is away is not waited for longer than the SDK does."""
        await asyncio.to_thread(self._provider.shutdown)
