"""What the edge is given to bear witness with: put a record on disk, now, before the answer leaves."""

from __future__ import annotations

from proxy.core.incident import Incident, Note
from proxy.evidence.records import pack
from proxy.evidence.spool import Spool, SpoolError, SpoolFull


class Witness:
    """Puts incidents and notes on record. What it returns from is on disk. `incidents` counts those, without notes."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.incidents = 0
        self.failed = 0

    def able(self) -> bool:
        """False while the disk is full: the reserve is in use and help is needed. Whoever asks finds out that help has come;
        requests, which would, stay away from who is not ready."""
        if self._spool.reserve_spent:
            self._spool.rearm()
        return not self._spool.reserve_spent

    def record(self, incident: Incident) -> None:
        """Put an incident on disk. SpoolFull or SpoolError when it is not there: then no 401 may leave, but a 503."""
        self._append(pack(incident))
        self.incidents += 1

    def note(self, note: Note) -> None:
        """Put a note on disk. SpoolFull or SpoolError when it is not there."""
        self._append(pack(note))

    def _append(self, raw: bytes) -> None:
        try:
            self._spool.append(raw)
        except SpoolError:
            self.failed += 1
            raise


__all__ = ["SpoolError", "SpoolFull", "Witness"]
