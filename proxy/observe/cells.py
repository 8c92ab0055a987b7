"""Accumulators: what one request touches is a list item or two. No locks: only the event loop writes.

A scrape may read from another thread; each read takes one atomic copy, so it sees values, if not all of one instant.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from proxy.observe.families import BUCKETS, Family

SERIES_LIMIT: Final = 5_000
"""Series of one family. Labels are closed sets and stay far below; the limit holds when a set turns out not to be closed."""

OTHER: Final = "_other"

Labels = tuple[str, ...]


class Count:
    """A counter's value, with the latest incident as exemplar."""

    __slots__ = ("at", "incident", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self.incident = ""
        self.at = 0.0


class Spread:
    """A histogram: how many observations fell at or below each bound but above the one before, and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Add one observation."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


Cell = TypeVar("Cell", Count, Spread)


class Series(Generic[Cell]):
    """The cells of one family by their label values; past SERIES_LIMIT all further ones share the cell `_other`."""

    def __init__(self, family: Family, make: type[Cell], overflow: Count) -> None:
        self.family = family
        self._make: type[Cell] = make
        self._cells: dict[Labels, Cell] = {}
        self._overflow = overflow

    def cell(self, *labels: str) -> Cell:
        """Return the cell of these label values."""
        found = self._cells.get(labels)
        if found is None:
            if len(self._cells) >= SERIES_LIMIT:
                self._overflow.value += 1
                labels = (OTHER,) * len(self.family.labels)
            found = self._cells.setdefault(labels, self._make())
        return found

    def items(self) -> Iterator[tuple[Labels, Cell]]:
        """Yield label values and cells as they are now."""
        yield from list(self._cells.items())
