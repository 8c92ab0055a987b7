"""What is counted, under which bounded labels, and how it is given to Prometheus."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy import __version__
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.verdict import MEANINGS, Reason
from proxy.observe import cells
from proxy.observe.families import BUCKETS, FAMILIES, PREFIX, Type, as_markdown
from proxy.observe.metrics import Metrics

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

GOOD = Exchange(
    id="r1",
    at=1764000000.0,
    method="GET",
    target="/scim/v2/Users",
    operation="Users.list",
    tenant="acme",
    client="192.0.2.1",
    status=200,
    answered_by=AnsweredBy.BACKEND,
    credential="bearer",
    verdict="allow",
    reason="active",
    source="doorkeeper",
    backend_seconds=0.02,
    total_seconds=0.03,
)


def like(**changes) -> Exchange:
    return msgspec.structs.replace(GOOD, **changes)


def refused(**changes) -> Exchange:
    values = {"status": 401, "answered_by": AnsweredBy.PROXY, "verdict": "deny", "reason": "revoked", "backend_seconds": 0.0}
    return like(**(values | changes))


def values(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Samples of one name by their label values, in the order of the labels' names."""
    found = {}
    for family in parse_text(metrics.render()[1].decode()):
        for sample in family.samples:
            if sample.name == PREFIX + name:
                found[tuple(sample.labels[key] for key in sorted(sample.labels))] = sample.value
    return found


def test_good_exchange():
    metrics = Metrics()
    metrics.saw(GOOD)
    metrics.saw(GOOD)
    assert values(metrics, "requests_total") == {("200", "GET", "Users.list"): 2}
    assert values(metrics, "auth_decisions_total") == {("allow", "doorkeeper"): 2}
    assert values(metrics, "auth_denials_total") == {}
    assert values(metrics, "upstream_duration_seconds_count") == {("2xx",): 2}
    assert values(metrics, "request_duration_seconds_sum") == {("allow", "Users.list"): 0.06}
    assert values(metrics, "tenant_last_request_timestamp_seconds") == {("acme",): 1764000000.0}


def test_histogram_counts_are_cumulative_and_bounds_inclusive():
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.0011, 60, 61):
        metrics.saw(like(total_seconds=seconds))
    found = {labels[0]: value for labels, value in values(metrics, "request_duration_seconds_bucket").items()}
    assert (found["0.001"], found["0.0025"], found["30.0"], found["60.0"], found["+Inf"]) == (2, 3, 3, 4, 5)


def test_refusal_is_a_denial_of_its_tenant_and_no_error():
    metrics = Metrics()
    metrics.saw(refused())
    assert values(metrics, "auth_denials_total") == {("revoked", "acme"): 1}
    assert values(metrics, "auth_decisions_total") == {("deny", "doorkeeper"): 1}
    assert values(metrics, "upstream_unauthorized_total") == {}
    assert values(metrics, "upstream_duration_seconds_count") == {}


def test_source_down_is_an_error_and_no_denial():
    metrics = Metrics()
    metrics.saw(refused(status=503, verdict="unable", reason="source_unavailable"))
    assert values(metrics, "auth_decisions_total") == {("error", "doorkeeper"): 1}
    assert values(metrics, "auth_denials_total") == {}


def test_observed_refusal_is_counted_apart():
    metrics = Metrics()
    metrics.saw(refused(observed=True, status=200, answered_by=AnsweredBy.BACKEND, backend_seconds=0.1))
    assert values(metrics, "auth_would_deny_total") == {("revoked", "acme"): 1}
    assert values(metrics, "auth_denials_total") == {}


def test_backend_that_refuses_a_valid_token():
    metrics = Metrics()
    metrics.saw(like(status=401))
    metrics.saw(like(status=403))
    metrics.saw(like(status=401, verdict="deny", observed=True))
    assert values(metrics, "upstream_unauthorized_total") == {("acme",): 1}


def test_fault_is_counted_by_its_word():
    metrics = Metrics()
    metrics.saw(like(status=504, answered_by=AnsweredBy.PROXY, fault="backend_slow"))
    assert values(metrics, "faults_total") == {("backend_slow",): 1}


def test_client_that_left_has_code_0_and_no_decision():
    metrics = Metrics()
    metrics.saw(like(status=0, answered_by=AnsweredBy.NOBODY, verdict="", source="", backend_seconds=0.0))
    assert values(metrics, "requests_total") == {("0", "GET", "Users.list"): 1}
    assert values(metrics, "auth_decisions_total") == {}


class TestBounds:
    def test_invented_methods_and_statuses_share_one_label(self):
        metrics = Metrics()
        for number in range(50):
            metrics.saw(like(method=f"X{number}", status=600 + number))
        assert values(metrics, "requests_total") == {("_other", "_other", "Users.list"): 50}

    def test_tenants_past_the_limit_are_other_and_are_counted(self):
        metrics = Metrics(["configured"], tenant_limit=3)
        for name in ("a", "b", "c", "d", "configured", "a"):
            metrics.saw(refused(tenant=name))
        found = {labels[1]: value for labels, value in values(metrics, "auth_denials_total").items()}
        assert found == {"a": 2, "b": 1, "_other": 2, "configured": 1}
        assert values(metrics, "label_overflow_total") == {(): 2}

    def test_tenant_that_a_request_only_claims_gets_no_name(self):
        metrics = Metrics(["acme"], tenant_limit=10)
        for reason in ("unknown", "malformed_credential", "missing_credential", "several_credentials"):
            metrics.saw(refused(tenant=f"claimed-{reason}", reason=reason))
            metrics.saw(refused(tenant="acme", reason=reason))
        assert {labels[1] for labels in values(metrics, "auth_denials_total")} == {"_other", "acme"}

    def test_unknown_tenant_has_its_label_and_takes_no_room(self):
        metrics = Metrics(tenant_limit=1)
        metrics.saw(refused(tenant="_unknown", reason="unknown"))
        metrics.saw(refused(tenant="acme"))
        assert {labels[1] for labels in values(metrics, "auth_denials_total")} == {"_unknown", "acme"}

    def test_tenant_label_off(self):
        metrics = Metrics(["acme"], tenant_label=False)
        metrics.saw(refused())
        metrics.watch("token_expiry_timestamp_seconds", lambda: {"acme": 5.0, "b": 4.0})
        assert values(metrics, "auth_denials_total") == {("revoked", "_all"): 1}
        assert values(metrics, "token_expiry_timestamp_seconds") == {("_all",): 4.0}

    def test_label_set_that_turns_out_open_stays_bounded(self, monkeypatch):
        monkeypatch.setattr(cells, "SERIES_LIMIT", 10)
        metrics = Metrics()
        for number in range(100):
            metrics.saw(like(operation=f"op{number}"))
        found = values(metrics, "requests_total")
        assert len(found) == 11
        assert sum(found.values()) == 100
        assert found[("_other", "_other", "_other")] == 90

    def test_memory_of_rows_starts_anew_and_counts_stay(self, monkeypatch):
        monkeypatch.setattr("proxy.observe.tally.MEMO_LIMIT", 5)
        metrics = Metrics()
        for _ in range(3):
            for number in range(20):
                metrics.saw(like(status=200 + number))
        assert len(metrics._tally._rows) <= 5
        assert sum(values(metrics, "requests_total").values()) == 60

    def test_watched_tenants_are_bounded_too_and_the_first_expiry_counts(self):
        metrics = Metrics(["acme"], tenant_limit=1)
        metrics.watch(
            "token_expiry_timestamp_seconds",
            lambda: {f"t{number}": float(100 + number) for number in range(500)} | {"acme": 7.0},
        )
        assert values(metrics, "token_expiry_timestamp_seconds") == {("acme",): 7.0, ("_other",): 100.0}


ANY_EXCHANGE = st.builds(
    Exchange,
    id=st.text(),
    at=st.floats(0, 1e10),
    method=st.text(),
    target=st.text(),
    operation=st.text(),
    tenant=st.text(st.characters(exclude_categories=())),  # lone surrogates as well
    client=st.text(),
    status=st.integers(),
    answered_by=st.sampled_from(AnsweredBy),
    credential=st.text(),
    verdict=st.sampled_from(["allow", "deny", "unable", ""]) | st.text(),
    reason=st.text(),
    source=st.text(),
    fault=st.text(),
    incident=st.text("0123456789ABCDEF", max_size=26),
    total_seconds=st.floats(0, 100),
    backend_seconds=st.floats(0, 100),
)


def test_tenant_that_utf8_cannot_hold_costs_no_scrape():
    metrics = Metrics(["configured\ud800"])
    metrics.saw(refused(tenant="a\udc80"))
    assert values(metrics, "auth_denials_total") == {("revoked", "a?"): 1}
    assert list(parse_openmetrics(metrics.render(OPENMETRICS)[1].decode()))


@given(ANY_EXCHANGE)
def test_any_exchange_renders_in_both_formats(exchange):
    metrics = Metrics()
    metrics.saw(exchange)
    assert list(parse_text(metrics.render()[1].decode()))
    assert list(parse_openmetrics(metrics.render(OPENMETRICS)[1].decode()))


class TestWatch:
    def test_value_and_labels(self):
        metrics = Metrics()
        metrics.watch("spool_bytes", lambda: 7)
        metrics.watch("token_cache_events_total", lambda: {"hit": 3, "miss": 1})
        metrics.watch("validator_state", lambda: {("doorkeeper", "ok"): 1.0, ("doorkeeper", "down"): 0.0})
        assert values(metrics, "spool_bytes") == {(): 7}
        assert values(metrics, "token_cache_events_total") == {("hit",): 3, ("miss",): 1}
        assert values(metrics, "validator_state") == {("doorkeeper", "ok"): 1, ("doorkeeper", "down"): 0}

    def test_one_that_fails_costs_no_other(self):
        metrics = Metrics()
        metrics.watch("spool_bytes", lambda: 1 / 0)
        metrics.watch("inflight_requests", lambda: 4)
        assert values(metrics, "inflight_requests") == {(): 4}
        assert values(metrics, "spool_bytes") == {}
        assert values(metrics, "scrape_errors_total")[()] >= 2

    def test_unknown_name_is_an_error(self):
        with pytest.raises(KeyError):
            Metrics().watch("spool_octets", lambda: 1)

    def test_what_is_counted_here_cannot_be_watched(self):
        with pytest.raises(ValueError, match="counted here"):
            Metrics().watch("requests_total", lambda: 1)

    def test_build_info(self):
        assert [labels[1] for labels in values(Metrics(), "build_info")] == [__version__]

    def test_lookups_store_and_reloads(self):
        metrics = Metrics()
        metrics.saw_lookup("doorkeeper", "known", 0.001)
        metrics.saw_store("append", 0.001)
        metrics.saw_reload("applied")
        assert values(metrics, "validator_duration_seconds_count") == {("known", "doorkeeper"): 1}
        assert values(metrics, "store_operation_seconds_count") == {("append",): 1}
        assert values(metrics, "config_reloads_total") == {("applied",): 1}


class TestExposition:
    def test_openmetrics_is_given_to_who_asks_with_the_incident_as_exemplar(self):
        metrics = Metrics()
        metrics.saw(refused(incident="01JABC"))
        content_type, body = metrics.render(f"{OPENMETRICS},text/plain;version=0.0.4;q=0.5")
        assert content_type.startswith("application/openmetrics-text")
        (sample,) = [
            sample
            for family in parse_openmetrics(body.decode())
            for sample in family.samples
            if sample.name == f"{PREFIX}auth_denials_total"
        ]
        assert sample.exemplar is not None
        assert sample.exemplar.labels == {"incident": "01JABC"}

    def test_text_is_given_to_others(self):
        content_type, body = Metrics().render("")
        assert content_type.startswith("text/plain")
        assert b"# EOF" not in body

    def test_process_metrics_are_there(self):
        assert b"process_resident_memory_bytes" in Metrics().render()[1]


class TestDocs:
    def test_page_is_what_the_code_says(self):
        page = Path(__file__).parents[2] / "docs/metrics.md"
        assert as_markdown() == page.read_text(), "run python -m proxy.observe.families"

    def test_every_exposed_family_is_declared(self):
        metrics = Metrics()
        metrics.saw(refused())
        exposed = {name.decode() for name in re.findall(rb"# TYPE scim_witness_(\w+)", metrics.render()[1])}
        assert exposed == {family.name for family in FAMILIES}

    def test_names_follow_the_conventions(self):
        for family in FAMILIES:
            assert family.name.endswith("_total") == (family.type is Type.COUNTER), family.name
            assert not (family.type is Type.HISTOGRAM and "tenant" in family.labels), family.name
            assert family.answers.endswith("."), family.name
        assert list(BUCKETS) == sorted(BUCKETS)

    def test_reasons_without_a_proven_tenant_exist(self):
        from proxy.observe.tally import _UNPROVEN

        assert {Reason(word) for word in _UNPROVEN} <= set(MEANINGS)
