"""The last two hours of this process in memory, for an operator without Prometheus. Bounded: 720 samples, 250 kB at most."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

EVERY: Final = 10.0
"""Seconds between samples."""
SAMPLES: Final = 720
"""Samples kept: two hours."""
BARS: Final = 120
"""Bars of a drawing: a minute each."""

Quantile = Callable[[Sequence[int]], float | None]
"""From counts per bucket of a histogram to seconds; None without any."""


class Totals(msgspec.Struct, frozen=True):
    """Counters since the start (requests, incidents, requests per bucket of their duration) and values of the moment: requests
    in flight, loop lag in seconds."""

    requests: float
    incidents: float
    inflight: float
    lag: float
    durations: tuple[int, ...] = ()


class Sample(msgspec.Struct, frozen=True):
    """What happened within one interval that ended at `at` (epoch seconds). `durations` is empty when nothing did."""

    at: float
    requests: float
    incidents: float
    inflight: float
    lag: float
    durations: tuple[int, ...] = ()


class Minutes(msgspec.Struct, frozen=True):
    """Each of the last 120 minutes, oldest first; the last one ends now. `p95` is within how many seconds 95 % of its requests
    ended, None where there was none."""

    requests: tuple[float, ...]
    incidents: tuple[float, ...]
    p95: tuple[float | None, ...]


class Ring:
    """Samples `read` for ever. `read` must be quick."""

    def __init__(self, read: Callable[[], Totals], p95: Quantile, clock: Callable[[], float] = time.time) -> None:
        self._read = read
        self._p95 = p95
        self._clock = clock
        self._last: Totals | None = None
        self._samples: collections.deque[Sample] = collections.deque(maxlen=SAMPLES)

    async def run(self) -> None:
        """Sample every ten seconds; a loop for `Tasks.keep`."""
        while True:
            self.sample()
            await asyncio.sleep(EVERY)

    def sample(self) -> None:
        """Take one sample; the first only sets the mark from which is counted."""
        now, before = self._read(), self._last
        self._last = now
        if before is not None:
            self._samples.append(_between(before, now, self._clock()))

    def samples(self) -> tuple[Sample, ...]:
        """All samples, oldest first."""
        return tuple(self._samples)

    def per_minute(self, now: float) -> Minutes:
        """The last two hours by the minute, with what came since the last sample."""
        requests, incidents = [0.0] * BARS, [0.0] * BARS
        durations: list[list[tuple[int, ...]]] = [[] for _ in range(BARS)]
        since = [_between(self._last, self._read(), now)] if self._last is not None else []
        for sample in (*self._samples, *since):
            place = BARS - 1 - int((now - sample.at) // 60)
            if 0 <= place < BARS:
                requests[place] += sample.requests
                incidents[place] += sample.incidents
                durations[place] += [sample.durations] if sample.durations else []
        p95 = (self._p95([sum(counts) for counts in zip(*spreads, strict=True)]) for spreads in durations)
        return Minutes(tuple(requests), tuple(incidents), tuple(p95))


def _between(before: Totals, after: Totals, at: float) -> Sample:
    """What happened between two readings. Counters that begin anew, as a new worker's, are no negative traffic."""
    older = before.durations or (0,) * len(after.durations)
    grown = tuple(max(0, count - old) for count, old in zip(after.durations, older, strict=True))
    return Sample(
        at,
        max(0.0, after.requests - before.requests),
        max(0.0, after.incidents - before.incidents),
        after.inflight,
        after.lag,
        grown if any(grown) else (),
    )
