"""`store migrate`: bring a store of an older layout to this version."""

from __future__ import annotations

from typing import Any

from proxy.cli import screen
from proxy.cli.configuration import ConfigOption, JsonOption, settings_from
from proxy.cli.screen import Status
from proxy.cli.store_asking import last_of, with_store
from proxy.evidence import layout
from proxy.evidence.migrate import NewerLayout, Progress, migrate
from proxy.evidence.redis_store import RedisStore
from proxy.wire.witnessing import keep_of


def migrate_store(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Bring the store to this program's layout; nothing happens to one that has it. It may be cut off and repeated, and a
    proxy may run meanwhile. Exit status 1 when a newer program wrote the store."""
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
