"""The table at the end of a run in which scenarios were played: per cause how many were right, wrong, undetermined. The run
itself fails for each that is wrong."""

from __future__ import annotations

import collections

import pytest


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
