"""Brings what lies in the spool into the store, in the background, as often as it takes. No request ever waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from proxy.evidence import layout, leftovers, writes
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.room import Room, is_full
from proxy.evidence.segment import Line
from proxy.evidence.spool import Spool
from proxy.evidence.tail import Tail

LINES: Final = 250
"""Lines in one delivery: with their indexes about one pipeline. Fewer where the store does not take so many in time."""

MORE_LINES: Final = 10
"""By which it grows again with each delivery."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Seconds between attempts while the store is away: doubling from the first to the longest, so that it is soon noticed."""

IDLE_PAUSE: Final = 0.05
"""Seconds between looks at a spool in which nothing new lies: how late an incident appears in the store."""

ADOPT_EVERY: Final = 5.0
"""Seconds between looks for what dead processes left."""

UNREADABLE: Final = "unreadable.lines"
UNREADABLE_LIMIT: Final = 16 << 20
"""Octets kept of lines that this version cannot read (a newer one wrote them): set aside instead of blocking the rest."""


class ShipperState(msgspec.Struct):
    """What the shipper has done and how it fares; for metrics and health. `failing_since` in epoch seconds, None when well.
    `oldest_unshipped` is the time (epoch seconds) since which something has been waiting, None when nothing is. `layout` is the
    store's, None while it is not known."""

    stored: int = 0
    deduplicated: int = 0
    notes: int = 0
    unreadable: int = 0
    damaged: int = 0
    failing_since: float | None = None
    why: str = ""
    oldest_unshipped: float | None = None
    layout: int | None = None


class Shipper:
    """Ships one process's own spool, and those of dead processes when it has nothing else to do."""

    def __init__(
        self,
        spool: Spool,
        store: RedisStore,
        keep: writes.Keep | None = None,
        clock: Callable[[], float] = time.time,
        room: Room | None = None,
    ) -> None:
        """`room` is for a store of our own: when it is full its oldest incidents go."""
        self._room = room
        self._spool = spool
        self._store = store
        self._keep = keep or writes.Keep()
        self._clock = clock
        self._tail = Tail(spool.path, living=True, released=spool.release)
        self._pending: list[Line] = []
        self._busy = asyncio.Lock()
        self._lines = LINES
        self._delivered = 0
        self.state = ShipperState()
        self._spool.elsewhere = leftovers.size(spool.root, spool.path)

    @property
    def waiting(self) -> int:
        """Records of this process that the store has not acknowledged."""
        return self._spool.appended - self._delivered

    async def run(self) -> None:
        """Ship for ever."""
        pause = FIRST_PAUSE
        look_again = 0.0
        while True:
            try:
                shipped = await self._ship_own()
                if not shipped and time.monotonic() >= look_again:
                    look_again = time.monotonic() + ADOPT_EVERY
                    await self.ship_leftovers()
                pause = FIRST_PAUSE
                if not shipped:
                    await asyncio.sleep(IDLE_PAUSE)
            except StoreError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def flush(self, deadline: float) -> bool:
        """Ship all there is now, for at most `deadline` seconds; for the end of the process. True when nothing is left."""
        until = time.monotonic() + deadline
        try:
            async with asyncio.timeout(deadline):
                while self.waiting:
                    if time.monotonic() > until:  # a library may have swallowed the cancellation, which comes once
                        return False
                    try:
                        await self._ship_own()
                    except Exception:  # noqa: BLE001 - whatever the store's client meets, until the deadline it is tried again
                        await asyncio.sleep(FIRST_PAUSE)
        except TimeoutError:
            return False
        return True

    async def ship_leftovers(self) -> None:
        """Adopt the spools of dead processes one after the other, ship them and remove them. StoreError when it fails; OSError
        when one of them cannot be read, after the others."""
        leftovers.sweep(self._spool.root, self._clock())
        unread: dict[Path, OSError] = {}
        while (leftover := leftovers.adopt(self._spool.root, self._spool.path, unread)) is not None:
            try:
                await self._ship(leftover)
            except OSError as error:
                unread[leftover.tail.path] = error
        for trouble in unread.values():
            raise trouble

    async def _ship(self, leftover: leftovers.Leftover) -> None:
        done = False
        try:
            tail = leftover.tail
            while lines := tail.read(self._lines):
                await self._deliver(tail.chain, lines)
                tail.acknowledge()
            self.state.damaged += tail.damaged
            done = True
        finally:
            if done:
                leftover.remove()
            else:
                leftover.close()
            self._spool.elsewhere = leftovers.size(self._spool.root, self._spool.path)

    async def _ship_own(self) -> bool:
        """Ship one batch of our own spool. False when there is nothing to ship."""
        async with self._busy:
            if not self._pending:
                if not self.waiting:
                    self.state.oldest_unshipped = None
                    return False
                self._pending = self._tail.read(self._lines)
                if not self._pending:
                    # what is left was damaged on the disk and is counted as such
                    self._note_damage()
                    self._delivered = self._spool.appended
                    return False
            if self.state.oldest_unshipped is None:
                self.state.oldest_unshipped = self._clock()
            lines = self._pending[: self._lines]
            await self._deliver(self._tail.chain, lines)
            self._delivered = max(self._delivered, lines[-1].sequence)
            self._pending = self._pending[len(lines) :]
            if not self._pending:
                self._tail.acknowledge()
                self._note_damage()
            return True

    def _note_damage(self) -> None:
        self.state.damaged += self._tail.damaged
        self._tail.damaged = 0

    async def _deliver(self, chain: str, lines: Sequence[Line]) -> None:
        delivery = writes.deliver(chain, lines, self._keep, self._clock())
        try:
            self.state.layout = await layout.settle(self._store)  # each time: it may have been emptied meanwhile
            answers = await self._store.run(delivery.commands, copied=True)
        except StoreError as error:
            if self.state.failing_since is None:
                self.state.failing_since = self._clock()
            self.state.why = str(error)
            if error.why == "timeout":
                self._lines = max(1, self._lines // 2)
            if self._room is not None and is_full(error):
                await self._room.make()
            raise
        new = sum(answers[place] for place in delivery.new)
        self.state.stored += new
        self.state.deduplicated += len(delivery.new) - new
        self.state.notes += len(lines) - len(delivery.new) - len(delivery.unreadable)
        self.state.failing_since, self.state.why = None, ""
        self._lines = min(LINES, self._lines + MORE_LINES)
        if self._room is not None:
            await self._room.settle()
        if delivery.unreadable:
            self._set_aside(delivery.unreadable)

    def _set_aside(self, lines: Sequence[Line]) -> None:
        self.state.unreadable += len(lines)
        set_aside(self._spool.root / UNREADABLE, lines)


def set_aside(path: Path, lines: Sequence[Line]) -> None:
    """Append lines to a file of bounded size, for a version that can read them."""
    text = b"".join(b"%d %b %b\n" % (line.sequence, line.previous.encode(), line.record) for line in lines)
    if (path.stat().st_size if path.exists() else 0) + len(text) <= UNREADABLE_LIMIT:
        path.touch(mode=0o600)
        with path.open("ab") as file:
            file.write(text)
