"""Looks around a refused token right after the refusal: siblings, near misses, mass events, put on record as a note.

No request waits for it. Under a flood only so many looks are kept waiting, and a token that was ever good goes first.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from proxy.core.credential import Secret
from proxy.core.history import TokenHistory
from proxy.core.incident import Incident, Note
from proxy.core.token import Known, Surroundings, TokenState, Unknown

NAME: Final = "surroundings"
"""Name of the note."""
WAITING_LIMIT: Final = 1_000
"""Looks that wait: each holds a secret, about 1 KB; at 4 at a time and some milliseconds each they are done in seconds."""
AGAIN: Final = (2.0, 10.0)
"""Seconds after which a look that gave up is made again. What stands around a token tells its replacement from a revocation,
and a database that was busy has time a little later."""
AT_ONCE: Final = 4
"""Looks under way together: what a diagnosis may take of a database that serves customers."""

Look = Callable[[Secret, TokenState], Awaitable[Surroundings]]
Recall = Callable[[str], Awaitable[TokenHistory | None]]


class Wanted(msgspec.Struct, frozen=True):
    """A look that is due."""

    incident: str
    secret: Secret
    state: TokenState
    tries: int = 0


class Surveyor:
    """Keeps the queue. `record` puts a note on record and may raise `failed`: then that note is lost and counted."""

    def __init__(
        self,
        look: Look,
        record: Callable[[Note], None],
        failed: type[Exception],
        clock: Callable[[], float] = time.time,
        recall: Recall | None = None,
    ) -> None:
        """`recall` gives what any instance remembers of a token. It never raises, and waits no longer than a look may."""
        self._look = look
        self._record = record
        self._failed = failed
        self._clock = clock
        self._recall = recall
        self._first: deque[Wanted] = deque()
        self._later: deque[Wanted] = deque()
        self._arrived = asyncio.Event()
        self._due = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._later)

    def want(self, incident: Incident, secret: Secret) -> None:
        """Ask for a look around the token of an incident."""
        self._put(Wanted(incident.id, secret, last_row(incident) or Unknown()))

    def _put(self, wanted: Wanted) -> None:
        queue = self._first if isinstance(wanted.state, Known) else self._later
        if len(queue) >= WAITING_LIMIT:
            self.dropped += 1
            return
        queue.append(wanted)
        self._arrived.set()

    async def run(self) -> None:
        """Look around, for ever."""
        while True:
            batch = self._next()
            if not batch:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await asyncio.gather(*(self._one(wanted) for wanted in batch))

    def _next(self) -> list[Wanted]:
        batch: list[Wanted] = []
        for queue in (self._first, self._later):
            while queue and len(batch) < AT_ONCE:
                batch.append(queue.popleft())
        return batch

    async def _one(self, wanted: Wanted) -> None:
        found = await self._look(wanted.secret, await self._state(wanted))
        try:
            self._record(Note(wanted.incident, NAME, self._clock(), surroundings=found))
        except self._failed:
            self.dropped += 1
        if found.error is not None and wanted.tries < len(AGAIN):
            self._again(wanted)

    async def _state(self, wanted: Wanted) -> TokenState:
        """The row that the token had. This instance may not have it in memory: it has just begun, or another one served it."""
        if isinstance(wanted.state, Known) or self._recall is None:
            return wanted.state
        return row_of(await self._recall(wanted.secret.fingerprint)) or wanted.state

    def _again(self, wanted: Wanted) -> None:
        if self._due >= WAITING_LIMIT:
            return
        self._due += 1
        next_one = msgspec.structs.replace(wanted, tries=wanted.tries + 1)
        asyncio.get_running_loop().call_later(AGAIN[wanted.tries], self._put_again, next_one)

    def _put_again(self, wanted: Wanted) -> None:
        self._due -= 1
        self._put(wanted)


def last_row(incident: Incident) -> Known | None:
    """The row of an incident's token: as read then, else as it was when last seen."""
    for reading in (incident.second_look, incident.reading):
        if reading is not None and isinstance(reading.state, Known):
            return reading.state
    return row_of(incident.history)


def row_of(history: TokenHistory | None) -> Known | None:
    """The row as it was when last seen."""
    if history is None:
        return None
    for change in reversed(history.changes):
        if isinstance(change.before, Known):
            return change.before
    last = history.last_reading
    return last.state if last is not None and isinstance(last.state, Known) else None
