"""`store purge`: remove evidence on demand, after it was counted and confirmed."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from proxy.cli import screen, times
from proxy.cli.configuration import ConfigOption, JsonOption, command_for, settings_from
from proxy.cli.reading import now
from proxy.cli.screen import Status
from proxy.cli.store_asking import last_of, with_store
from proxy.evidence.purge import Purged, Wanted, purge
from proxy.evidence.redis_store import RedisStore
from proxy.wire.witnessing import keep_of


def purge_store(
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="Only this tenant's.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Only incidents from before: 30d, 2026-11-24.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this it is only counted.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove incidents by tenant, by age or both; of a tenant without an age, everything that is known of it. Without --yes
    it counts what would go, removes nothing, and ends with status 2."""
    settings = settings_from(config)
    wanted = Wanted(tenant, _instant(older_than))
    if wanted == Wanted():
        screen.stop("what is to go?", "Name --tenant, --older-than or both", Status.USAGE)

    async def work(store: RedisStore) -> Purged | None:
        steps = purge(store, wanted, keep_of(settings), remove=yes)
        return await last_of(steps, "incidents", lambda step: (step.looked, None))

    found = with_store(settings, work) or Purged()
    if as_json:
        screen.as_json({"removed": yes, "incidents": found.incidents, "tokens": found.tokens, "before": wanted.before})
    else:
        what = _count(found.incidents, "incident") + (
            f" and the memory of {_count(found.tokens, 'token')}" if wanted.whole else ""
        )
        screen.line(f"{what} {'removed' if yes else 'would go'}.")
    if not yes:
        words = " ".join(_words(tenant, older_than))
        screen.say(f"Nothing was removed. To remove it: {command_for(f'store purge {words} --yes', config)}", "yellow")
        raise typer.Exit(int(Status.USAGE))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _words(tenant: str | None, older_than: str | None) -> list[str]:
    named = [("--tenant", tenant), ("--older-than", older_than)]
    return [f"{option} {shlex.quote(value)}" for option, value in named if value is not None]


def _instant(text: str | None) -> float | None:
    try:
        return None if text is None else times.parse(text, now())
    except ValueError as error:
        screen.stop(f"--older-than {error}", status=Status.USAGE)
