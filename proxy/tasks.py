"""The only place that creates tasks. Each has an owner, a name and an end.

A loop that dies of an exception is reported and started again after a pause: a witness that stopped silently is worse
than none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

RESTART_PAUSE: Final = 1.0
"""Seconds before a loop that failed is started again: long enough not to spin, short enough to keep every bound."""

CANCEL_AGAIN: Final = 2.0
"""Seconds that a cancelled task has for its own end: no loop of ours waits longer in one."""

Report = Callable[[str, BaseException], None]


async def anyway(name: str, ending: Awaitable[object], report: Report, but: tuple[type[Exception], ...] = ()) -> None:
    """Await one step of an end that has to go on whatever the step meets: that is reported, unless it is one of `but`."""
    try:
        _ = await ending
    except but:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a library meets
        report(name, error)


class Tasks:
    """Owns tasks: `close` cancels them all and waits for their end."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run a coroutine once. What it raises is reported."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def keep(self, run: Callable[[], Awaitable[None]], name: str) -> asyncio.Task[Any]:
        """Run a loop for as long as this owner lives; when it fails, report it and start it again."""
        return self.start(self._forever(run, name), name)

    async def _forever(self, run: Callable[[], Awaitable[None]], name: str) -> None:
        while True:
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and the loop goes on
                self._report(name, error)
            await asyncio.sleep(RESTART_PAUSE)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(task.get_name(), error)

    async def close(self) -> None:
        """Cancel every task and wait until the last has ended. One that goes on all the same is cancelled again: a library may
        swallow a cancellation that meets one of its own time limits."""
        while self._running:
            ending = list(self._running)
            for task in ending:
                _ = task.cancel()
            ended, _ = await asyncio.wait(ending, timeout=CANCEL_AGAIN)
            for task in ended:
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
            self._running.difference_update(ended)
