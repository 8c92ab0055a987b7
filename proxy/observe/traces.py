"""Traces for whoever has OpenTelemetry: a span for each request and one for each step of it that took time.

They are made from the finished Exchange, so a request waits for none of it; the exporter has a bounded queue and a thread of
its own. The W3C context (https://www.w3.org/TR/trace-context/) that a client sends is their parent. It goes on to the backend
as it came, whether there are traces or not.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.core.exchange import Exchange

EXPORT_SECONDS: Final = 2.0
"""For one batch, retries included: what waits longer would hold back the end of the program."""
_NANO: Final = 1_000_000_000
_PARENT: Final = TraceContextTextMapPropagator()


class Traces:
    """Sends spans to an OTLP endpoint by HTTP. `ratio` of the requests are traced where the client does not say."""

    def __init__(self, endpoint: str, instance: str, ratio: float) -> None:
        resource = Resource.create({"service.name": "scim-witness", "service.instance.id": instance})
        self._provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(ratio)))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)))
        self._tracer = self._provider.get_tracer("scim-witness")

    def saw(self, exchange: Exchange) -> None:
        """Make the spans of one exchange. Never waits: what the exporter cannot take is dropped there."""
        context = _PARENT.extract({"traceparent": exchange.traceparent}) if exchange.traceparent else None
        start = int(exchange.at * _NANO)
        end = start + int(exchange.total_seconds * _NANO)
        name = f"{exchange.method} {exchange.operation}"
        span = self._tracer.start_span(name, context, SpanKind.SERVER, _attributes(exchange), start_time=start)
        if not span.is_recording():
            return
        if exchange.status >= 500 or exchange.fault:
            span.set_status(Status(StatusCode.ERROR, exchange.fault))
        inner = set_span_in_context(span)
        looked_up = start + int(exchange.lookup_seconds * _NANO)
        if exchange.lookup_seconds:
            self._step("look up", inner, start, looked_up, {"scim_witness.source": exchange.source})
        decided = {"scim_witness.verdict": exchange.verdict, "scim_witness.reason": exchange.reason}
        self._step("decide", inner, looked_up, looked_up, decided)
        if exchange.backend_seconds:
            # the backend's answer is what ends a request: what remains after it is ours
            until = min(end, looked_up + int(exchange.backend_seconds * _NANO))
            self._step("backend", inner, looked_up, until, {"server.address": exchange.backend}, SpanKind.CLIENT)
        span.end(end)

    def _step(
        self, name: str, context: Any, start: int, end: int, attributes: dict[str, str], kind: SpanKind = SpanKind.INTERNAL
    ) -> None:
        self._tracer.start_span(name, context, kind, attributes, start_time=start).end(end)

    def close(self) -> None:
        """Send what waits, for some seconds at most, and end the exporter's thread."""
        self._provider.shutdown()


def _attributes(exchange: Exchange) -> dict[str, str | int]:
    """By OpenTelemetry's semantic conventions for HTTP where there is one. Never a token: the exchange holds none."""
    found: dict[str, str | int] = {
        "http.request.method": exchange.method,
        "url.path": exchange.target.partition("?")[0],
        "http.response.status_code": exchange.status,
        "client.address": exchange.client,
        "user_agent.original": exchange.user_agent,
        "scim_witness.exchange": exchange.id,
        "scim_witness.tenant": exchange.tenant,
        "scim_witness.fingerprint": exchange.fingerprint,
        "scim_witness.answered_by": exchange.answered_by.value,
        "scim_witness.incident": exchange.incident,
    }
    return {name: value for name, value in found.items() if value != ""}
