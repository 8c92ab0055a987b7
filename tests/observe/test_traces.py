"""Spans as a collector gets them."""

from __future__ import annotations

from typing import Any

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.observe.traces import Traces
from tests.servers.collector import Collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NOT_SAMPLED = PARENT[:-1] + "0"


def exchange(**changes: Any) -> Exchange:
    usual: dict[str, Any] = {
        "id": "x-1",
        "at": 1_000.0,
        "method": "GET",
        "target": "/scim/v2/Users?filter",
        "operation": "Users.list",
        "tenant": "acme",
        "client": "192.0.2.1",
        "status": 200,
        "answered_by": AnsweredBy.BACKEND,
        "credential": "bearer",
        "fingerprint": "ab" * 16,
        "verdict": "allow",
        "reason": "active",
        "source": "doorkeeper",
        "backend": "10.0.0.1:3000",
        "lookup_seconds": 0.25,
        "backend_seconds": 0.5,
        "total_seconds": 1.0,
        "user_agent": "Okta SCIM Client 1.0.0",
    }
    return Exchange(**(usual | changes))


def sent(collector: Collector, *exchanges: Exchange, ratio: float = 1) -> list[Any]:
    """The spans that arrive, earliest first."""
    traces = Traces(collector.url, "i1", ratio)
    for one in exchanges:
        traces.saw(one)
    traces.close()
    return sorted(collector.spans, key=lambda span: (span.start_time_unix_nano, -span.end_time_unix_nano))


def of(span: Any) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_request_has_a_span_and_each_step_one_within_it(collector: Collector) -> None:
    request, looked_up, *rest = sent(collector, exchange())
    backend, decided = sorted(rest, key=lambda span: span.name)
    assert ("GET Users.list", "look up", "decide", "backend") == (request.name, looked_up.name, decided.name, backend.name)
    assert [(0.0, 1.0), (0.0, 0.25), (0.25, 0.25), (0.25, 0.75)] == [
        (span.start_time_unix_nano / 1e9 - 1_000, span.end_time_unix_nano / 1e9 - 1_000)
        for span in (request, looked_up, decided, backend)
    ]
    assert {request.span_id} == {span.parent_span_id for span in (looked_up, decided, backend)}
    assert ("/scim/v2/Users", 200, "acme") == tuple(
        of(request)[key] for key in ("url.path", "http.response.status_code", "scim_witness.tenant")
    )
    assert {"scim_witness.verdict": "allow", "scim_witness.reason": "active"} == of(decided)
    names = {a.key: a.value.string_value for a in collector.resources[0].attributes}
    assert ("scim-witness", "i1") == (names["service.name"], names["service.instance.id"])


def test_the_context_of_the_client_is_the_parent(collector: Collector) -> None:
    request = sent(collector, exchange(traceparent=PARENT, lookup_seconds=0.0, backend_seconds=0.0))[0]
    assert ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331") == (request.trace_id.hex(), request.parent_span_id.hex())


def test_the_client_says_whether_it_is_traced_and_the_ratio_where_it_does_not(collector: Collector) -> None:
    assert [] == sent(collector, exchange(traceparent=NOT_SAMPLED))
    assert [] == sent(collector, exchange(), exchange(traceparent="nonsense"), ratio=0)
    assert [] != sent(collector, exchange(traceparent=PARENT), ratio=0)


def test_a_fault_is_an_error(collector: Collector) -> None:
    request = sent(collector, exchange(status=502, fault="backend_unreachable", backend_seconds=0.0))[0]
    assert (2, "backend_unreachable") == (request.status.code, request.status.message)


def test_a_collector_that_is_away_holds_back_nothing(collector: Collector) -> None:
    """More than the exporter's queue takes: the rest is dropped, and the end does not wait for what cannot be sent."""
    collector.shutdown()
    collector.server_close()
    assert [] == sent(collector, *[exchange()] * 3_000)
