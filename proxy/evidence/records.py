"""What lies in the spool: incidents and notes, each as the word for its kind and its JSON. Pure.

The JSON goes to the store as it stands, so that the hash chain can be checked there.
"""

from __future__ import annotations

from typing import Final

import msgspec

from proxy.core.incident import Incident, Note

INCIDENT: Final = b"incident"
NOTE: Final = b"note"

_encode: Final = msgspec.json.Encoder().encode
_incident: Final = msgspec.json.Decoder(Incident).decode
_note: Final = msgspec.json.Decoder(Note).decode


UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for octets that are no JSON of ours. Those of the store may be damaged or forged: not even UTF-8."""

_QUOTED: Final = 200
"""Characters of what msgspec says: it repeats a value that it does not know, however long that is."""


class RecordError(Exception):
    """These bytes are no record that this version can read."""


def pack(record: Incident | Note) -> bytes:
    """Return the record as one line without newline (JSON escapes newlines)."""
    return (b"incident " if isinstance(record, Incident) else b"note ") + _encode(record)


def unpack(raw: bytes) -> Incident | Note:
    """Read what `pack` wrote. RecordError otherwise."""
    kind, _, body = raw.partition(b" ")
    if kind == INCIDENT:
        return read_incident(body)
    return unpack_note(raw)


def unpack_note(raw: bytes) -> Note:
    """Read a record that must be a note. RecordError otherwise."""
    kind, _, body = raw.partition(b" ")
    if kind != NOTE:
        raise RecordError(f"unknown kind of record: {kind[:20]!r}")
    return read_note(body)


def read_incident(body: bytes) -> Incident:
    """Read an incident's JSON. RecordError when it is not one."""
    try:
        return _incident(body)
    except UNREADABLE as error:
        raise RecordError(f"not an incident: {str(error)[:_QUOTED]}") from error


def read_note(body: bytes) -> Note:
    """Read a note's JSON. RecordError when it is not one."""
    try:
        return _note(body)
    except UNREADABLE as error:
        raise RecordError(f"not a note: {str(error)[:_QUOTED]}") from error
