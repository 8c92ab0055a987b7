"""How often a tenant usually sends, from the minutes in which it sent. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

DAYS: Final = 35
"""Days of the past from which a cadence is learned: four weekends, and a month's end."""
PAUSE: Final = 120.0
"""Seconds between the starts of two minutes with traffic from which on there was a pause between them."""


class Cadence(msgspec.Struct, frozen=True):
    """`longest` is the longest pause in seconds (None when there was none), `pauses` how many there were, `over` the seconds
    between the first and the last traffic."""

    longest: float | None = None
    pauses: int = 0
    over: float = 0.0


def cadence(minutes: Sequence[float]) -> Cadence:
    """Learn from the starts of minutes with traffic (epoch seconds), in any order."""
    ordered = sorted(minutes)
    pauses = [b - a for a, b in itertools.pairwise(ordered) if b - a >= PAUSE]
    if not ordered:
        return Cadence()
    return Cadence(max(pauses, default=None), len(pauses), ordered[-1] - ordered[0])
