"""Checks the hash chains: names the first record that was altered or removed in the store.

Every record carries number and hash of the record before it in its chain (one chain per start of a process), and the log of
the chain carries a digest of every record. Who can rewrite a record can be found out unless he rewrites record and log alike;
against that, keep a bundle or the log lines of the day elsewhere. That there is no record which no chain has is strays.py's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.incident import tag_of, time_of
from proxy.evidence import keys, queries, records, segment
from proxy.evidence.queries import Stored, StoredNote
from proxy.evidence.redis_store import RedisStore

LISTED_CHAINS: Final = 10_000

EVERY_TAG: Final = "*"
PURGED_TAGS: Final = 1 << 20
"""As many as there are tags."""

SLACK: Final = 86_400.0
"""Seconds by which the retention may be early: the stream is trimmed in whole nodes."""


Found = Stored | StoredNote | records.RecordError | None
"""What stands in the store where a record should: itself, another one, something that cannot be read, nothing."""


class Logged(msgspec.Struct, frozen=True):
    """One record as the log of its chain has it. `digest`: the first 16 octets, in hex. `kind`: I incident, N note, U one that
    this version could not read and set aside."""

    sequence: int
    digest: str
    kind: str
    incident: str
    name: str


class Fault(msgspec.Struct, frozen=True):
    """A record that is not as it was written. `what`: altered, removed, added."""

    chain: str
    sequence: int
    what: str
    incident: str = ""
    name: str = ""


class Verified(msgspec.Struct, frozen=True):
    """What was checked in one chain; `fault` is the first one found. `expired` records are past their retention."""

    chain: str
    checked: int
    expired: int
    fault: Fault | None = None


async def chains(store: RedisStore) -> list[str]:
    """All chains, the last delivered to first. One that is missing in either of the two lists is in the other."""
    lists = [await queries.members(store, index, 2 * LISTED_CHAINS) for index in (keys.CHAINS, keys.CHAIN_LAST)]
    return list(dict.fromkeys(chain for listed in lists for chain in listed))


def born(chain: str) -> float | None:
    """When a chain was begun (epoch seconds), by its name; None for a name that does not tell."""
    try:
        return int(chain.rpartition(".")[2], 16) / 1e6
    except ValueError:
        return None


async def purged(store: RedisStore) -> dict[str, float]:
    """Up to when (epoch seconds) the incidents of a tag, or of `*` for all, were purged on demand. StoreError."""
    return await queries.members(store, keys.PURGED, PURGED_TAGS)


async def verify(store: RedisStore, chain: str, retention_days: float, now: float | None = None) -> Verified:
    """Check one chain from its oldest logged record on. Four round trips per hundred records. StoreError."""
    last = await _last(store, chain)
    kept = (time.time() if now is None else now) - retention_days * 86_400 + SLACK
    oldest = max(kept, (await queries.members(store, keys.MADE_ROOM, 1)).get("until", 0.0) + 0.001)  # it had to go
    gone = await purged(store)
    started = born(chain)
    young = started is not None and started > kept  # no block of its log can have expired
    first = max(0, last // keys.CHAIN_BLOCK - keys.CHAIN_BLOCKS_KEPT + 1)
    checked = expired = 0
    before: str | None = None
    for block in range(first, last // keys.CHAIN_BLOCK + 1):
        log = await _read_block(store, chain, block)
        stored = await read_incidents(store, [entry.incident for entry in log.values() if entry.kind == "I"])
        notes = await _read_notes(store, log)
        replaced = await _replaced(store, chain, log, notes)
        for sequence in range(max(1, block * keys.CHAIN_BLOCK), min(last, (block + 1) * keys.CHAIN_BLOCK - 1) + 1):
            entry = log.get(sequence)
            if entry is None:
                if not log and not checked and not young:
                    expired += 1
                    continue
                return Verified(chain, checked, expired, Fault(chain, sequence, "removed"))
            if entry.kind == "U":
                before = entry.digest
                continue
            found = stored.get(entry.incident) if entry.kind == "I" else notes.get((entry.incident, entry.name))
            gone_until = max(oldest, gone.get(EVERY_TAG, 0.0), gone.get(tag_of(entry.incident), 0.0))
            old = time_of(entry.incident) < gone_until
            what = "superseded" if sequence in replaced else _judge(entry, found, chain, before, old=old)
            if what in {"altered", "removed"}:
                return Verified(chain, checked, expired, Fault(chain, sequence, what, entry.incident, entry.name))
            checked += what == "good"
            expired += what == "expired"
            before = entry.digest
    return Verified(chain, checked, expired)


async def _last(store: RedisStore, chain: str) -> int:
    """The number of the last record: as the list says, or as the log does where that goes on."""
    last = int((await queries.members(store, keys.CHAIN_LAST, 2 * LISTED_CHAINS)).get(chain, 0))
    block = last // keys.CHAIN_BLOCK
    while log := await _read_block(store, chain, block):
        last, block = max(last, *log), block + 1
    return last


def _judge(entry: Logged, found: Found, chain: str, before: str | None, *, old: bool) -> str:
    """good, expired, removed or altered."""
    if found is None:
        return "expired" if old else "removed"
    if isinstance(found, records.RecordError) or (found.chain, found.sequence) != (chain, entry.sequence):
        return "altered"
    kind = records.INCIDENT if isinstance(found, Stored) else records.NOTE
    _, digest = segment.encode(found.sequence, found.previous, kind + b" " + found.raw)
    if not digest.startswith(entry.digest) or (before is not None and not found.previous.startswith(before)):
        return "altered"
    return "good"


async def _replaced(store: RedisStore, chain: str, log: dict[int, Logged], notes: Mapping[tuple[str, str], Found]) -> set[int]:
    """The notes in whose place a later one of the same name stands, which its own chain has at the place that it names."""
    moved: list[tuple[int, StoredNote]] = []
    for sequence, entry in log.items():
        found = notes.get((entry.incident, entry.name)) if entry.kind == "N" else None
        if isinstance(found, StoredNote) and (found.chain != chain or found.sequence > sequence):
            moved.append((sequence, found))
    lines = await read_lines(store, [(found.chain, found.sequence) for _, found in moved])
    return {sequence for (sequence, found), line in zip(moved, lines, strict=True) if line is not None and _is(line, found)}


def _is(line: Logged, found: StoredNote) -> bool:
    """Whether a line of a log is of this note. What the note says is checked under that number."""
    return (line.kind, line.incident, line.name) == ("N", found.note.incident, found.note.name)


async def read_lines(store: RedisStore, places: Sequence[tuple[str, int]]) -> list[Logged | None]:
    """What the logs of the chains have at these places. StoreError."""
    answers = await store.run([("HGET", keys.chain_block(chain, number), str(number)) for chain, number in places])
    return [None if value is None else _logged(number, value) for (_, number), value in zip(places, answers, strict=True)]


async def read_incidents(store: RedisStore, ids: Sequence[str]) -> dict[str, Stored | records.RecordError]:
    """Incidents, and what is wrong with those that are none any more. StoreError."""
    pointers = await store.run([("GET", keys.pointer(i)) for i in ids])
    present = [(i, queries.as_text(pointer)) for i, pointer in zip(ids, pointers, strict=True) if pointer]
    answers = await store.run([("XRANGE", keys.stream(i), entry, entry) for i, entry in present])
    found: dict[str, Stored | records.RecordError] = {}
    for (i, _), answer in zip(present, answers, strict=True):
        for entry in queries.entries(answer):
            try:
                found[i] = queries.read_entry(entry)
            except records.RecordError as error:
                found[i] = error
    return found


def _logged(sequence: int, value: bytes) -> Logged:
    text = value[16:].decode("utf-8", "replace")
    return Logged(sequence, value[:16].hex(), text[:1], text[1:27], text[27:])


async def _read_block(store: RedisStore, chain: str, block: int) -> dict[int, Logged]:
    (answer,) = await store.run([("HGETALL", keys.chain_block(chain, block * keys.CHAIN_BLOCK))])
    return {int(number): _logged(int(number), value) for number, value in queries.as_map(answer).items()}


async def _read_notes(store: RedisStore, log: dict[int, Logged]) -> dict[tuple[str, str], Found]:
    wanted = [entry for entry in log.values() if entry.kind == "N"]
    answers = await store.run([("HGET", keys.notes(entry.incident), entry.name) for entry in wanted])
    found: dict[tuple[str, str], Found] = {}
    for entry, value in zip(wanted, answers, strict=True):
        if value is None:
            continue
        try:
            found[entry.incident, entry.name] = queries.read_stored_note(value)
        except records.RecordError as error:
            found[entry.incident, entry.name] = error
    return found
