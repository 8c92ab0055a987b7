"""Reads a refused token again +1 s, +10 s and +60 s later: missing at first and alive then is replica lag, not the customer.

The results are notes on the incident. A row is read again by its key; only for a token without a row is the secret kept in
memory, until its last look at most. Nothing here holds up a request.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.credential import Secret
from proxy.core.incident import Note
from proxy.core.token import Known, Reading, TokenState

DELAYS: Final = (1.0, 10.0, 60.0)
"""Seconds after the incident: replica lag, a transaction that was under way, a deployment or a job that puts things right."""
PENDING_LIMIT: Final = 10_000
"""Incidents that wait for their looks: with a secret about 1 KB each. Beyond it there are no re-reads, which is counted."""
AT_ONCE: Final = 16
"""Looks under way together: a fraction of a connection pool, so that requests find room in it."""
IDLE: Final = 0.2
"""Longest nap, in seconds: how late the first look may be."""

Look = Callable[[Secret], Awaitable[Reading]]
"""Reads a token afresh from the primary. Never raises for the source's own trouble (TokenSource.second_look)."""
LookAtRows = Callable[[Sequence[Known]], Awaitable[Mapping[int | str, Reading]]]
"""Reads rows again by primary key (TokenSource.reread)."""


class Pending(msgspec.Struct, frozen=True):
    """An incident whose token is to be read again; one of `secret` and `row` is set."""

    incident_id: str
    at: float
    secret: Secret | None
    row: Known | None


class Rereader:
    """Keeps the schedule. `record` puts a note on record and may raise: then that note is lost and counted."""

    def __init__(
        self,
        look: Look,
        look_at_rows: LookAtRows,
        record: Callable[[Note], None],
        failed: type[Exception],
        *,
        delays: Sequence[float] = DELAYS,
        clock: Callable[[], float] = time.time,
        limit: int = PENDING_LIMIT,
    ) -> None:
        self._look = look
        self._look_at_rows = look_at_rows
        self._record = record
        self._failed = failed
        self._delays = tuple(delays)
        self._clock = clock
        self._limit = limit
        self._heap: list[tuple[float, int, int, Pending]] = []
        self._order = itertools.count()
        self.dropped = 0
        self.unrecorded = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, incident_id: str, at: float, secret: Secret, state: TokenState | None) -> bool:
        """Plan the looks for an incident. False when too many are planned already. `at`: epoch seconds of the incident."""
        if len(self._heap) >= self._limit:
            self.dropped += 1
            return False
        row = state if isinstance(state, Known) else None
        pending = Pending(incident_id, at, None if row is not None else secret, row)
        heapq.heappush(self._heap, (at + self._delays[0], next(self._order), 0, pending))
        return True

    async def run(self) -> None:
        """Look whenever something is due, for ever."""
        while True:
            if not await self.look_now():
                due = self._heap[0][0] - self._clock() if self._heap else IDLE
                await asyncio.sleep(min(IDLE, max(0.01, due)))

    async def look_now(self) -> int:
        """Do the looks that are due, at most 16; returns how many."""
        due: list[tuple[int, Pending]] = []
        now = self._clock()
        while self._heap and self._heap[0][0] <= now and len(due) < AT_ONCE:
            _, _, step, pending = heapq.heappop(self._heap)
            due.append((step, pending))
        if due:
            # the next look is planned before this one, so that a source that breaks us loses one look and not the rest
            for step, pending in due:
                self._plan_next(step, pending)
            await asyncio.gather(self._by_secret(due), self._by_row(due))
        return len(due)

    def _plan_next(self, step: int, pending: Pending) -> None:
        if step + 1 < len(self._delays):
            heapq.heappush(self._heap, (pending.at + self._delays[step + 1], next(self._order), step + 1, pending))

    async def _by_secret(self, due: Sequence[tuple[int, Pending]]) -> None:
        wanted = [(step, pending, pending.secret) for step, pending in due if pending.secret is not None]
        readings = await asyncio.gather(*(self._look(secret) for _, _, secret in wanted))
        for (step, pending, _), reading in zip(wanted, readings, strict=True):
            self._note(step, pending, reading)

    async def _by_row(self, due: Sequence[tuple[int, Pending]]) -> None:
        wanted = [(step, pending, pending.row) for step, pending in due if pending.row is not None]
        if not wanted:
            return
        readings = await self._look_at_rows([row for _, _, row in wanted])
        for step, pending, row in wanted:
            if (reading := readings.get(row.row)) is not None:
                self._note(step, pending, reading)

    def _note(self, step: int, pending: Pending, reading: Reading) -> None:
        note = Note(pending.incident_id, f"reread+{self._delays[step]:g}s", self._clock(), reading=reading)
        try:
            self._record(note)
        except self._failed:
            self.unrecorded += 1
