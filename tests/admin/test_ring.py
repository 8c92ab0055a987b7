"""Two hours in memory: by the minute, bounded, and with what came since the last sample."""

from __future__ import annotations

from proxy.admin.ring import SAMPLES, Ring, Totals

NOW = 1_790_000_000.0


class Process:
    """Counters and a clock that move when told."""

    def __init__(self) -> None:
        self.requests = 0.0
        self.incidents = 0.0
        self.now = NOW

    def ring(self) -> Ring:
        return Ring(lambda: Totals(self.requests, self.incidents, 0.0, 0.0), lambda: self.now)


def test_a_request_is_seen_before_the_next_sample_and_counted_once():
    process = Process()
    ring = process.ring()
    ring.sample()
    process.requests, process.incidents = 7.0, 2.0
    assert (7.0, 2.0) == tuple(map(sum, ring.per_minute(NOW)))
    ring.sample()
    assert (7.0, 2.0) == tuple(map(sum, ring.per_minute(NOW)))


def test_what_is_older_than_two_hours_is_gone():
    process = Process()
    ring = process.ring()
    ring.sample()
    for _ in range(SAMPLES + 50):
        process.now += 10
        process.requests += 1
        ring.sample()
    requests, _ = ring.per_minute(process.now)
    assert (120, 720.0) == (len(requests), sum(requests))
    assert SAMPLES == len(ring.samples())
    requests, _ = ring.per_minute(process.now + 3600)
    assert 360.0 == sum(requests)


def test_counters_that_begin_anew_are_no_negative_traffic():
    process = Process()
    ring = process.ring()
    process.requests = 100.0
    ring.sample()
    process.requests = 3.0
    assert 0.0 == sum(ring.per_minute(NOW)[0])
    ring.sample()
    assert 0.0 == sum(ring.per_minute(NOW)[0])
