"""Reads what still lies in the spool, of living and dead processes alike, without disturbing anybody.

So an incident can be explained right after a crash and while the store is away.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from proxy.core.incident import Incident, Note
from proxy.evidence import leftovers, records
from proxy.evidence.tail import Tail

_READ_LINES = 1_000
_ATTEMPTS = 100
"""Segments that may vanish while one directory is read: more than there are in a spool of usual size."""


class Unshipped(msgspec.Struct):
    """Incidents by id; notes by incident and name."""

    incidents: dict[str, Incident]
    notes: dict[str, dict[str, Note]]


def read(root: Path | None) -> Unshipped:
    """Read every record that is not acknowledged by the store. Bounded by the spool's own bound. Blocking: use a thread."""
    found = Unshipped({}, {})
    if root is None:
        return found
    for path in leftovers.directories(root):
        _read_directory(path, found)
    return found


def _read_directory(path: Path, found: Unshipped) -> None:
    tail = Tail(path, living=True)
    for _ in range(_ATTEMPTS):
        try:
            while lines := tail.read(_READ_LINES):
                for line in lines:
                    _take(line.record, found)
        except FileNotFoundError:
            continue  # it was shipped and removed while we read: whoever asks the store next finds it there. Others are left
        return


def _take(raw: bytes, found: Unshipped) -> None:
    try:
        record = records.unpack(raw)
    except records.RecordError:
        return
    if isinstance(record, Incident):
        found.incidents[record.id] = record
    else:
        found.notes.setdefault(record.incident, {})[record.name] = record
