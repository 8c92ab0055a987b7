"""The last two hours of this process in memory, for an operator without Prometheus. Bounded: 720 samples of four numbers."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable
from typing import Final

import msgspec

EVERY: Final = 10.0
"""Seconds between samples."""
SAMPLES: Final = 720
"""Samples kept: two hours."""
BARS: Final = 120
"""Bars of a drawing: a minute each."""


class Totals(msgspec.Struct, frozen=True):
    """Counters since the start (requests, incidents) and values of the moment: requests in flight, loop lag in seconds."""

    requests: float
    incidents: float
    inflight: float
    lag: float


class Sample(msgspec.Struct, frozen=True):
    """What happened within one interval that ended at `at` (epoch seconds)."""

    at: float
    requests: float
    incidents: float
    inflight: float
    lag: float


class Ring:
    """Samples `read` for ever. `read` must be quick."""

    def __init__(self, read: Callable[[], Totals], clock: Callable[[], float] = time.time) -> None:
        self._read = read
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
            requests, incidents = max(0.0, now.requests - before.requests), max(0.0, now.incidents - before.incidents)
            self._samples.append(Sample(self._clock(), requests, incidents, now.inflight, now.lag))

    def samples(self) -> tuple[Sample, ...]:
        """All samples, oldest first."""
        return tuple(self._samples)

    def per_minute(self, now: float) -> tuple[list[float], list[float]]:
        """Requests and incidents of each of the last 120 minutes, oldest first; with what came since the last sample."""
        requests, incidents = [0.0] * BARS, [0.0] * BARS
        present, before = self._read(), self._last
        if before is not None:
            requests[-1] = max(0.0, present.requests - before.requests)
            incidents[-1] = max(0.0, present.incidents - before.incidents)
        for sample in self._samples:
            place = BARS - 1 - int((now - sample.at) // 60)
            if 0 <= place < BARS:
                requests[place] += sample.requests
                incidents[place] += sample.incidents
        return requests, incidents
