"""What lies on our own disk and in the store, where crashes and strangers may have been: spool files, records, ids."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
import tempfile
import zlib
from typing import Any, Final

import msgspec

from proxy.core.exchange import AnsweredBy, Exchange
from proxy.core.incident import Incident, Kind, Note, new_id, tag_of, tenant_tag, time_of
from proxy.core.memory import OauthEvent
from proxy.core.policy import Policy
from proxy.core.replay import Outcome, replay
from proxy.core.token import Known, Reading, Unknown
from proxy.evidence import heartbeat, history, oauth_ledger, records, segment, silence
from proxy.evidence.bundle import holds, seal
from proxy.evidence.queries import Stored
from proxy.evidence.tail import Tail
from tests.fuzz.target import AT, JSON_WORDS, Target, words

_ROOM: Final = tempfile.TemporaryDirectory(prefix="sw-fuzz-spool-")
_SPOOL: Final = pathlib.Path(_ROOM.name) / "i1.0"


def _line(sequence: int, record: bytes, previous: str = segment.GENESIS) -> bytes:
    return segment.encode(sequence, previous, record)[0]


def spool(data: bytes) -> bool:
    """Of any file come back exactly the lines that were written so; damaged ones are counted, and the rest is still read."""
    shutil.rmtree(_SPOOL, ignore_errors=True)
    _SPOOL.mkdir()
    (_SPOOL / "0000000000000001.seg").write_bytes(data)
    (_SPOOL / "0000000000000002.seg").write_bytes(_line(9, b"note {}"))
    (_SPOOL / "position").write_bytes(data[-90:])
    tail = Tail(_SPOOL, living=False)
    found, fresh = [], tail._acknowledged == ("", 0)
    while batch := tail.read(2):
        found += batch
        if len(found) % 3 == 0:
            tail.acknowledge()
    for line in found:
        written = segment.encode(line.sequence, line.previous, line.record)
        assert written[1] == line.digest
        assert written[0] in data or line.sequence == 9
    if fresh:
        assert 9 == found[-1].sequence
        whole = [one for one in data.split(b"\n")[:-1] if segment.decode(one) is not None]
        torn = data.count(b"\n") - len(whole) + (not data.endswith(b"\n") and bool(data))
        assert (len(whole) + 1, torn) == (len(found), tail.damaged)
    tail.acknowledge()
    assert [] == Tail(_SPOOL, living=False).read(10)
    return len(found) > 1


def line(data: bytes) -> bool:
    """A line whose checksum is right is what `encode` writes, to the octet, or it is damaged."""
    made = b"%08x %b" % (zlib.crc32(data), data)
    read = segment.decode(made)
    if read is None:
        return False
    assert (made + b"\n", read.digest) == segment.encode(read.sequence, read.previous, read.record)
    return True


def record(data: bytes) -> bool:
    """A record that is read is written as it was, proves itself in a bundle, and can be judged again, whatever is in it."""
    try:
        found = records.unpack(data)
    except records.RecordError as error:
        assert len(str(error)) < 400
        return False
    packed = records.pack(found)
    assert b"\n" not in packed
    assert packed == records.pack(records.unpack(packed))
    if isinstance(found, Note):
        return True
    raw = packed.partition(b" ")[2]
    sealed = seal(Stored(found, raw, "i1.0", 7, segment.GENESIS))
    assert holds(sealed)
    assert not holds(msgspec.structs.replace(sealed, record=sealed.record.replace('"id"', '"iD"', 1)))
    alive = Reading(Known(1, "acme", AT - 100), "file", "file", AT)
    for look in (None, alive, found.reading, Reading(Unknown(), "file", "file", AT)):
        again = replay(found, found.reading, look, Policy(), AT)
        assert again.outcome in set(Outcome)
        assert again.outcome is not Outcome.SAME or again.now is not None
        msgspec.json.encode(again)
    return True


def stored(data: bytes) -> bool:
    """What the store holds may be damaged or forged: it is read as it would be written again, or left out."""
    found: list[Any] = [one for one in (history.read_part(data), silence.read_mark(data)) if one is not None]
    found += oauth_ledger._read([data, b"{}"])
    with contextlib.suppress(ValueError, *records.UNREADABLE):
        found.append(heartbeat.read_span("i1", data[:13], data[13:]))
    for one in found:
        assert one == msgspec.json.decode(msgspec.json.encode(one), type=type(one))
    return bool(found)


def incident_id(data: bytes) -> bool:
    """An id tells a time and a tag of the alphabet, or is none; those that are made are read back."""
    text = data.decode("utf-8", "surrogateescape")
    tenant = text.encode("utf-8", "replace").decode()
    at = AT + len(data)
    made = new_id(at, tenant)
    assert (tenant_tag(tenant), at) == (tag_of(made), time_of(made))
    try:
        tag, when = tag_of(text), time_of(text)
    except ValueError:
        return False
    assert len(tag) == 4
    assert tag.isascii()
    assert 0 <= when < 2**48 * 8
    return True


_EXCHANGE: Final = Exchange(
    "1", AT, "GET", "/Users", "Users.list", "acme", "192.0.2.1", 401, AnsweredBy.PROXY, "bearer", reason="revoked"
)
_INCIDENT: Final = Incident(
    new_id(AT, "acme"), AT, Kind.REFUSAL, "acme", "f" * 32, "revoked", _EXCHANGE, "i1",
    reading=Reading(Known(1, "acme", AT - 9, 60, AT - 1, ("scim",), "a"), "db", "primary", AT, AT + 1),
)  # fmt: skip
_OTHER_INCIDENT: Final = msgspec.structs.replace(
    _INCIDENT, exchange=msgspec.structs.replace(_EXCHANGE, credential="malformed:quoted")
)
_LINES: Final = _line(1, records.pack(_INCIDENT)) + _line(2, b"note {}", "a" * 64)

TARGETS: Final = (
    Target(
        "spool",
        spool,
        [_LINES, _LINES + b"00000000 3 torn", _LINES[:200] + b"\n" + _LINES, b"", b"\n\n", b"0 1 \n"],
        words(b"0 00000000", b"\n", b" ", b"0" * 64, _line(3, b"note x")),
    ),
    Target(
        "line",
        line,
        [b"1 " + b"0" * 64 + b" note {}", b"007 " + b"0" * 64 + b" x", b"1 " + b"\xff" * 64 + b" x", b"x"],
        words(b"note {}", b"0" * 64, b" ", b"\xb2", b"\n", b"9" * 40),
    ),
    Target(
        "record",
        record,
        [
            records.pack(_INCIDENT),
            records.pack(msgspec.structs.replace(_INCIDENT, kind=Kind.OAUTH_REFUSAL, reading=None)),
            records.pack(_OTHER_INCIDENT),
            records.pack(Note("1", "reread+1s", AT, Reading(Unknown("x"), "db", "replica", AT))),
            b"incident {}",
            b"other {}",
        ],
        words(b'"missing" "several" "known" "unknown" "unavailable" "why" "second_look" "backend" incident note', *JSON_WORDS),
        limit=4_096,
    ),
    Target(
        "stored",
        stored,
        [
            b'1780000000000[1780000005.0,2,3,true,""]',
            b'{"fingerprint":"f","tenant":"acme","first_seen":1.0}',
            msgspec.json.encode(OauthEvent(AT, "token", 200)),
            b'{"seen":1.0,"told_at":2.0}',
            b"[]",
        ],
        words(b'"at" "endpoint" "status" "last" "seen" "fingerprint"', b"\xff", b"[" * 40, *JSON_WORDS),
    ),
    Target(
        "incident_id",
        incident_id,
        [new_id(AT, "acme").encode(), new_id(AT, "a").lower().encode(), b"0" * 26, "\u00df".encode() * 26, b"x"],
        words("\u00df \ufb00 \u0149 \u0131 Z 0000".encode()),
        limit=128,
    ),
)
