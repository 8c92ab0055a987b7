"""From turns to figures: medians with their range, ratios within a round, the table for the README, the marks to reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.bench.rounds import Turn
from tests.bench.stage import DIRECT
from tests.bench.witness import NAME, REFUSALS

MAP: Final = "nginx, token map"
UNCACHED: Final = "nginx auth_request, uncached"
ENVOY: Final = "Envoy ext_authz"
CADDY: Final = "Caddy forward_auth"


class Figure(NamedTuple):
    """Median, least and greatest over the rounds."""

    median: float
    least: float
    greatest: float

    def text(self, digits: int = 0) -> str:
        """As it stands in a table."""
        return f"{self.median:.{digits}f} ({self.least:.{digits}f} to {self.greatest:.{digits}f})"


def figure(values: Sequence[float]) -> Figure | None:
    """None without values: what was not measured is not 0."""
    return Figure(statistics.median(values), min(values), max(values)) if values else None


Of = Callable[[Turn], float]


class Results:
    """The turns of a run, by contender and round."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = {(turn.contender, turn.round): turn for turn in turns}
        self.contenders = list(dict.fromkeys(turn.contender for turn in turns))
        self._rounds = sorted({turn.round for turn in turns})

    def of(self, contender: str, what: Of) -> Figure | None:
        """A figure of a contender; zeros are what was not measured."""
        return figure([value for n in self._rounds if (turn := self._turns.get((contender, n))) and (value := what(turn)) > 0])

    def ratio(self, contender: str, other: str, what: Of) -> Figure | None:
        """A contender's figure by another's in the same round."""
        return figure(
            [
                what(mine) / what(theirs)
                for n in self._rounds
                if (mine := self._turns.get((contender, n)))
                and (theirs := self._turns.get((other, n)))
                and what(mine) > 0
                and what(theirs) > 0
            ]
        )

    def added(self, contender: str) -> Figure | None:
        """Microseconds that a contender adds to the median on one connection, against the backend in the same round."""
        return figure([added for n in self._rounds if (added := self.added_in(contender, n)) is not None])

    def added_in(self, contender: str, number: int) -> float | None:
        """The same in one round."""
        mine, bare = self._turns.get((contender, number)), self._turns.get((DIRECT, number))
        return mine.single_p50_us - bare.single_p50_us if mine and bare else None

    def added_ratio(self, contender: str, other: str) -> Figure | None:
        """What a contender adds by what another adds, within a round."""
        found = []
        for n in self._rounds:
            mine, theirs = self.added_in(contender, n), self.added_in(other, n)
            if mine is not None and theirs is not None and theirs > 0:
                found.append(mine / theirs)
        return figure(found)


_COLUMNS: Final[tuple[tuple[str, Of, int], ...]] = (
    ("CPU us/req", lambda t: t.cpu_us, 1),
    ("whole stack", lambda t: t.stack_us, 1),
    ("req/s", lambda t: t.rate, 0),
    ("p50 us at fixed load", lambda t: t.paced_p50_us, 0),
    ("p99", lambda t: t.paced_p99_us, 0),
)
_LATER: Final[tuple[tuple[str, Of, int], ...]] = (
    ("RSS MiB, 64 conn.", lambda t: t.rss_mib, 0),
    ("512 conn.", lambda t: t.rss_many_mib, 0),
    ("100 MiB down, MiB/s", lambda t: t.down_mib_s, 0),
    ("up", lambda t: t.up_mib_s, 0),
)


def markdown(results: Results, *, ranges: bool) -> str:
    """The table for the README; with `ranges` each cell has least and greatest too."""
    titles = ["contender", *(c[0] for c in _COLUMNS), "added p50 us, 1 conn.", *(c[0] for c in _LATER)]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for name in results.contenders:
        cells = [name]
        cells += [_cell(results.of(name, what), digits, ranges) for _, what, digits in _COLUMNS]
        cells.append("-" if name in (DIRECT, REFUSALS) else _cell(results.added(name), 0, ranges))
        cells += [_cell(results.of(name, what), digits, ranges) for _, what, digits in _LATER]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Figure | None, digits: int, ranges: bool) -> str:
    if value is None:
        return "-"
    return value.text(digits) if ranges else f"{value.median:.{digits}f}"


class Mark(NamedTuple):
    """One thing to reach. `at_least`: more is better. `value` is None where a contender was missing."""

    text: str
    must: float
    aim: float
    value: Figure | None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.value is None:
            return "not measured"
        median = self.value.median
        better = median.__ge__ if self.at_least else median.__le__
        return "aim" if better(self.aim) else "must" if better(self.must) else "MISSED"


def marks(r: Results) -> list[Mark]:
    """What our own contender has to reach against the peers of the same round."""
    return [
        Mark("CPU per request / nginx with a map", 3.6, 2.0, r.ratio(NAME, MAP, lambda t: t.cpu_us)),
        Mark("CPU whole stack / uncached auth_request", 0.35, 0.2, r.ratio(NAME, UNCACHED, lambda t: t.stack_us)),
        Mark("req/s / Envoy ext_authz", 3.5, 6, r.ratio(NAME, ENVOY, lambda t: t.rate), at_least=True),
        Mark("req/s / Caddy forward_auth", 3.5, 6, r.ratio(NAME, CADDY, lambda t: t.rate), at_least=True),
        Mark("added p50, one connection / uncached auth_request", 0.35, 0.2, r.added_ratio(NAME, UNCACHED)),
        Mark("p99 at fixed load / uncached auth_request", 0.7, 0.4, r.ratio(NAME, UNCACHED, lambda t: t.paced_p99_us)),
        Mark("100 MiB down / nginx", 0.85, 1.1, r.ratio(NAME, MAP, lambda t: t.down_mib_s), at_least=True),
        Mark("100 MiB up / nginx", 0.85, 1.1, r.ratio(NAME, MAP, lambda t: t.up_mib_s), at_least=True),
        Mark("RSS MiB at 64 connections", 70, 50, r.of(NAME, lambda t: t.rss_mib)),
        Mark("RSS MiB at 512 connections", 80, 50, r.of(NAME, lambda t: t.rss_many_mib)),
        Mark("CPU of a recorded refusal / of a forwarded request", 1.5, 1.0, r.ratio(REFUSALS, NAME, lambda t: t.cpu_us)),
    ]


def marks_text(found: Sequence[Mark]) -> str:
    """As a table."""
    lines = ["| ratio, or figure, of scim-witness | median (range) | must | aim | reached |", "|---|---:|---:|---:|---|"]
    for mark in found:
        sign = "at least" if mark.at_least else "at most"
        value = mark.value.text(2) if mark.value is not None else "-"
        lines.append(f"| {mark.text} | {value} | {sign} {mark.must:g} | {mark.aim:g} | {mark.verdict} |")
    return "\n".join(lines)
