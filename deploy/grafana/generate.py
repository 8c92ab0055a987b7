# ruff: noqa: E501, INP001, T201 - PromQL reads best on one line; a script of its own, which says what is stale
"""Writes dashboards/*.json: `build/deploy-tools/bin/python deploy/grafana/generate.py`.

With --check it writes nothing and ends with status 1 when a file is not what it would write. The schema is that of
Grafana 11.6, by the pinned grafana-foundation-sdk of tests/deploy/tools.txt.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

PLACE: Final = pathlib.Path(__file__).parent / "dashboards"
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS: Final = 24

JOB: Final = 'job="$job"'
TENANT: Final = f'{JOB}, tenant="$tenant"'


class P(NamedTuple):
    """A panel: title, what it tells, unit, width of 24, kind, and (expression, legend) pairs."""

    title: str
    tells: str
    unit: str
    width: int
    kind: str
    queries: Sequence[tuple[str, str]]
    height: int = 7


def newborn(series: str, window: str) -> str:
    """The increase of a counter of refusals, with what a series that was born within the window already held."""
    return f"(({series} unless {series} offset {window}) or increase({series}[{window}]))"


def denials(labels: str) -> str:
    return f"scim_witness_auth_denials_total{{{labels}}}"


FLEET: Final = (
    P("Up", "Instances that answer their scrape.", "short", 4, "stat", [(f"sum(up{{{JOB}}})", "")], 4),
    P(
        "Requests",
        "Answers a second.",
        "reqps",
        4,
        "stat",
        [(f"sum(rate(scim_witness_requests_total{{{JOB}}}[$__rate_interval]))", "")],
        4,
    ),
    P(
        "Refused in the last hour",
        "With 401 or 403, by verdict of the proxy.",
        "short",
        4,
        "stat",
        [(f"sum({newborn(denials(JOB), '1h')})", "")],
        4,
    ),
    P(
        "Could not be judged",
        "Share of requests that got 503 because no token source could be read.",
        "percentunit",
        4,
        "stat",
        [(f"max(scim_witness:auth_errors:ratio_rate5m{{{JOB}}})", "")],
        4,
    ),
    P(
        "Overhead p95",
        "What the proxy adds to the backend.",
        "s",
        4,
        "stat",
        [(f"max(scim_witness:overhead_seconds:p95_5m{{{JOB}}})", "")],
        4,
    ),
    P(
        "Records dropped",
        "Anything but 0 is an alarm.",
        "short",
        4,
        "stat",
        [(f'sum(scim_witness_incidents_total{{{JOB}, result="dropped"}})', "")],
        4,
    ),
    P(
        "Answers by status",
        "Code 0: the client left before its answer.",
        "reqps",
        12,
        "lines",
        [(f"sum by (code) (rate(scim_witness_requests_total{{{JOB}}}[$__rate_interval]))", "{{code}}")],
    ),
    P(
        "Refusals by reason",
        "What breaks.",
        "short",
        12,
        "bars",
        [(f"sum by (reason) ({newborn(denials(JOB), '$__rate_interval')})", "{{reason}}")],
    ),
    P(
        "Duration p50, p95, p99",
        "From the request's first byte to the answer's last, of requests that were let through.",
        "s",
        12,
        "lines",
        [
            (
                f'histogram_quantile({q}, sum by (le) (rate(scim_witness_request_duration_seconds_bucket{{{JOB}, outcome="allow"}}[$__rate_interval])))',
                f"p{int(q * 100)}",
            )
            for q in (0.5, 0.95, 0.99)
        ],
    ),
    P(
        "Backend alone, p95",
        "From sending to the answer's fields, by class of status.",
        "s",
        12,
        "lines",
        [
            (
                f"histogram_quantile(0.95, sum by (le, code_class) (rate(scim_witness_upstream_duration_seconds_bucket{{{JOB}}}[$__rate_interval])))",
                "{{code_class}}",
            )
        ],
    ),
    P(
        "Token sources",
        "The state of each; anything but ok fires ValidatorDown.",
        "none",
        8,
        "table",
        [(f"max by (instance, source, state) (scim_witness_validator_state{{{JOB}}})", "")],
    ),
    P(
        "Memory of readings",
        "hit: no query was on the way of the request.",
        "ops",
        8,
        "lines",
        [(f"sum by (event) (rate(scim_witness_token_cache_events_total{{{JOB}}}[$__rate_interval]))", "{{event}}")],
    ),
    P(
        "Verdicts",
        "error is none: it got 503.",
        "reqps",
        8,
        "lines",
        [
            (
                f"sum by (source, outcome) (rate(scim_witness_auth_decisions_total{{{JOB}}}[$__rate_interval]))",
                "{{source}} {{outcome}}",
            )
        ],
    ),
    P(
        "Breakers",
        "1 for the state that each is in. open: the source does not answer and is left alone for a while; half_open: it is tried.",
        "none",
        8,
        "lines",
        [(f"max by (source, state) (scim_witness_validator_breaker_state{{{JOB}}})", "{{source}} {{state}}")],
    ),
    P(
        "Breakers opened",
        "Each time look-ups cost their deadline before.",
        "short",
        8,
        "bars",
        [(f"sum by (source) (increase(scim_witness_validator_breaker_opened_total{{{JOB}}}[$__rate_interval]))", "{{source}}")],
    ),
    P(
        "Workers started again",
        "Those that died; anything but 0 fires WorkersRestarting.",
        "short",
        8,
        "bars",
        [
            (
                f"sum by (instance) (increase(scim_witness_worker_restarts_total{{{JOB}}}[$__rate_interval])) or on () vector(0)",
                "{{instance}}",
            )
        ],
    ),
    P(
        "Store",
        "1 while it answers. No request waits for it.",
        "none",
        6,
        "lines",
        [(f"scim_witness_store_up{{{JOB}}}", "{{instance}}")],
    ),
    P(
        "Spool",
        "On disk and not yet in the store.",
        "bytes",
        6,
        "lines",
        [(f"scim_witness_spool_bytes{{{JOB}}}", "{{instance}}")],
    ),
    P(
        "Connections and requests on the road",
        "",
        "short",
        6,
        "lines",
        [
            (f"sum by (instance) (scim_witness_client_connections{{{JOB}}})", "{{instance}} connections"),
            (f"sum by (instance) (scim_witness_inflight_requests{{{JOB}}})", "{{instance}} requests"),
        ],
    ),
    P(
        "Event loop lag",
        "Above 0.1 s clients feel it.",
        "s",
        6,
        "lines",
        [(f"scim_witness_event_loop_lag_seconds{{{JOB}}}", "{{instance}}")],
    ),
    P("Memory", "Resident.", "bytes", 8, "lines", [(f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}")]),
    P("Open files", "", "short", 8, "lines", [(f"process_open_fds{{{JOB}}}", "{{instance}}")]),
    P("Versions", "", "none", 8, "table", [(f"max by (instance, version, python) (scim_witness_build_info{{{JOB}}})", "")]),
)

ONE_TENANT: Final = (
    P(
        "Silent for",
        "Since the last request that reached any replica.",
        "s",
        6,
        "stat",
        [(f"min(scim_witness:tenant_silence_seconds{{{TENANT}}})", "")],
        4,
    ),
    P(
        "Longest silence of the week",
        "What is usual for this customer.",
        "s",
        6,
        "stat",
        [(f"max(max_over_time(scim_witness:tenant_silence_seconds{{{TENANT}}}[7d]))", "")],
        4,
    ),
    P("Refused in the last hour", "", "short", 6, "stat", [(f"sum({newborn(denials(TENANT), '1h')}) or vector(0)", "")], 4),
    P(
        "Backend disagreed in the last hour",
        "It said 401 to a token that is valid.",
        "short",
        6,
        "stat",
        [(f"sum(scim_witness:disagreements:increase1h{{{TENANT}}}) or vector(0)", "")],
        4,
    ),
    P(
        "Refusals by reason",
        "",
        "short",
        12,
        "bars",
        [(f"sum by (reason) ({newborn(denials(TENANT), '$__rate_interval')}) or on () vector(0)", "{{reason}}")],
        8,
    ),
    P(
        "Silence",
        "A saw blade while it works; a ramp when it stopped.",
        "s",
        12,
        "lines",
        [(f"scim_witness:tenant_silence_seconds{{{TENANT}}}", "{{tenant}}")],
        8,
    ),
    P(
        "Would be refused (observe mode)",
        "What enforce would refuse.",
        "short",
        12,
        "bars",
        [
            (
                f"sum by (reason) (increase(scim_witness_auth_would_deny_total{{{TENANT}}}[$__rate_interval])) or on () vector(0)",
                "{{reason}}",
            )
        ],
        8,
    ),
    P(
        "All customers, silent the longest first",
        "",
        "s",
        12,
        "table",
        [(f"sort_desc(scim_witness:tenant_silence_seconds{{{JOB}}})", "")],
        8,
    ),
)

INCIDENT: Final = (
    P(
        "Refused by reason and customer, last hour",
        "Start here, then: scim-witness incidents list --tenant TENANT --since 1h",
        "short",
        12,
        "table",
        [(f"sort_desc(sum by (tenant, reason) ({newborn(denials(JOB), '1h')}))", "")],
        9,
    ),
    P(
        "Is it one customer or all?",
        "Refusals by customer.",
        "short",
        12,
        "bars",
        [(f"sum by (tenant) ({newborn(denials(JOB), '$__rate_interval')})", "{{tenant}}")],
        9,
    ),
    P(
        "Who refused?",
        "deny: the proxy. The backend's own 401 is on the right. error: nobody, it was a 503.",
        "short",
        12,
        "bars",
        [
            (
                f'sum by (outcome) (increase(scim_witness_auth_decisions_total{{{JOB}, outcome!="allow"}}[$__rate_interval]))',
                "{{outcome}}",
            )
        ],
    ),
    P(
        "The backend refused a valid token",
        "By customer.",
        "short",
        12,
        "bars",
        [
            (
                f"sum by (tenant) ({newborn(f'scim_witness_upstream_unauthorized_total{{{JOB}}}', '$__rate_interval')}) or on () vector(0)",
                "{{tenant}}",
            )
        ],
    ),
    P(
        "Could the source be read?",
        "1 for the state it is in.",
        "none",
        8,
        "lines",
        [(f"max by (source, state) (scim_witness_validator_state{{{JOB}}})", "{{source}} {{state}}")],
    ),
    P(
        "Did states change?",
        "invalidated: a token was found changed when it was read again.",
        "short",
        8,
        "bars",
        [
            (
                f'sum(increase(scim_witness_token_cache_events_total{{{JOB}, event="invalidated"}}[$__rate_interval]))',
                "changes seen",
            )
        ],
    ),
    P(
        "Is the evidence safe?",
        "dropped must stay 0.",
        "short",
        8,
        "lines",
        [(f"sum by (result) (scim_witness_incidents_total{{{JOB}}})", "{{result}}")],
    ),
    P(
        "Broken exchanges",
        "By the word in the log line.",
        "short",
        12,
        "bars",
        [(f"sum by (fault) (increase(scim_witness_faults_total{{{JOB}}}[$__rate_interval])) or on () vector(0)", "{{fault}}")],
    ),
    P("Alerts", "Those that fire or are about to.", "none", 12, "table", [('ALERTS{alertname=~".+"} or on () vector(0)', "")]),
)

BOARDS: Final = {
    "fleet": ("scim-witness: fleet", "All instances: traffic, refusals, what the proxy adds, its parts.", FLEET),
    "tenant": ("scim-witness: tenant", "One customer: is it silent, is it refused, and why.", ONE_TENANT),
    "incident": ("scim-witness: incident", "In the order of the questions that are asked when provisioning stopped.", INCIDENT),
}


def panel(spec: P, number: int, x: int, y: int) -> Any:
    """Build one panel."""
    build: Any = {"stat": stat.Panel, "table": table.Panel}.get(spec.kind, timeseries.Panel)()
    build.id(number).title(spec.title).description(spec.tells).unit(spec.unit).datasource(SOURCE)
    build.grid_pos(model.GridPos(h=spec.height, w=spec.width, x=x, y=y))
    if spec.kind == "bars":
        build.draw_style(common.GraphDrawStyle.BARS).fill_opacity(60)
        build.stacking(_stacked())
    for ref, (expression, legend) in zip("ABCDE", spec.queries, strict=False):
        query = prometheus.Dataquery().expr(expression).ref_id(ref).legend_format(legend or "__auto")
        if spec.kind == "table":
            query.instant().format("table")
        else:
            query.range()
        build.with_target(query)
    return build


def _stacked() -> Any:
    return build_common.StackingConfig().mode(common.StackingMode.NORMAL)


def board(uid: str) -> str:
    """Build one dashboard as JSON."""
    title, tells, panels = BOARDS[uid]
    build = dashboard.Dashboard(title).uid(f"scim-witness-{uid}").description(tells).tags(["scim-witness"]).readonly()
    build.refresh("30s").time("now-6h", "now").timezone("utc").tooltip(model.DashboardCursorSync.CROSSHAIR)
    build.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    build.with_variable(_choice("job", "Job", "label_values(scim_witness_build_info, job)"))
    if uid == "tenant":
        query = f"label_values(scim_witness_tenant_last_request_timestamp_seconds{{{JOB}}}, tenant)"
        build.with_variable(_choice("tenant", "Tenant", query))
    notes = annotations(TENANT if uid == "tenant" else JOB)
    for name, note in notes.items():
        query = dashboard.AnnotationQuery().name(name).datasource(SOURCE).enable(True)  # noqa: FBT003
        build.annotation(query.icon_color(note.colour).expr(note.expression))
    x = y = row = 0
    for number, spec in enumerate(panels, 1):
        if x + spec.width > COLUMNS:
            x, y, row = 0, y + row, 0
        build.with_panel(panel(spec, number, x, y))
        x, row = x + spec.width, max(row, spec.height)
    whole = json.loads(JSONEncoder().encode(build.build()))
    for query in whole["annotations"]["list"]:  # the kit's model of an annotation has no place for these
        query |= {"step": "60s", "tagKeys": "alertname,tenant,reason", "titleFormat": notes[query["name"]].title}
    return json.dumps(whole, sort_keys=True, indent=2) + "\n"


class Note(NamedTuple):
    """What is drawn through all panels: colour, title, and when."""

    colour: str
    title: str
    expression: str


def annotations(labels: str) -> dict[str, Note]:
    """When an alert of ours fires, and each minute in which incidents were recorded: by tenant and reason, never by token."""
    refused = newborn(denials(labels), "1m")
    by_backend = newborn(f"scim_witness_upstream_unauthorized_total{{{labels}}}", "1m")
    return {
        "Alerts": Note("red", "{{alertname}}", 'ALERTS{alertstate="firing", severity=~"page|ticket"}'),
        "Incidents": Note("orange", "{{tenant}} refused: {{reason}}", f"sum by (tenant, reason) ({refused}) > 0"),
        "Backend refused": Note("purple", "{{tenant}} refused by the backend", f"sum by (tenant) ({by_backend}) > 0"),
    }


def _choice(name: str, label: str, query: str) -> Any:
    build = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query)
    return build.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)


def main() -> int:
    """Write or compare all."""
    PLACE.mkdir(exist_ok=True)
    stale = 0
    for uid in BOARDS:
        path, text = PLACE / f"{uid}.json", board(uid)
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            print(f"{path.name} is not what generate.py writes", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
