"""Builds the ops plane from settings: what every gauge reads, what readiness asks, and the second listener."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from proxy.admin.desk import MakeRoutes
from proxy.admin.health import Health, Part, State, Ticker
from proxy.admin.http import Route
from proxy.admin.metrics_page import Render
from proxy.admin.overview import Outlook
from proxy.admin.ring import Ring, Totals
from proxy.core.token import Known
from proxy.evidence import layout
from proxy.observe.lately import BACKEND, ROAD, STORE, Lately
from proxy.observe.metrics import Metrics
from proxy.observe.sink import Sink
from proxy.settings import Settings
from proxy.sources.fresh import Fresh
from proxy.tasks import Report
from proxy.wire.answering import Answers
from proxy.wire.ops_listener import OpsListener
from proxy.wire.ops_tls import ops_tls
from proxy.wire.present import Present
from proxy.wire.reloads import Reloads
from proxy.wire.standing import OK
from proxy.wire.witnessing import Evidence

PASTED_LIFE: Final = 30 * 86_400
"""Seconds. Who lives shorter is renewed by a program: nobody pastes a token each month."""


def metrics_of(settings: Settings) -> Metrics:
    """The metrics, with the configured tenants named first."""
    m = settings.metrics
    return Metrics(settings.tenants, m.tenant_label_limit, tenant_label=m.tenant_label)


def watch(metrics: Metrics, present: Present, evidence: Evidence, ticker: Ticker, log: Sink) -> None:
    """Tell every gauge where to read."""
    shipper = evidence.shipper.state
    metrics.watch("inflight_requests", lambda: float(present.inflight))
    metrics.watch("client_connections", lambda: float(len(present.listener)))
    metrics.watch("event_loop_lag_seconds", lambda: ticker.lag)
    metrics.watch("incidents_removed_for_room_total", lambda: float(evidence.room.removed))
    metrics.watch("tenant_silent_since_timestamp_seconds", evidence.silence.since)
    metrics.watch("spool_bytes", lambda: float(evidence.spool.octets))
    metrics.watch("store_up", lambda: float(shipper.failing_since is None))
    metrics.watch("log_lines_dropped_total", lambda: float(log.dropped))
    metrics.watch(
        "incidents_total",
        lambda: {
            ("stored",): float(shipper.stored),
            ("deduplicated",): float(shipper.deduplicated + evidence.folder.folded),
            ("spooled",): float(evidence.witness.incidents),
            ("dropped",): float(evidence.witness.failed),
        },
    )
    oauth = evidence.oauth
    metrics.watch("oauth_calls_total", lambda: {key: float(count) for key, count in oauth.calls.items()})
    metrics.watch("oauth_lint_total", lambda: {(finding,): float(count) for finding, count in oauth.findings.items()})
    bus = evidence.bus.state
    metrics.watch(
        "fleet_changes_total",
        lambda: {("told",): float(bus.told), ("heard",): float(bus.heard), ("gap",): float(bus.gaps)},
    )
    metrics.watch("token_cache_events_total", lambda: _cache_events(present.side.fresh))
    metrics.watch("token_refresh_seconds", lambda: present.side.fresh.stats().refresh_seconds)
    metrics.watch("token_expiry_timestamp_seconds", lambda: first_expiries(present.side.fresh.rows()))
    metrics.watch(
        "validator_breaker_state", lambda: {(n, str(b.state)): 1.0 for n, b in present.side.sources.breakers().items()}
    )
    metrics.watch(
        "validator_breaker_opened_total",
        lambda: {(n,): float(b.opened_count) for n, b in present.side.sources.breakers().items()},
    )
    metrics.watch("source_disagreements_total", lambda: {(n,): c for n, c in present.side.sources.disagreements().items()})
    metrics.watch(
        "validator_state", lambda: {(name, present.side.standing.of(name)): 1.0 for name in present.side.sources.every}
    )
    metrics.watch("clock_offset_seconds", lambda: dict(present.side.tokens.offsets))


def first_expiries(rows: Iterable[Known]) -> dict[str, float]:
    """When the first of each tenant's tokens that no program renews will expire (epoch seconds). A revoked one does not."""
    found: dict[str, float] = {}
    for row in rows:
        renewed = row.refreshable or (row.expires_in or 0) < PASTED_LIFE
        if row.expires_at is not None and row.revoked_at is None and not renewed:
            found[row.tenant] = min(row.expires_at, found.get(row.tenant, row.expires_at))
    return found


def _cache_events(fresh: Fresh) -> dict[tuple[str], float]:
    stats = fresh.stats()
    return {
        ("hit",): float(stats.hits),
        ("miss",): float(stats.misses),
        ("negative_hit",): float(stats.negative_hits),
        ("evicted",): float(stats.evictions),
        ("invalidated",): float(stats.changes),
    }


def parts(present: Present, evidence: Evidence, reloads: Reloads, lately: Lately) -> Callable[[], Iterable[Part]]:
    """What readiness asks about, and what the map of the road shows."""

    def ask() -> Iterable[Part]:
        speeds = lately.percentiles()
        accepting = State.OK if present.listener.accepting else State.DOWN
        yield Part("listener", accepting, kind="vital", p95=speeds.get(ROAD))
        yield from _sources(present, speeds)
        shipper = evidence.shipper.state
        away = shipper.failing_since is not None
        why = shipper.why if away else layout.trouble(shipper.layout) if shipper.layout is not None else ""
        yield Part("store", State.DEGRADED if why else State.OK, why, p95=speeds.get(STORE))
        able = evidence.witness.able()
        yield Part("spool", State.OK if able else State.DOWN, "" if able else "the disk is full", kind="vital")
        yield reloads.part()
        yield Part("backend", State.OK, kind="backend", p95=speeds.get(BACKEND))

    return ask


def _sources(present: Present, speeds: Mapping[str, float]) -> Iterable[Part]:
    """All sources together, which decide; and where there are several, each of them, which only tell."""
    standing, sources = present.side.standing, present.side.sources
    breakers = {name: str(breaker.state) for name, breaker in sources.breakers().items()}
    whole, names = present.source.name, sources.names
    alone = len(names) == 1
    state = standing.together(names)
    yield Part(
        whole, State.OK if state == OK else State.DOWN, state, "source",
        speeds.get(whole) if alone else None, breakers.get(whole, "") if alone else "",
    )  # fmt: skip
    for name in sorted({*breakers, *names} - {whole}):
        why = "the breaker is open" if breakers.get(name) == "open" else standing.of(name)
        well = why == OK
        yield Part(
            name, State.OK if well else State.DEGRADED, "" if well else why, "other", speeds.get(name), breakers.get(name, "")
        )


def totals(present: Present, evidence: Evidence, ticker: Ticker, lately: Lately) -> Totals:
    """What the ring samples."""
    seen, incidents = float(evidence.activity.requests), float(evidence.witness.incidents)
    return Totals(seen, incidents, float(present.inflight), ticker.lag, lately.durations())


def routes_of(answers: Answers, health: Health, ring: Ring) -> MakeRoutes:
    """Make the pages and the API, over the reader that the command line uses too."""

    def upstream() -> str:
        url = urlsplit(answers.settings.upstream.url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"

    def make() -> Sequence[Route]:
        from proxy.admin.api import Api  # noqa: PLC0415 - memory, see Desk
        from proxy.admin.pages import Pages  # noqa: PLC0415 - the same, with Jinja

        outlook = Outlook(answers, health, ring, upstream)
        return [*Pages(answers, outlook).routes(), *Api(answers, outlook).routes()]

    return make


def ops_listener(settings: Settings, health: Health, render: Render, routes: MakeRoutes, report: Report) -> OpsListener:
    """The second listener. Raises StartFault when a certificate is no use."""
    o, tls = settings.ops, ops_tls(settings)
    return OpsListener(
        o.host, o.port, token=ops_token(settings), health=health, render_metrics=render, report=report, routes=routes, tls=tls
    )


def ops_token(settings: Settings) -> str | None:
    """The token that it asks for, if any."""
    return settings.ops.token.get_secret_value() if settings.ops.token is not None else None
