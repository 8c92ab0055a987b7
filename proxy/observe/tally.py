"""Counts exchanges. On the way of a request: one look into a dictionary and a few additions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.observe import families as f
from proxy.observe.cells import OTHER, Count, Series, Spread
from proxy.observe.families import BUCKETS
from proxy.observe.tenant_names import TenantNames

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with a label of their own; what else a client invents is `_other`."""

MEMO_LIMIT: Final = 10_000
"""Remembered combinations of labels. They are closed sets; should they not be, the memory starts anew, the counts stay."""

_UNPROVEN: Final = frozenset({"unknown", "missing_credential", "malformed_credential", "several_credentials"})
"""Reasons under which the tenant is what the request claims: it gets no name in labels unless it has one."""

_BACKEND: Final = AnsweredBy.BACKEND
_OUTCOMES: Final = {"allow": "allow", "deny": "deny", "unable": "error", "": "none"}


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


class Tally:
    """See the module. It adds to the cells of `counts` and `spreads`, by family.

    `last` holds when each tenant was last seen, in epoch seconds.
    """

    def __init__(
        self,
        tenants: TenantNames,
        counts: Mapping[f.Family, Series[Count]],
        spreads: Mapping[f.Family, Series[Spread]],
    ) -> None:
        self._tenants = tenants
        self._counts = counts
        self._spreads = spreads
        self._rows: dict[tuple[str, str, int, str, str, bool], _Row] = {}
        self.last: dict[str, float] = {}

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
        spread.counts[bisect_left(BUCKETS, seconds)] += 1
        spread.total += seconds
        if exchange.backend_seconds:
            row.upstream.observe(exchange.backend_seconds)
        tenant = self._tenants.name(exchange.tenant) or self._tenants.label(
            exchange.tenant, proven=exchange.reason not in _UNPROVEN
        )
        self.last[tenant] = exchange.at
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
