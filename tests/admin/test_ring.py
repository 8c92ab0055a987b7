"""Two hours in memory: by the minute, bounded, and with what came since the last sample."""

from __future__ import annotations

import pytest

from proxy.admin.ring import SAMPLES, Minutes, Ring, Totals
from proxy.observe.families import BUCKETS
from proxy.observe.lately import p95

NOW = 1_790_000_000.0


class Process:
    """Counters and a clock that move when told."""

    def __init__(self) -> None:
        self.requests = 0.0
        self.incidents = 0.0
        self.now = NOW
        self.durations: tuple[int, ...] = ()

    def ring(self) -> Ring:
        return Ring(lambda: Totals(self.requests, self.incidents, 0.0, 0.0, self.durations), p95, lambda: self.now)


def sums(minutes: Minutes) -> tuple[float, float]:
    return sum(minutes.requests), sum(minutes.incidents)


def test_a_request_is_seen_before_the_next_sample_and_counted_once():
    process = Process()
    ring = process.ring()
    ring.sample()
    process.requests, process.incidents = 7.0, 2.0
    assert (7.0, 2.0) == sums(ring.per_minute(NOW))
    ring.sample()
    assert (7.0, 2.0) == sums(ring.per_minute(NOW))


def test_what_is_older_than_two_hours_is_gone():
    process = Process()
    ring = process.ring()
    ring.sample()
    for _ in range(SAMPLES + 50):
        process.now += 10
        process.requests += 1
        ring.sample()
    requests = ring.per_minute(process.now).requests
    assert (120, 720.0) == (len(requests), sum(requests))
    assert SAMPLES == len(ring.samples())
    requests = ring.per_minute(process.now + 3600).requests
    assert 360.0 == sum(requests)


def test_counters_that_begin_anew_are_no_negative_traffic():
    process = Process()
    ring = process.ring()
    process.requests = 100.0
    ring.sample()
    process.requests = 3.0
    assert 0.0 == sum(ring.per_minute(NOW).requests)
    ring.sample()
    assert 0.0 == sum(ring.per_minute(NOW).requests)


def counts(**at: int) -> tuple[int, ...]:
    return tuple(at.get(f"b{place}", 0) for place in range(len(BUCKETS) + 1))


def test_each_minute_has_the_percentile_of_its_own_requests_alone():
    process = Process()
    ring = process.ring()
    process.durations = counts(b9=1000)  # slow ones, before anything is counted
    ring.sample()
    process.now += 10
    process.durations = counts(b9=1000, b0=90)
    ring.sample()
    process.now += 10
    process.durations = counts(b9=1000, b0=90, b2=10)  # the same minute: ten of a hundred were slower
    ring.sample()
    process.now += 120
    ring.sample()
    process.durations = counts(b9=1000, b0=91, b2=10)  # after the last sample
    minutes = ring.per_minute(process.now)
    assert pytest.approx(0.00375) == minutes.p95[-3]
    assert minutes.p95[-2] is None
    assert pytest.approx(0.00095) == minutes.p95[-1]
    assert 2 == sum(value is not None for value in minutes.p95)


def test_durations_that_begin_anew_or_come_late_are_no_negative_count():
    process = Process()
    ring = process.ring()
    ring.sample()  # no worker has told of itself yet
    process.durations = counts(b3=5)
    ring.sample()
    process.durations = counts(b3=2)
    ring.sample()
    assert pytest.approx(0.00975) == ring.per_minute(NOW).p95[-1]
    assert [counts(b3=5), ()] == [sample.durations for sample in ring.samples()]
