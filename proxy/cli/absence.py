"""`scim-witness absence`: what arrived of a tenant between two times, and for how much of that time it is proven."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.naming import never_seen
from proxy.cli.reading import ask, now
from proxy.cli.screen import Status
from proxy.core.diagnosis import Code, diagnose
from proxy.evidence.dossier import Silence, silence
from proxy.evidence.reader import EvidenceReader
from proxy.settings.tokens import Tenant

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def absence(
    tenant: Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose requests.")],
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="From when on: 2026-11-24T16:00, 3d, 2h.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Until when.")] = "now",
    reported: Annotated[
        str | None, typer.Option("--reported", metavar="TIME", help="When the customer says that it failed.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what arrived of a tenant, for which share of the time heartbeats prove that we listened, what others sent, and
    the last request before with its answer. Nothing is claimed for the gaps. The cause is named where the evidence decides:
    went_silent against its own cadence, never_arrived for a failure that the customer saw at --reported."""
    moment = now()
    first, last = _instant("--from", start, moment), _instant("--to", end, moment)
    if last <= first:
        screen.stop(f"--to ({times.show(last)}) is not after --from ({times.show(first)})", status=Status.USAGE)
    at = _instant("--reported", reported, moment) if reported is not None else None
    settings = settings_from(config)
    known = settings.tenants.get(tenant)
    found, nobody = ask(
        settings,
        functools.partial(_asked, tenant=tenant, first=first, last=last, reported_at=at, known=known, config=config),
    )
    if nobody:
        screen.say(f"{nobody} What follows proves nothing of another name.", "yellow")
    cause = diagnose(found.evidence).cause
    if as_json:
        screen.as_json({**msgspec.to_builtins(found.answer), "cause": msgspec.to_builtins(cause)})
        return
    screen.line(f"{tenant}, {times.show(first)} to {times.show(last)}", "bold")
    for sentence in found.answer.sentences:
        screen.line(f"  {sentence}")
    if cause.code is not Code.UNDETERMINED:
        screen.line(f"  Cause: {cause.code} ({cause.confidence}). {cause.title}")
        screen.line(f"  {cause.advice_operator}")


async def _asked(
    reader: EvidenceReader,
    tenant: str,
    first: float,
    last: float,
    reported_at: float | None,
    known: Tenant | None,
    config: Path | None,
) -> tuple[Silence, str]:
    every, client = (known.expected_every, known.client) if known is not None else (None, None)
    try:
        found = await silence(reader, tenant, first, last, reported_at, every, client)
    except ValueError as error:
        _usage(str(error))
    return found, await never_seen(reader, tenant, config)


def _instant(option: str, text: str, moment: float) -> float:
    try:
        return times.parse(text, moment)
    except ValueError as error:
        _usage(f"{option} {error}")


def _usage(what: str) -> NoReturn:
    screen.stop(what, status=Status.USAGE)
