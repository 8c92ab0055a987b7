"""Writing to a connection so that small writes leave together.

A turn of the event loop hears everybody whose bytes have come. What they lead to is written at its end, in one go: a head with
the beginning of its body as one piece, and many connections' pieces one after the other, so that whoever reads them on another
core is woken once. To wake it costs more than a write.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakKeyDictionary

AT_ONCE: Final = 16_384
"""Octets that do not wait: what streams must be felt by the transport, which holds its sender back when the reader is slow."""


class _Turn:
    """The outlets of one event loop that have something to write in this turn."""

    def __init__(self) -> None:
        self._waiting: list[Outlet] = []

    def join(self, outlet: Outlet, loop: asyncio.AbstractEventLoop) -> None:
        """Have it flushed at the end of the turn: one callback of the loop for all."""
        if not self._waiting:
            loop.call_soon(self._end)
        self._waiting.append(outlet)

    def _end(self) -> None:
        waiting, self._waiting = self._waiting, []
        for outlet in waiting:
            try:
                outlet.flush()
            except Exception as error:  # noqa: BLE001 - one connection's trouble is not another's
                told = {"message": "a connection could not be written to", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()


def _turn_of(loop: asyncio.AbstractEventLoop) -> _Turn:
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = _Turn()
    return turn


class Outlet:
    """Of one connection. Whoever ends the connection flushes or drops first."""

    __slots__ = ("_loop", "_transport", "_turn", "_unsent")

    def __init__(self, transport: asyncio.WriteTransport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._turn = _turn_of(loop)
        self._unsent = b""

    def write(self, data: bytes) -> None:
        """Write, now or within this turn of the loop."""
        if self._unsent:
            self._unsent += data
        else:
            self._unsent = data
            if len(data) < AT_ONCE:
                self._turn.join(self, self._loop)
        if len(self._unsent) >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._unsent:
            data, self._unsent = self._unsent, b""
            if not self._transport.is_closing():
                self._transport.write(data)

    def drop(self) -> None:
        """Forget what waits."""
        self._unsent = b""
