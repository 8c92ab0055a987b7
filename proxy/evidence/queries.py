"""What is read from the store: the commands and the reading of their answers. RESP2 and RESP3 differ in shape; both are read.

A page costs three round trips and 1 + 2 x its size commands, however many incidents there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from proxy.core.incident import Incident, Note, time_of
from proxy.evidence import keys, records
from proxy.evidence.redis_store import RedisStore

SAME_INSTANT: Final = 32
"""Read beyond a page because of incidents in the same millisecond as the cursor."""


class Stored(msgspec.Struct, frozen=True):
    """An incident as the store has it: with its place in the chain of its writer."""

    incident: Incident
    raw: bytes
    chain: str
    sequence: int
    previous: str


class StoredNote(msgspec.Struct, frozen=True):
    """A note as the store has it."""

    note: Note
    raw: bytes
    chain: str
    sequence: int
    previous: str


async def page(store: RedisStore, index: str, before: str | None, limit: int) -> list[str]:
    """Incident ids of an index, newest first, those older than the cursor `before`. ValueError when that is no id."""
    highest = "+inf" if before is None else str(round(time_of(before) * 1000))
    found: list[str] = []
    offset = 0
    while len(found) < limit:
        want = limit + SAME_INSTANT
        command = ("ZREVRANGEBYSCORE", index, highest, "-inf", "LIMIT", offset, want)
        (answer,) = await store.run([command])
        ids = [as_text(member) for member in answer]
        found += [i for i in ids if before is None or i < before.upper()]
        if len(ids) < want:
            break
        offset += want
    return found[:limit]


async def between(store: RedisStore, index: str, earliest: float, latest: float, limit: int) -> list[str]:
    """Incident ids of an index between two instants (epoch seconds), oldest first."""
    command = ("ZRANGEBYSCORE", index, round(earliest * 1000), round(latest * 1000), "LIMIT", 0, limit)
    (answer,) = await store.run([command])
    return [as_text(member) for member in answer]


async def incidents(store: RedisStore, ids: Sequence[str], unreadable: set[str] | None = None) -> dict[str, Stored]:
    """Read incidents. Those whose retention is over are left out, and those that this version cannot read (damaged, or written
    by a newer one), which are put into `unreadable`: one of them must not hide the others."""
    pointers = await store.run([("GET", keys.pointer(i)) for i in ids])
    present = [(i, as_text(pointer)) for i, pointer in zip(ids, pointers, strict=True) if pointer]
    answers = await store.run([("XRANGE", keys.stream(i), entry, entry) for i, entry in present])
    found = {}
    for (i, _), answer in zip(present, answers, strict=True):
        for entry in entries(answer):
            try:
                found[i] = read_entry(entry)
            except records.RecordError:
                if unreadable is not None:
                    unreadable.add(i)
    return found


async def notes(store: RedisStore, incident_id: str) -> list[StoredNote]:
    """Read the notes of an incident, oldest first, without those that this version cannot read."""
    (answer,) = await store.run([("HGETALL", keys.notes(incident_id))])
    found = []
    for value in as_map(answer).values():
        with contextlib.suppress(records.RecordError):
            found.append(read_stored_note(value))
    return sorted(found, key=lambda n: n.note.at)


async def members(store: RedisStore, index: str, limit: int) -> dict[str, float]:
    """The members of a zset with the highest scores, and these."""
    (answer,) = await store.run([("ZREVRANGE", index, 0, limit - 1, "WITHSCORES")])
    return dict(scored(answer))


def read_entry(entry: Mapping[str, bytes]) -> Stored:
    """Read one stream entry. RecordError when it is not one of ours."""
    chain, sequence, previous = _place(entry.get("c", b"").split(b" "))
    raw = entry.get("d", b"")
    return Stored(records.read_incident(raw), raw, chain, sequence, previous)


def read_stored_note(value: bytes) -> StoredNote:
    """Read one field of a note hash. RecordError when it is not one of ours."""
    *place, raw = value.split(b" ", 3)
    chain, sequence, previous = _place(place)
    return StoredNote(records.read_note(raw), raw, chain, sequence, previous)


def _place(parts: Sequence[bytes]) -> tuple[str, int, str]:
    if len(parts) != 3 or not parts[1].isdigit():
        raise records.RecordError("the place in the chain is missing")
    return parts[0].decode("latin-1"), int(parts[1]), parts[2].decode("latin-1")


def entries(answer: Any) -> list[dict[str, bytes]]:
    """The fields of stream entries: a list of (id, fields); fields are a map, or a list of name and value in turn."""
    return [{as_text(name): value for name, value in as_map(item[1]).items()} for item in answer or []]


def as_map(answer: Any) -> dict[Any, Any]:
    """A map: RESP3 gives one, RESP2 a flat list, some clients a list of pairs."""
    if isinstance(answer, Mapping):
        return dict(answer)
    items = list(answer or [])
    if items and all(isinstance(item, (list, tuple)) and len(item) == 2 for item in items):
        return dict(items)
    return dict(zip(items[::2], items[1::2], strict=True))


def scored(answer: Any) -> Iterable[tuple[str, float]]:
    """Members with their scores: pairs (RESP3, redis-py) or a flat list (RESP2)."""
    items = list(answer or [])
    pairs = items if items and isinstance(items[0], (list, tuple)) else list(zip(items[::2], items[1::2], strict=True))
    return [(as_text(member), float(score)) for member, score in pairs]


def as_text(value: Any) -> str:
    """Text of an answer, which may be bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
