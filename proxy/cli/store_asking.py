"""Opens the store for a command that speaks to it directly, with a bar for long work."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from proxy.cli import screen
from proxy.cli.reading import store_fix, store_trouble
from proxy.cli.screen import Status
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.settings import Settings
from proxy.wire import store as stores

T = TypeVar("T")


def with_store(settings: Settings, work: Callable[[RedisStore], Awaitable[T]]) -> T:
    """Do something with the store. Ends the command with status 4 when it does not answer."""

    async def opened() -> T:
        url = stores.url_of(settings)
        if url is None:
            raise StoreError("unreachable", "the embedded store does not run")
        store = stores.open_store(settings, url)
        try:
            return await work(store)
        finally:
            await store.close()

    try:
        return asyncio.run(opened())
    except StoreError as error:
        screen.stop(f"the store cannot be reached: {store_trouble(settings, error)}", store_fix(settings), Status.STORE)


async def last_of(steps: AsyncIterator[T], what: str, done: Callable[[T], tuple[int, int | None]]) -> T | None:
    """Go through all steps of long work, with a bar on a terminal; return the last one. `done` tells how far a step is, and
    of how much (None: nobody knows)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    last: T | None = None
    with Progress(*columns, console=Console(file=sys.stderr), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(what, total=None)
        async for last in steps:
            completed, total = done(last)
            bar.update(task, completed=completed, total=total)
    return last
