"""`scim-witness audit`: who will fail next, and why. For people, and for cron."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from proxy.cli import audit_gauges, screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import now, store_trouble
from proxy.cli.screen import Status
from proxy.core.audit import DAY, KEPT, MEANINGS, Code, Finding, Rules, Tally
from proxy.core.history import TokenHistory
from proxy.evidence.redis_store import StoreError
from proxy.settings import Settings
from proxy.wire.auditing import AuditError, audit, unaudited, uses_of

app = typer.Typer(rich_markup_mode=None, add_completion=False)

SHOWN = 20
"""Findings per code on a screen; --json has up to a thousand."""


@app.command(name="audit")
def audit_tokens(
    within: Annotated[float, typer.Option("--within", metavar="DAYS", min=0, help="How far ahead to look.")] = 30.0,
    access_token_expires_in: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=1, help="Doorkeeper's setting: shows what its clean-up before 5.9.0 deletes."),
    ] = None,
    metrics_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write gauges for node_exporter's textfile collector (name it *.prom).")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every token once and list who will fail next, and why. Exit status 0: nobody; 1: somebody; 5: a source could not be
    read to its end, so nothing is said. Without the store the rest is checked, and what hangs on use is left out."""
    settings = settings_from(config)
    rules = Rules(within * DAY, access_token_expires_in)
    moment = now()
    tally = Tally()
    uses, blind = _uses(settings)
    try:
        asyncio.run(_run(settings, uses, tally, moment, rules))
    except AuditError as fault:
        screen.stop(str(fault), "scim-witness doctor", Status.SOURCE)
    if metrics_file is not None:
        _write(metrics_file, audit_gauges.text(tally, now()))
    if as_json:
        screen.as_json(as_value(tally, moment, blind, unaudited(settings)))
    else:
        _tell(tally, blind, unaudited(settings))
    if tally.total:
        raise typer.Exit(int(Status.FAILED))


def _uses(settings: Settings) -> tuple[list[TokenHistory], str]:
    try:
        return asyncio.run(uses_of(settings)), ""
    except StoreError as error:
        return [], f"the store cannot be reached ({store_trouble(settings, error)}): use of tokens is not known"


async def _run(settings: Settings, uses: list[TokenHistory], tally: Tally, moment: float, rules: Rules) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True) as bar:
        tasks: dict[str, Any] = {}
        async for step in audit(settings, uses, tally, moment, rules):
            if step.source not in tasks:
                tasks[step.source] = bar.add_task(step.source, total=None)
            total = None if step.estimate is None else max(step.estimate, step.rows)
            bar.update(tasks[step.source], completed=step.rows, total=total)


def as_value(tally: Tally, moment: float, blind: str = "", without: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What --json writes. `counts` is whole; `findings` holds the first to fail of each code, `setups` the tenants that will
    stop first."""
    setups = tally.setups
    return {
        "at": moment,
        "rows": tally.rows,
        "alive": tally.alive,
        "counts": {str(code): count for code, count in tally.counts.items()},
        "findings": tally.findings(),
        "not_known": blind,
        "not_audited": without or {},
        "setups": {
            "tokens": {str(setup): count for setup, count in sorted(setups.tokens.items())},
            "tenants": setups.told()[:KEPT],
            "tokens_of_other_tenants": setups.left_out,
        },
    }


def _tell(tally: Tally, blind: str, without: Mapping[str, str]) -> None:
    found = tally.findings()
    for code in Code:
        of_code = [finding for finding in found if finding.code is code]
        if not of_code:
            continue
        screen.line(f"{code} ({tally.counts[code]})", "bold")
        screen.line(f"  {MEANINGS[code]}")
        screen.table(("  WHEN (UTC)", "TENANT", "ROW", "WHAT"), map(_cells, of_code[:SHOWN]), ("", "cyan"))
        if tally.counts[code] > SHOWN:
            screen.line(f"  ... and {tally.counts[code] - SHOWN} more: --json")
        screen.line()
    _tell_setups(tally)
    for source, why in without.items():
        screen.say(f"Not audited: source {source}: {why}.", "yellow")
    if blind:
        screen.say(f"Not known: {blind}.", "yellow")
    summary = f"{tally.rows} rows read, {tally.alive} alive, {tally.total} findings."
    screen.line(summary, "" if tally.total else "green")


def _tell_setups(tally: Tally) -> None:
    """The tenants that will stop first, then others, up to a screenful."""
    found = tally.setups.told()
    if not found:
        return
    counts = ", ".join(f"{count} {setup}" for setup, count in sorted(tally.setups.tokens.items()))
    screen.line(f"set-ups ({counts})", "bold")
    rows = ((f"  {one.tenant}", one.setup, times.short(one.stops_at), " ".join(one.evidence)) for one in found[:SHOWN])
    screen.table(("  TENANT", "SET-UP", "STOPS (UTC)", "WHAT SHOWS IT"), rows, ("cyan",))
    if len(found) > SHOWN:
        screen.line(f"  ... and {len(found) - SHOWN} more: --json")
    screen.line()


def _cells(finding: Finding) -> tuple[object, ...]:
    row = "" if finding.row is None else f"{finding.source}/{finding.row}"
    return f"  {times.short(finding.at)}", finding.tenant, row or finding.source, finding.sentence


def _write(path: Path, text: str) -> None:
    try:
        audit_gauges.write(path, text)
    except OSError as error:
        screen.stop(f"{path} cannot be written ({error.strerror})", "Check the folder and its permissions", Status.FAILED)
