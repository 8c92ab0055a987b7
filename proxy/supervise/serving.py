"""From the first line to the last: start, say so, obey orders, stop. For a program alone and for a supervisor alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from proxy.settings import Settings
from proxy.supervise.changes import RETRY_SECONDS, Changes, reload
from proxy.supervise.inherited import Inherited, inherited, require_same_port
from proxy.supervise.loops import loop_factory
from proxy.supervise.notify import Notifier
from proxy.supervise.orders import Order, Orders
from proxy.supervise.serving_ports import Served
from proxy.supervise.succession import succeed
from proxy.tasks import Tasks
from proxy.wire import Place, Program
from proxy.wire.program import report

ASLEEP: Final = 5.0
"""Seconds between looks at whether files are to be watched, while they are not."""


def run(settings: Settings, path: Path | None, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Serve until told to stop. `say` gets the addresses. Raises StartFault."""
    found = inherited(environ, os.getpid())
    require_same_port(settings, found)
    with asyncio.Runner(loop_factory=loop_factory(settings.loop)) as runner:
        runner.run(_serve(settings, path, environ, found, say))


async def _serve(
    settings: Settings, path: Path | None, environ: Mapping[str, str], found: Inherited, say: Callable[[str], None]
) -> None:
    orders = Orders()
    orders.listen()
    notifier = Notifier(environ)
    place = Place(found.listen, found.ops, succeeds=found.succeeds)
    served = _to_serve(settings, place, environ)
    tasks = Tasks(report)
    succeeded = False
    await served.start()
    try:
        say(f"Clients: {_text(served.data_address)}   operators: {_text(served.ops_address)}")
        notifier.ready(os.getpid() if found.succeeds else None)
        found.say_ready()
        changes = Changes(settings)
        _ = tasks.keep(lambda: _watch(served, changes, orders), "settings files")
        succeeded = await _obey(orders, served, path, environ, notifier, changes, tasks)
    finally:
        if not succeeded:
            notifier.stopping()
        await tasks.close()
        await served.stop(succeeded=succeeded)


def _to_serve(settings: Settings, place: Place, environ: Mapping[str, str]) -> Served:
    if settings.workers == 1:
        return Program(settings, place)
    from proxy.supervise.supervisor import Supervisor  # noqa: PLC0415 - memory: what a program alone never calls

    return Supervisor(settings, place, environ)


async def _obey(
    orders: Orders,
    served: Served,
    path: Path | None,
    environ: Mapping[str, str],
    notifier: Notifier,
    changes: Changes,
    tasks: Tasks,
) -> bool:
    """Do what is ordered until the end. True when another process has taken over."""
    while True:
        match await orders.next():
            case Order.STOP:
                return False
            case Order.RELOAD:
                notifier.reloading()
                served.reopen_log()
                changes.took(served.settings)
                if await orders.unless_stopped(reload(served, path, environ), tasks):
                    changes.took(served.settings)
                notifier.ready()
            case Order.SUCCEED:
                if await orders.unless_stopped(succeed(served, environ), tasks):
                    return True
            case Order.ROLL:
                _ = await orders.unless_stopped(served.roll(), tasks)


async def _watch(served: Served, changes: Changes, orders: Orders) -> None:
    """Order a reload when files changed; and now and then while the last one was refused."""
    loop = asyncio.get_running_loop()
    tried = loop.time()
    while True:
        every = served.settings.watch_every
        await asyncio.sleep(every or ASLEEP)
        if not every:
            continue
        due = bool(served.reloads.refused) and loop.time() >= tried + RETRY_SECONDS
        if await asyncio.to_thread(changes.look) or due:
            tried = loop.time()
            orders.give(Order.RELOAD)


def _text(address: tuple[str, int]) -> str:
    host, port = address
    return f"{f'[{host}]' if ':' in host else host}:{port}"
