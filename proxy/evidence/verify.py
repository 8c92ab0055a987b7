"""Checks the hash chains: names the first record that was altered or removed in the store.

Every record carries number and hash of the record before it in its chain (one chain per start of a process), and the log of
the chain carries a digest of every record. Who can rewrite a record can be found out unless he rewrites record and log alike;
against that, keep a bundle or the log lines of the day elsewhere.
"""

from __future__ import annotations

import time
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


class Logged(msgspec.Struct, frozen=True):
    """One record as the log of its chain has it. `digest`: the first 16 octets, in hex."""

    sequence: int
    digest: str
    kind: str
    incident: str
    name: str


class Fault(msgspec.Struct, frozen=True):
    """A record that is not as it was written. `what`: altered, removed."""

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
    """All chains, the last delivered to first."""
    return list(await queries.members(store, keys.CHAINS, LISTED_CHAINS))


async def purged(store: RedisStore) -> dict[str, float]:
    """Up to when (epoch seconds) the incidents of a tag, or of `*` for all, were purged on demand. StoreError."""
    return await queries.members(store, keys.PURGED, PURGED_TAGS)


async def verify(store: RedisStore, chain: str, retention_days: float, now: float | None = None) -> Verified:
    """Check one chain from its oldest logged record on. Four round trips per hundred records. StoreError."""
    last = int((await queries.members(store, keys.CHAIN_LAST, 2 * LISTED_CHAINS)).get(chain, 0))
    oldest = (time.time() if now is None else now) - retention_days * 86_400 + SLACK
    oldest = max(oldest, (await queries.members(store, keys.MADE_ROOM, 1)).get("until", 0.0) + 0.001)  # it had to go
    gone = await purged(store)
    first = max(0, last // keys.CHAIN_BLOCK - keys.CHAIN_BLOCKS_KEPT + 1)
    checked = expired = 0
    before: str | None = None
    for block in range(first, last // keys.CHAIN_BLOCK + 1):
        log = await _read_block(store, chain, block)
        stored = await queries.incidents(store, [entry.incident for entry in log.values() if entry.kind == "I"])
        notes = await _read_notes(store, log)
        for sequence in range(max(1, block * keys.CHAIN_BLOCK), min(last, (block + 1) * keys.CHAIN_BLOCK - 1) + 1):
            entry = log.get(sequence)
            if entry is None:
                if not log and not checked:
                    expired += 1
                    continue
                return Verified(chain, checked, expired, Fault(chain, sequence, "removed"))
            found = stored.get(entry.incident) if entry.kind == "I" else notes.get((entry.incident, entry.name))
            gone_until = max(oldest, gone.get(EVERY_TAG, 0.0), gone.get(tag_of(entry.incident), 0.0))
            what = _judge(entry, found, chain, before, old=time_of(entry.incident) < gone_until)
            if what in {"altered", "removed"}:
                return Verified(chain, checked, expired, Fault(chain, sequence, what, entry.incident, entry.name))
            checked += what == "good"
            expired += what == "expired"
            before = entry.digest
    return Verified(chain, checked, expired)


def _judge(entry: Logged, found: Stored | StoredNote | None, chain: str, before: str | None, *, old: bool) -> str:
    """good, superseded (a later note of the same name), expired, removed or altered."""
    if found is None:
        return "expired" if old else "removed"
    if isinstance(found, StoredNote) and found.chain == chain and found.sequence > entry.sequence:
        return "superseded"  # it is checked under its own number
    if (found.chain, found.sequence) != (chain, entry.sequence):
        return "altered"
    kind = records.INCIDENT if isinstance(found, Stored) else records.NOTE
    _, digest = segment.encode(found.sequence, found.previous, kind + b" " + found.raw)
    if not digest.startswith(entry.digest) or (before is not None and not found.previous.startswith(before)):
        return "altered"
    return "good"


async def _read_block(store: RedisStore, chain: str, block: int) -> dict[int, Logged]:
    (answer,) = await store.run([("HGETALL", keys.chain_block(chain, block * keys.CHAIN_BLOCK))])
    found = {}
    for number, value in queries.as_map(answer).items():
        sequence = int(number)
        text = value[16:].decode("utf-8", "replace")
        found[sequence] = Logged(sequence, value[:16].hex(), text[:1], text[1:27], text[27:])
    return found


async def _read_notes(store: RedisStore, log: dict[int, Logged]) -> dict[tuple[str, str], StoredNote]:
    wanted = [entry for entry in log.values() if entry.kind == "N"]
    answers = await store.run([("HGET", keys.notes(entry.incident), entry.name) for entry in wanted])
    return {
        (entry.incident, entry.name): queries.read_stored_note(value)
        for entry, value in zip(wanted, answers, strict=True)
        if value is not None
    }
