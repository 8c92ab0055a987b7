"""Counts what happens, and gives it to Prometheus.

On the way of a request: one look into a dictionary and a few additions. Everything else is read when it is asked for,
from callables that wiring gives (`watch`), and rendered by prometheus_client through a collector of our own.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from proxy import __version__
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.observe import families as f
from proxy.observe.cells import OTHER, Count, Series, Spread
from proxy.observe.tenant_names import TenantNames

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with a label of their own; what else a client invents is `_other`."""

MEMO_LIMIT: Final = 10_000
"""Remembered combinations of labels. They are closed sets; should they not be, the memory starts anew, the counts stay."""

_UNPROVEN: Final = frozenset({"unknown", "missing_credential", "malformed_credential", "several_credentials"})
"""Reasons under which the tenant is what the request claims: it gets no name in labels unless it has one."""

_BACKEND: Final = AnsweredBy.BACKEND
_OUTCOMES: Final = {"allow": "allow", "deny": "deny", "unable": "error", "": "none"}

Values = float | Mapping[str, float] | Mapping[tuple[str], float] | Mapping[tuple[str, str], float]
"""What a watched callable returns: one value, or values by label (by labels, where there are several)."""


class _Row:
    """The cells that one kind of exchange adds to."""

    __slots__ = ("decisions", "denied", "duration", "requests", "unauthorized", "upstream")

    def __init__(self, requests: Count, duration: Spread, decisions: Count, upstream: Spread) -> None:
        self.requests = requests
        self.duration = duration
        self.decisions = decisions
        self.upstream = upstream
        self.denied = False
        self.unauthorized = False


class Metrics(Collector):
    """All metrics of this process. `tenants` are those of the settings, named in labels before others."""

    def __init__(self, tenants: Iterable[str] = (), tenant_limit: int = 200, *, tenant_label: bool = True) -> None:
        self._overflow = Count()
        self._scrape_errors = Count()
        self._tenants = TenantNames(tenants, tenant_limit, self._overflow, enabled=tenant_label)
        self._counts = {family: Series(family, Count, self._overflow) for family in _ACCUMULATED_COUNTS}
        self._spreads = {family: Series(family, Spread, self._overflow) for family in _ACCUMULATED_SPREADS}
        self._rows: dict[tuple[str, str, int, str, str, bool], _Row] = {}
        self._last: dict[str, float] = {}
        self._watched: dict[f.Family, Callable[[], Values]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.watch("label_overflow_total", lambda: self._overflow.value)
        self.watch("scrape_errors_total", lambda: self._scrape_errors.value)
        self.watch("tenant_last_request_timestamp_seconds", lambda: dict(self._last))
        self.watch("build_info", lambda: {(__version__, platform.python_version()): 1.0})

    def saw(self, exchange: Exchange) -> None:
        """Count one exchange."""
        method = exchange.method if exchange.method in METHODS else OTHER
        # an enumeration's member is hashed in Python, so this one is said by a bool
        key = (exchange.operation, method, exchange.status, exchange.verdict, exchange.source, exchange.answered_by is _BACKEND)
        row = self._rows.get(key)
        if row is None:
            row = self._new_row(key)
        row.requests.value += 1
        row.decisions.value += 1
        spread = row.duration
        seconds = exchange.total_seconds
        spread.counts[bisect_left(f.BUCKETS, seconds)] += 1
        spread.total += seconds
        if exchange.backend_seconds:
            row.upstream.observe(exchange.backend_seconds)
        tenant = self._tenants.name(exchange.tenant) or self._tenants.label(
            exchange.tenant, proven=exchange.reason not in _UNPROVEN
        )
        self._last[tenant] = exchange.at
        if row.denied or row.unauthorized or exchange.observed or exchange.fault:
            self._saw_trouble(exchange, row, tenant)

    def _new_row(self, key: tuple[str, str, int, str, str, bool]) -> _Row:
        route, method, status, verdict, source, by_backend = key
        outcome = _OUTCOMES.get(verdict, OTHER)
        code = str(status) if 100 <= status <= 599 or status == 0 else OTHER
        row = _Row(
            self._counts[f.REQUESTS].cell(route, method, code),
            self._spreads[f.REQUEST_DURATION].cell(route, outcome),
            # without a verdict there is no decision: that count goes nowhere
            self._counts[f.DECISIONS].cell(source or "none", outcome) if verdict else Count(),
            self._spreads[f.UPSTREAM_DURATION].cell(f"{status // 100}xx" if 100 <= status <= 599 else OTHER),
        )
        row.denied = verdict == "deny"
        row.unauthorized = by_backend and status == 401 and verdict == "allow"
        if len(self._rows) >= MEMO_LIMIT:
            self._rows.clear()
        self._rows[key] = row
        return row

    def _saw_trouble(self, exchange: Exchange, row: _Row, tenant: str) -> None:
        if exchange.observed:
            self._note(f.WOULD_DENY, exchange, exchange.reason, tenant)
        elif row.denied:
            self._note(f.DENIALS, exchange, exchange.reason, tenant)
        if row.unauthorized:
            self._note(f.UPSTREAM_UNAUTHORIZED, exchange, tenant)
        if exchange.fault:
            self._counts[f.FAULTS].cell(exchange.fault).value += 1

    def _note(self, family: f.Family, exchange: Exchange, *labels: str) -> None:
        cell = self._counts[family].cell(*labels)
        cell.value += 1
        if exchange.incident:
            cell.incident, cell.at = exchange.incident, exchange.at

    def saw_lookup(self, source: str, result: str, seconds: float) -> None:
        """Count one reading of a source; `result` is known, unknown or unavailable."""
        self._spreads[f.VALIDATOR_DURATION].cell(source, result).observe(seconds)

    def saw_store(self, operation: str, seconds: float) -> None:
        """Count one round trip to the store."""
        self._spreads[f.STORE_DURATION].cell(operation).observe(seconds)

    def saw_reload(self, result: str) -> None:
        """Count one reload of the settings; `result` is applied or refused."""
        self._counts[f.CONFIG_RELOADS].cell(result).value += 1

    def counts_by(self, family: f.Family, place: int) -> dict[str, tuple[int, ...]]:
        """The counts per bucket of a histogram, added up by the label at `place`."""
        found: dict[str, tuple[int, ...]] = {}
        for labels, cell in self._spreads[family].items():
            counts, before = tuple(cell.counts), found.get(labels[place])
            found[labels[place]] = counts if before is None else tuple(map(sum, zip(before, counts, strict=True)))
        return found

    def watch(self, name: str, read: Callable[[], Values]) -> None:
        """Read a family (its name without the prefix) from a callable at every scrape. KeyError for an unknown name.

        The callable must be quick and may be called from another thread. Tenants in its labels are bounded here.
        """
        family = _BY_NAME[name]
        if family in self._counts or family in self._spreads:
            raise ValueError(f"{name} is counted here and cannot be watched")
        self._watched[family] = read

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Return content type and body for a scraper's Accept field. Takes milliseconds: call it in a thread."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every family (prometheus_client's collector interface)."""
        for family in f.FAMILIES:
            if family in self._counts:
                yield _counter(family, self._counts[family])
            elif family in self._spreads:
                yield _histogram(family, self._spreads[family])
            else:
                yield self._read(family)

    def _read(self, family: f.Family) -> Metric:
        make: Any = CounterMetricFamily if family.type is f.Type.COUNTER else GaugeMetricFamily
        metric: Metric = make(f.PREFIX + family.name, family.answers, labels=family.labels)
        read = self._watched.get(family)
        if read is None:
            return metric
        try:
            values = read()
            for labels, value in self._bounded(family, values).items():
                metric.add_metric(labels, value)  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - one gauge that cannot be read must not cost all the others
            self._scrape_errors.value += 1
        return metric

    def _bounded(self, family: f.Family, values: Values) -> dict[tuple[str, ...], float]:
        """Return values by labels. Tenants without a name of their own share `_other`, which has the least value of them:
        the first expiry, the oldest request."""
        if not isinstance(values, Mapping):
            return {(): float(values)}
        found: dict[tuple[str, ...], float] = {}
        for key, value in values.items():
            labels: tuple[str, ...] = key if isinstance(key, tuple) else (key,)
            if family.labels == ("tenant",):
                labels = (self._tenants.known(labels[0]),)
            found[labels] = min(float(value), found.get(labels, float("inf")))
        return found


def _counter(family: f.Family, series: Series[Count]) -> Metric:
    metric = CounterMetricFamily(f.PREFIX + family.name, family.answers, labels=family.labels)
    for labels, cell in series.items():
        exemplar = Exemplar({"incident": cell.incident}, 1.0, cell.at) if cell.incident else None
        metric.add_metric(labels, cell.value, exemplar=exemplar)
    return metric


def _histogram(family: f.Family, series: Series[Spread]) -> Metric:
    metric = HistogramMetricFamily(f.PREFIX + family.name, family.answers, labels=family.labels)
    for labels, cell in series.items():
        counts, buckets, running = list(cell.counts), [], 0
        if not any(counts):
            continue
        for bound, count in zip((*map(str, f.BUCKETS), "+Inf"), counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        metric.add_metric(labels, buckets, cell.total)
    return metric


_BY_NAME: Final = {family.name: family for family in f.FAMILIES}
_ACCUMULATED_COUNTS: Final = (
    f.REQUESTS, f.DECISIONS, f.DENIALS, f.WOULD_DENY, f.UPSTREAM_UNAUTHORIZED, f.FAULTS, f.CONFIG_RELOADS,
)  # fmt: skip
_ACCUMULATED_SPREADS: Final = (f.REQUEST_DURATION, f.VALIDATOR_DURATION, f.UPSTREAM_DURATION, f.STORE_DURATION)
