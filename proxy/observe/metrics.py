"""Gives Prometheus what was counted (tally.py) and what others know.

That is read when it is asked for, from callables that wiring gives (`watch`), and rendered by prometheus_client through a
collector of our own.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from proxy import __version__
from proxy.observe import families as f
from proxy.observe.cells import Count, Series, Spread
from proxy.observe.tally import Tally
from proxy.observe.tenant_names import TenantNames

Values = float | Mapping[str, float] | Mapping[tuple[str], float] | Mapping[tuple[str, str], float]
"""What a watched callable returns: one value, or values by label (by labels, where there are several)."""


class Metrics(Collector):
    """All metrics of this process. `tenants` are those of the settings, named in labels before others."""

    def __init__(self, tenants: Iterable[str] = (), tenant_limit: int = 200, *, tenant_label: bool = True) -> None:
        self._overflow = Count()
        self._scrape_errors = Count()
        self._tenants = TenantNames(tenants, tenant_limit, self._overflow, enabled=tenant_label)
        self._counts = {family: Series(family, Count, self._overflow) for family in _ACCUMULATED_COUNTS}
        self._spreads = {family: Series(family, Spread, self._overflow) for family in _ACCUMULATED_SPREADS}
        self._tally = Tally(self._tenants, self._counts, self._spreads)
        self.saw = self._tally.saw
        self._watched: dict[f.Family, Callable[[], Values]] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.watch("label_overflow_total", lambda: self._overflow.value)
        self.watch("scrape_errors_total", lambda: self._scrape_errors.value)
        self.watch("tenant_last_request_timestamp_seconds", lambda: dict(self._tally.last))
        self.watch("build_info", lambda: {(__version__, platform.python_version()): 1.0})

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
