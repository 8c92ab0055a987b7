"""`scim-witness absence`: what arrived of a tenant between two times, and for how much of that time it is proven."""

from __future__ import annotations

import functools
from typing import Annotated, NoReturn

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.reading import ask, now
from proxy.cli.screen import Status
from proxy.core.absence import Absence
from proxy.evidence.reader import EvidenceReader

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def absence(
    tenant: Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose requests.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="From when on: 2026-11-24T16:00, 3d, 2h.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Until when.")] = "now",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what arrived of a tenant, for which share of the time heartbeats prove that we listened, what others sent, and
    the last request before with its answer. Nothing is claimed for the gaps."""
    moment = now()
    first, last = _instant("--from", start, moment), _instant("--to", end, moment)
    if last <= first:
        screen.stop(f"--to ({times.show(last)}) is not after --from ({times.show(first)})", status=Status.USAGE)
    settings = settings_from(config)
    found = ask(settings, functools.partial(_asked, tenant=tenant, first=first, last=last))
    if as_json:
        screen.as_json(found)
        return
    screen.line(f"{tenant}, {times.show(first)} to {times.show(last)}", "bold")
    for sentence in found.sentences:
        screen.line(f"  {sentence}")


async def _asked(reader: EvidenceReader, tenant: str, first: float, last: float) -> Absence:
    try:
        return await reader.absence(tenant, first, last)
    except ValueError as error:
        _usage(str(error))


def _instant(option: str, text: str, moment: float) -> float:
    try:
        return times.parse(text, moment)
    except ValueError as error:
        _usage(f"{option} {error}")


def _usage(what: str) -> NoReturn:
    screen.stop(what, status=Status.USAGE)
