"""`store migrate`: bring a store of an older layout to this version, or what it holds to another store (store_move.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.screen import Status
from proxy.cli.store_asking import last_of, with_store
from proxy.cli.store_move import Way, move_store
from proxy.evidence import layout
from proxy.evidence.migrate import NewerLayout, Progress, migrate
from proxy.evidence.redis_store import RedisStore
from proxy.wire.witnessing import keep_of


def migrate_store(
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Copy everything from the configured store to this one.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="The other way round; `embedded` is the store in the state directory."),
    ] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", metavar="FILE", help="The password of the store that is named here.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring the store to this program's layout, or with --to or --from what one store holds into another. Either may be cut off
    and repeated, and proxies may run meanwhile. Exit status 1 when a newer program wrote a store, or something is missing
    after it was copied."""
    other = to or from_
    if to and from_:
        screen.stop("--to and --from are given", "One of the two: the other store is that of the configuration", Status.USAGE)
    if other:
        move_store(settings_from(config), Way(other, into=bool(to), password_file=password_file), config, as_json=as_json)
        return
    settings = settings_from(config)

    async def work(store: RedisStore) -> tuple[int | None, Progress]:
        before = await layout.layout_of(store)
        last = await last_of(migrate(store, keep_of(settings)), "streams", lambda step: (step.done, step.streams or None))
        return before, last or Progress()

    try:
        before, progress = with_store(settings, work)
    except NewerLayout as newer:
        screen.stop(str(newer), "Nothing was changed", Status.FAILED)
    found: dict[str, Any] = {
        "layout_before": before,
        "layout": layout.VERSION,
        "records": progress.records,
        "unreadable": progress.unreadable,
    }
    if as_json:
        screen.as_json(found)
    elif before == layout.VERSION:
        screen.line(f"The store has layout {before} already; nothing was done.", "green")
    else:
        was = "empty" if before is None else f"layout {before}"
        screen.line(f"The store was {was} and has layout {layout.VERSION} now; {progress.records} records can be found again.")
        if progress.unreadable:
            screen.say(f"{progress.unreadable} records cannot be read by this version; they are as they were.", "yellow")
