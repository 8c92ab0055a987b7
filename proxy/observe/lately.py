"""How fast each part was lately, for the pages: 95th percentiles of the last minutes, from histograms that are counted anyway.

Nothing is added on the way of a request: every ten seconds the counters are copied, and what they grew by since is looked at.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterable, Sequence
from typing import Final

from proxy.observe import families as f
from proxy.observe.metrics import Metrics

EVERY: Final = 10.0
"""Seconds between copies."""
COPIES: Final = 31
"""Copies kept: five minutes, a few kilobytes."""

ROAD: Final = "listener"
STORE: Final = "store"
BACKEND: Final = "backend"

Counts = tuple[int, ...]


class Lately:
    """Copies the histograms of one process for ever (`run`), and tells the quantile of their growth."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._copies: collections.deque[dict[str, Counts]] = collections.deque(maxlen=COPIES)

    async def run(self) -> None:
        """Copy every ten seconds; a loop for `Tasks.keep`."""
        while True:
            self.copy()
            await asyncio.sleep(EVERY)

    def copy(self) -> None:
        """Take one copy."""
        self._copies.append(self._now())

    def percentiles(self) -> dict[str, float]:
        """Seconds within which 95 % of the last five minutes' operations of each part ended (`listener`, `store`, `backend`, or
        a source's name). A part that did nothing is left out."""
        found = {part: p95(counts) for part, counts in self.grown().items()}
        return {part: seconds for part, seconds in found.items() if seconds is not None}

    def grown(self) -> dict[str, Counts]:
        """By how much the counts of each part have grown within the last five minutes."""
        first = self._copies[0] if self._copies else {}
        return {part: _grown(now, first.get(part, ())) for part, now in self._now().items()}

    def durations(self) -> Counts:
        """The counts of all requests since the start."""
        return summed(self._metrics.counts_by(f.REQUEST_DURATION, 0).values())

    def _now(self) -> dict[str, Counts]:
        metrics = self._metrics
        parts: dict[str, Counts] = {
            ROAD: summed(metrics.counts_by(f.REQUEST_DURATION, 0).values()),
            STORE: summed(metrics.counts_by(f.STORE_DURATION, 0).values()),
            BACKEND: summed(metrics.counts_by(f.UPSTREAM_DURATION, 0).values()),
        }
        return metrics.counts_by(f.VALIDATOR_DURATION, 0) | parts


def summed(spreads: Iterable[Counts]) -> Counts:
    """Counts of several processes or series as one: bucket by bucket. Empty ones are left out."""
    return tuple(map(sum, zip(*filter(None, spreads), strict=True)))


def _grown(now: Counts, before: Counts) -> Counts:
    return tuple(count - old for count, old in zip(now, before or (0,) * len(now), strict=True))


def p95(counts: Sequence[int]) -> float | None:
    """The 95th percentile, as `quantile` gives it."""
    return quantile(counts, 0.95)


def quantile(counts: Sequence[int], share: float, bounds: Sequence[float] = f.BUCKETS) -> float | None:
    """The value below which `share` of the observations lie, from counts per bucket (the last has no bound). Within a bucket
    they are taken to lie evenly, as Prometheus does; beyond the last bound it is that bound. None without observations."""
    total = sum(counts)
    if total <= 0:
        return None
    wanted, seen, low = share * total, 0, 0.0
    for count, bound in zip(counts, bounds, strict=False):
        if count and seen + count >= wanted:
            return low + (bound - low) * (wanted - seen) / count
        seen, low = seen + count, bound
    return bounds[-1]
