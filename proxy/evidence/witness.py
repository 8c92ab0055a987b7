"""What the edge is given to bear witness with: put a record on disk, now, before the answer leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from proxy.core.incident import Incident, Note
from proxy.evidence.fold import FLUSH_EVERY, Folder
from proxy.evidence.records import pack
from proxy.evidence.spool import Spool, SpoolError, SpoolFull


class Witness:
    """Puts incidents and notes on record. What it returns from is on disk."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.recorded = 0
        self.failed = 0

    @property
    def able(self) -> bool:
        """False once the disk was full: the reserve is in use and help is needed."""
        return not self._spool.reserve_spent

    def record(self, incident: Incident) -> None:
        """Put an incident on disk. SpoolFull or SpoolError when it is not there: then no 401 may leave, but a 503."""
        self._append(pack(incident))

    def note(self, note: Note) -> None:
        """Put a note on disk. SpoolFull or SpoolError when it is not there."""
        self._append(pack(note))

    def count_repeats(self, folder: Folder, now: float) -> int:
        """Write the counts of what was folded since the last time; those that cannot be written wait. Epoch seconds."""
        notes = folder.notes(now)
        for place, note in enumerate(notes):
            try:
                self.note(note)
            except SpoolError:
                folder.put_back(notes[place:])
                return place
        return len(notes)

    async def keep_counting(self, folder: Folder, clock: Callable[[], float] = time.time) -> None:
        """Write the counts every 5 seconds, for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            self.count_repeats(folder, clock())

    def _append(self, raw: bytes) -> None:
        try:
            self._spool.append(raw)
        except SpoolError:
            self.failed += 1
            raise
        self.recorded += 1


__all__ = ["SpoolError", "SpoolFull", "Witness"]
