"""How fast the parts were in the last five minutes: from what the counters grew by, and nothing when they did not."""

from __future__ import annotations

import pytest

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.observe.families import BUCKETS
from proxy.observe.lately import COPIES, Lately, quantile
from proxy.observe.metrics import Metrics

LAST = BUCKETS[-1]


def counts(**at):
    found = [0] * (len(BUCKETS) + 1)
    for place, count in at.items():
        found[int(place[1:])] = count
    return found


@pytest.mark.parametrize(
    "expected, given",
    [
        (None, counts()),
        (0.001 * 0.95, counts(b0=100)),  # evenly within the first bucket
        (0.0025 + (0.005 - 0.0025) * 0.5, counts(b0=90, b2=10)),
        (BUCKETS[3], counts(b3=95, b5=5)),
        (LAST, counts(b15=1)),  # beyond the last bound nobody knows more
    ],
)
def test_quantile(expected, given):
    assert pytest.approx(expected) == quantile(given, 0.95) if expected is not None else quantile(given, 0.95) is None


def exchange(seconds, backend=0.0):
    return Exchange(
        "r", 1.0, "GET", "/Users", "Users.list", "acme", "192.0.2.1", 200, AnsweredBy.BACKEND, "bearer", verdict="allow",
        reason="active", total_seconds=seconds, backend_seconds=backend,
    )  # fmt: skip


def test_each_part_by_its_own_histogram():
    metrics = Metrics()
    lately = Lately(metrics)
    for _ in range(20):
        metrics.saw(exchange(0.02, backend=0.2))
    metrics.saw_lookup("doorkeeper", "known", 0.004)
    metrics.saw_lookup("doorkeeper", "unknown", 0.004)
    metrics.saw_lookup("issuer", "known", 2.0)
    found = lately.percentiles()
    bounds = {"listener": (0.01, 0.025), "backend": (0.1, 0.25), "doorkeeper": (0.0025, 0.005), "issuer": (1.0, 2.5)}
    for part, (low, high) in bounds.items():
        assert low < found[part] <= high, part
    assert set(bounds) == set(found)  # the store did nothing


def test_what_is_older_than_the_copies_is_forgotten():
    metrics = Metrics()
    lately = Lately(metrics)
    lately.copy()
    metrics.saw(exchange(5.0))
    assert lately.percentiles()["listener"] > 2.5
    for _ in range(COPIES):
        lately.copy()
    assert {} == lately.percentiles()
    metrics.saw(exchange(0.0005))
    assert lately.percentiles()["listener"] < 0.001
