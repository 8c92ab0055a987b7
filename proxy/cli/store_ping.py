"""`store ping`: does it answer, how fast, as what, and does it keep what it is given?"""

from __future__ import annotations

import time
from typing import Final

import msgspec
import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.doctor import tell
from proxy.cli.doctor_checks import Group
from proxy.cli.store_asking import with_store
from proxy.cli.store_findings import store_findings
from proxy.core.finding import Finding, Level
from proxy.evidence import layout
from proxy.evidence.redis_store import RedisStore

ROUNDS: Final = 10
"""Round trips that are timed: some milliseconds in all, and the slowest of them is no accident."""


class Pinged(msgspec.Struct, frozen=True):
    """Median and slowest round trip in milliseconds; the store's layout (None: it holds nothing) and ours; what was found, of
    each node in a Cluster."""

    median_ms: float
    slowest_ms: float
    layout: int | None
    layout_of_program: int
    findings: tuple[Finding, ...]


def ping(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say whether the store answers, how fast, in which role, and whether it keeps what it is given. Exit status 0, with
    warnings too; 1 when something is wrong with it; 4 when it does not answer."""
    found = with_store(settings_from(config), _look)
    if as_json:
        screen.as_json(found)
    else:
        screen.line(f"Round trip {found.median_ms:.2f} ms (median of {ROUNDS}), {found.slowest_ms:.2f} ms at most.")
        tell(Group("Store", found.findings))
    if any(finding.level is Level.FAULT for finding in found.findings):
        raise typer.Exit(int(screen.Status.FAILED))


async def _look(store: RedisStore) -> Pinged:
    took = []
    for _ in range(ROUNDS):
        start = time.monotonic()
        await store.ping()
        took.append((time.monotonic() - start) * 1000)
    took.sort()
    number = await layout.layout_of(store)
    findings = [finding for info in await store.infos() for finding in store_findings(info)]
    return Pinged(round(took[ROUNDS // 2], 3), round(took[-1], 3), number, layout.VERSION, (*findings, layout_finding(number)))


def layout_finding(number: int | None) -> Finding:
    """Judge the store's layout."""
    if number is None:
        return Finding(Level.OK, f"empty; layout {layout.VERSION} comes with the first incident")
    what, _, fix = layout.trouble(number).partition(": ")
    return Finding(Level.FAULT, what, fix) if what else Finding(Level.OK, f"layout {number}")
