"""Every metric there is: name, type, labels, meaning, and what bounds its series. docs/metrics.md is written from this.

Not here: values. Names have the prefix scim_witness_, base units, and `_total` for counters. No tenant in histograms.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

PREFIX: Final = "scim_witness_"

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds. From the proxy's own cost to the 60 s after which identity providers give up."""


class Type(Enum):
    """How a family is exposed."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """One metric. `answers` says which question it answers."""

    name: str
    type: Type
    labels: tuple[str, ...]
    answers: str


REQUESTS: Final = Family(
    "requests_total",
    Type.COUNTER,
    ("route", "method", "code"),
    "Answers that left, by SCIM operation. Code 0: the client left before.",
)
REQUEST_DURATION: Final = Family(
    "request_duration_seconds",
    Type.HISTOGRAM,
    ("route", "outcome"),
    "From the request's first byte to the answer's last, by outcome.",
)
DECISIONS: Final = Family(
    "auth_decisions_total",
    Type.COUNTER,
    ("source", "outcome"),
    "Verdicts: allow, deny, error (could not be judged; never a 401).",
)
DENIALS: Final = Family(
    "auth_denials_total",
    Type.COUNTER,
    ("reason", "tenant"),
    "Requests that were refused: what breaks, and for whom.",
)
WOULD_DENY: Final = Family(
    "auth_would_deny_total",
    Type.COUNTER,
    ("reason", "tenant"),
    "Requests that observe mode let pass and enforce would refuse.",
)
VALIDATOR_DURATION: Final = Family(
    "validator_duration_seconds",
    Type.HISTOGRAM,
    ("source", "result"),
    "Readings of a source, by result: known, unknown, unavailable.",
)
VALIDATOR_STATE: Final = Family(
    "validator_state",
    Type.GAUGE,
    ("source", "state"),
    "1 for the state that a source is in: ok, unasked (not yet), or its trouble. Other states are not there.",
)
BREAKER_STATE: Final = Family(
    "validator_breaker_state",
    Type.GAUGE,
    ("source", "state"),
    "1 for the state of the breaker before a source (an endpoint, or the primary database): closed, open, half_open.",
)
BREAKER_OPENED: Final = Family(
    "validator_breaker_opened_total",
    Type.COUNTER,
    ("source",),
    "How often a source that does not answer was left alone for a while.",
)
SOURCE_DISAGREEMENTS: Final = Family(
    "source_disagreements_total",
    Type.COUNTER,
    ("source",),
    "Tokens of which a table and the endpoint that checks it say different things.",
)
CACHE_EVENTS: Final = Family(
    "token_cache_events_total",
    Type.COUNTER,
    ("event",),
    "The memory of readings: hit, miss, negative_hit, evicted, invalidated.",
)
TOKEN_REFRESH: Final = Family(
    "token_refresh_seconds",
    Type.GAUGE,
    (),
    "How long the last re-read of all tokens in use took: a revocation is seen within that and `fresh.refresh_every`.",
)
FLEET_CHANGES: Final = Family(
    "fleet_changes_total",
    Type.COUNTER,
    ("event",),
    "Changes of tokens told to the fleet, heard from it, and gaps after which everything is read anew: told, heard, gap.",
)
UPSTREAM_DURATION: Final = Family(
    "upstream_duration_seconds",
    Type.HISTOGRAM,
    ("code_class",),
    "The backend alone, from sending to its answer's fields.",
)
UPSTREAM_UNAUTHORIZED: Final = Family(
    "upstream_unauthorized_total",
    Type.COUNTER,
    ("tenant",),
    "The backend said 401 to a token that we hold valid.",
)
INCIDENTS: Final = Family(
    "incidents_total",
    Type.COUNTER,
    ("result",),
    "Incidents: stored, deduplicated, spooled, dropped. Anything dropped is an alarm.",
)
MADE_ROOM: Final = Family(
    "incidents_removed_for_room_total",
    Type.COUNTER,
    (),
    "Old incidents that went because the embedded store was full: give it less to keep, or a store of its own.",
)
STORE_UP: Final = Family("store_up", Type.GAUGE, (), "1 while the store answers. No request waits for it.")
STORE_DURATION: Final = Family(
    "store_operation_seconds",
    Type.HISTOGRAM,
    ("op",),
    "Round trips to the store, in the background.",
)
TENANT_LAST: Final = Family(
    "tenant_last_request_timestamp_seconds",
    Type.GAUGE,
    ("tenant",),
    "When a tenant's last request came. Silence is an answer too.",
)
TENANT_SILENT: Final = Family(
    "tenant_silent_since_timestamp_seconds",
    Type.GAUGE,
    ("tenant",),
    "The last request of a tenant that went silent, against its habit; absent while it is heard.",
)
TOKEN_EXPIRY: Final = Family(
    "token_expiry_timestamp_seconds",
    Type.GAUGE,
    ("tenant",),
    "When the first of a tenant's tokens in use that no program renews will expire.",
)
OAUTH_CALLS: Final = Family(
    "oauth_calls_total",
    Type.COUNTER,
    ("endpoint", "outcome"),
    "Calls of the OAuth endpoints, by error code or class of the answer.",
)
OAUTH_LINT: Final = Family(
    "oauth_lint_total",
    Type.COUNTER,
    ("finding",),
    "Token answers with a defect: what will stop a client later.",
)
FAULTS: Final = Family(
    "faults_total",
    Type.COUNTER,
    ("fault",),
    "Exchanges in which something broke, by the word in the log line.",
)
SPOOL_BYTES: Final = Family("spool_bytes", Type.GAUGE, (), "Bytes on disk that the store has not acknowledged.")
INFLIGHT: Final = Family("inflight_requests", Type.GAUGE, (), "Requests that are on the road now.")
CONNECTIONS: Final = Family("client_connections", Type.GAUGE, (), "Open connections of clients.")
LOOP_LAG: Final = Family("event_loop_lag_seconds", Type.GAUGE, (), "How late the last tick of the event loop was.")
CLOCK_OFFSET: Final = Family("clock_offset_seconds", Type.GAUGE, ("source",), "How far a source's clock is ahead of ours.")
CONFIG_RELOADS: Final = Family("config_reloads_total", Type.COUNTER, ("result",), "Reloads of the settings: applied, refused.")
CONFIG_TIME: Final = Family("config_reload_timestamp_seconds", Type.GAUGE, (), "When settings were last applied.")
WORKERS: Final = Family(
    "workers", Type.GAUGE, ("state",), "With `workers` above 1: how many are configured, and how many ready."
)
RESTARTS: Final = Family(
    "worker_restarts_total", Type.COUNTER, ("worker",), "Workers that died and were started again. Any is worth a look."
)
LABEL_OVERFLOW: Final = Family(
    "label_overflow_total",
    Type.COUNTER,
    (),
    "Requests counted under `_other`, because a label has as many values as it may.",
)
LOG_DROPPED: Final = Family("log_lines_dropped_total", Type.COUNTER, (), "Log lines that could not be written.")
SCRAPE_ERRORS: Final = Family("scrape_errors_total", Type.COUNTER, (), "Gauges that could not be read while rendering.")
BUILD_INFO: Final = Family("build_info", Type.GAUGE, ("version", "python"), "Always 1.")

FAMILIES: Final = (
    REQUESTS, REQUEST_DURATION, DECISIONS, DENIALS, WOULD_DENY, VALIDATOR_DURATION, VALIDATOR_STATE,
    BREAKER_STATE, BREAKER_OPENED, SOURCE_DISAGREEMENTS, CACHE_EVENTS, TOKEN_REFRESH,
    FLEET_CHANGES,
    UPSTREAM_DURATION, UPSTREAM_UNAUTHORIZED, INCIDENTS,
    MADE_ROOM, STORE_UP, STORE_DURATION, TENANT_LAST, TENANT_SILENT,
    TOKEN_EXPIRY, OAUTH_CALLS,
    OAUTH_LINT, FAULTS,
    SPOOL_BYTES, INFLIGHT, CONNECTIONS, LOOP_LAG, CLOCK_OFFSET, CONFIG_RELOADS, CONFIG_TIME, WORKERS, RESTARTS, LABEL_OVERFLOW,
    LOG_DROPPED, SCRAPE_ERRORS, BUILD_INFO,
)  # fmt: skip


def as_markdown() -> str:
    """Return docs/metrics.md."""
    rows = [
        f"| `{PREFIX}{family.name}` | {family.type.value} | {', '.join(family.labels) or 'none'} | {family.answers} |"
        for family in FAMILIES
    ]
    return "\n".join([_HEAD, "| metric | type | labels | what it answers |", "|---|---|---|---|", *rows, "", _FOOT])


_HEAD: Final = """# Metrics

<!-- Written by `python -m proxy.observe.families` from proxy/observe/families.py; a test compares. -->

`GET /metrics` on the ops listener gives the text format of Prometheus, or OpenMetrics (with incident ids as exemplars
on denials) to a scraper that asks for it. The process's own metrics (`process_*`, `python_info`) are there as well.
With `workers` above 1 one page holds those of all of them: each sample then has the label `worker`, a number from 1 that a
replacement inherits, or `supervisor`.
"""

_FOOT: Final = f"""## Labels

- `route` is the SCIM operation (`Users.list`), never the path; `method` and `reason` are closed sets; `code` is the status.
- `tenant` names the tenants of the settings and the first ones seen, up to `metrics.tenant_label_limit`; further ones are
  `_other` and count in `{PREFIX}label_overflow_total`. With `metrics.tenant_label = false` all are `_all`.
- `outcome` is allow, deny, error, or none for an exchange that never came to a verdict.
- Buckets in seconds: {", ".join(f"{bound:g}" for bound in BUCKETS)}.
"""

if __name__ == "__main__":
    print(as_markdown(), end="")  # noqa: T201 - writes the page
