"""What the process is told to do, by signals or by itself. Told twice before it is done is done once; to stop comes first."""

from __future__ import annotations

import asyncio
import enum
import signal
from collections.abc import Coroutine
from typing import Any, Final

from proxy.tasks import Tasks


class Order(enum.IntEnum):
    """In the order of their weight."""

    STOP = 1
    RELOAD = 2
    SUCCEED = 3
    ROLL = 4


SIGNALS: Final = {
    signal.SIGTERM: Order.STOP,
    signal.SIGINT: Order.STOP,
    signal.SIGHUP: Order.RELOAD,
    signal.SIGUSR2: Order.SUCCEED,
    signal.SIGUSR1: Order.ROLL,
}


class Orders:
    """Takes orders and hands them out one after the other."""

    def __init__(self) -> None:
        self._waiting: set[Order] = set()
        self._some = asyncio.Event()
        self.stopped = asyncio.Event()

    def listen(self) -> None:
        """Take orders by signals from now on."""
        loop = asyncio.get_running_loop()
        for number, order in SIGNALS.items():
            loop.add_signal_handler(number, self.give, order)

    def give(self, order: Order) -> None:
        """Tell the process to do something."""
        self._waiting.add(order)
        self._some.set()
        if order is Order.STOP:
            self.stopped.set()

    async def next(self) -> Order:
        """Wait for an order."""
        await self._some.wait()
        order = min(self._waiting)
        self._waiting.discard(order)
        if not self._waiting:
            self._some.clear()
        return order

    async def unless_stopped(self, work: Coroutine[Any, Any, bool], tasks: Tasks) -> bool:
        """Do something long, and leave off when told to stop meanwhile: then False."""
        task = tasks.start(work, "order")
        stopped = tasks.start(self.stopped.wait(), "stop")
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        for one in (task, stopped):
            _ = one.cancel()
        await asyncio.wait((task, stopped))
        return task.result() if not task.cancelled() and task.exception() is None else False
