"""The findings of an audit as gauges, in the text format that node_exporter's textfile collector reads."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy.core.audit import Code, Tally

PREFIX = "scim_witness_audit_"


def text(tally: Tally, now: float) -> str:
    """Return the file; `now` (epoch seconds) is when the audit ended."""
    return "\n".join((*_lines(tally, now), ""))


def _lines(tally: Tally, now: float) -> Iterator[str]:
    yield from _head("findings", "Tokens (or tenants) that will fail or have, by why.")
    yield from (f'{PREFIX}findings{{code="{code}"}} {count}' for code, count in tally.counts.items())
    yield from _head("first_failure_timestamp_seconds", "When the first of them fails, where that is known.")
    for code in Code:
        at = tally.next_failure(code)
        if at is not None:
            yield f'{PREFIX}first_failure_timestamp_seconds{{code="{code}"}} {at:.0f}'
    for name, meaning, value in (
        ("rows", "Rows read.", tally.rows),
        ("living_rows", "Rows that Doorkeeper takes.", tally.alive),
        ("timestamp_seconds", "When the audit ended. Old: cron does not run it.", int(now)),
    ):
        yield from _head(name, meaning)
        yield f"{PREFIX}{name} {value}"


def _head(name: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {PREFIX}{name} {meaning}"
    yield f"# TYPE {PREFIX}{name} gauge"


def write(path: Path, content: str) -> None:
    """Put the file in place at once, readable by the collector. OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
