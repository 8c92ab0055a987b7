"""The world of a scenario, and the table at the end."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.scenarios.world import World, world
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer, engine


@pytest.fixture(scope="session")
def scenario_store() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as server:
        yield server


@pytest.fixture
async def scene(tmp_path: pathlib.Path, postgres: PostgresServer, scenario_store: StoreServer) -> AsyncIterator[World]:
    scenario_store.flush()
    async with world(tmp_path, postgres, scenario_store.url) as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Per cause: scenarios and near misses, right, wrong, undetermined."""
    rows: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "scenario" and report.when == "call":
                    code, kind, verdict = value
                    rows[code].update((kind, verdict))
    if not rows:
        return
    columns = ("scenarios", "near misses", "right", "wrong", "undetermined")
    terminalreporter.section("causes")
    terminalreporter.line(f"{'cause':24}" + "".join(f"{column:>14}" for column in columns))
    for code, counts in sorted(rows.items()):
        terminalreporter.line(f"{code:24}" + "".join(f"{counts[column]:>14}" for column in columns))
    total: collections.Counter[str] = sum(rows.values(), collections.Counter())
    terminalreporter.line(f"{'all':24}" + "".join(f"{total[column]:>14}" for column in columns))
