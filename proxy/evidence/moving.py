"""Copies what one store holds into another, while proxies write to either of them.

Each step may be repeated, and another run goes on where the last one was cut off: an incident is brought once, a list only
grows, of a value that both have the newer stays (`newer.py`), and what changes meanwhile is for the next run. A page at a time
is in memory.

Lists of chains come first, then everything else with the logs of the chains, incidents last: so a log never ends before the
list says. Heartbeats come before the counts that they speak for. Not copied: the bus of changes, which is about the present.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import msgspec

from proxy.evidence import keys, layout, queries, scripts
from proxy.evidence.migrate import entries_of, streams_of
from proxy.evidence.newer import wins
from proxy.evidence.redis_store import TURN, Command, RedisStore, StoreError
from proxy.evidence.room import is_full
from proxy.evidence.verify import purged

PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts at a step: a failover takes some."""
PAGE: Final = 500
"""Members of a list or a set read at once."""
PROBE_SECONDS: Final = 60
GONE: Final = -2
"""What PTTL says of a key that is not there."""

FIRST: Final = (keys.CHAINS, keys.CHAIN_LAST)
_APART: Final = frozenset({keys.CHANGES, keys.LAYOUT})
_EMPTY: Final = b""
_BEATS: Final = "sw:{hb"

_RECORD, _SCORED, _MEMBERS, _FIELDS, _VALUE = (
    scripts.sha(script)
    for script in (
        scripts.BRING_RECORD,
        scripts.BRING_SCORED,
        scripts.BRING_MEMBERS,
        scripts.BRING_FIELDS,
        scripts.BRING_VALUE,
    )
)


class Moved(msgspec.Struct):
    """How far it is. `incidents` and `keys` (all else) were brought, or had something new; of `..._there` nothing was new.
    `over`: incidents past their time. `unknown`: keys and entries that are none of ours. `ends`: the last entry that was looked
    at in each stream."""

    total: int = 0
    looked: int = 0
    incidents: int = 0
    incidents_there: int = 0
    over: int = 0
    keys: int = 0
    keys_there: int = 0
    unknown: int = 0
    ends: dict[str, str] = {}


class NotMoved(Exception):  # noqa: N818 - it is a state of the stores, not a mistake
    """Nothing was copied. The message says why and what to do."""


class Patient(RedisStore):
    """A store that is asked again when it is away for a moment."""

    async def run(self, commands: Sequence[Command], *, copied: bool = False) -> list[Any]:
        """See RedisStore. StoreError when it stays away, and at once when it is full."""
        for pause in PAUSES:
            try:
                return await super().run(commands, copied=copied)
            except StoreError as error:
                if is_full(error):
                    raise
                await asyncio.sleep(pause)
        return await super().run(commands, copied=copied)


async def prepare(source: RedisStore, target: RedisStore) -> tuple[str, ...]:
    """See whether the two can be source and target, and give an empty target its layout. Returns the tags (`*`: all) whose
    incidents were purged at the source since they were copied. NotMoved, StoreError."""
    if await _same(source, target):
        raise NotMoved("both are the same store")
    here, there = await layout.layout_of(source), await layout.layout_of(target)
    if here is not None and here != layout.VERSION:
        raise NotMoved(f"where it comes from: {layout.trouble(here)}")
    if there is not None and there != layout.VERSION:
        raise NotMoved(f"where it goes to: {layout.trouble(there)}")
    gone_here, gone_there = await purged(source), await purged(target)
    back = sorted(tag for tag, until in gone_there.items() if until > gone_here.get(tag, 0.0))
    if back:
        raise NotMoved(
            f"what was purged where it goes to (tag {', '.join(back[:5])}) would come back: run the same store purge where it "
            "comes from"
        )
    _ = await layout.settle(target)
    if there is None:
        return ()
    return tuple(sorted(tag for tag, until in gone_here.items() if until > gone_there.get(tag, 0.0)))


async def _same(source: RedisStore, target: RedisStore) -> bool:
    """Whether what is written into the one is found in the other: names and addresses do not tell."""
    probe = f"{keys.PROBE}{secrets.token_hex(16)}"
    await target.run([("SET", probe, 1, "EX", PROBE_SECONDS)])
    (found,) = await source.run([("EXISTS", probe)])
    await target.run([("DEL", probe)])
    return bool(found)


async def move(source: RedisStore, target: RedisStore) -> AsyncIterator[Moved]:
    """Copy everything; yields after each page. StoreError: repeat it."""
    progress = Moved()
    streams = await streams_of(source)
    for start in range(0, len(streams), TURN):
        progress.total += sum(await source.run([("XLEN", stream) for stream in streams[start : start + TURN]]))
    await bring(source, target, FIRST, progress)
    beats = sorted({name async for name in source.scan(f"{_BEATS}*")})
    for start in range(0, len(beats), TURN):
        await bring(source, target, beats[start : start + TURN], progress)
    async for names in _batches(source):
        await bring(source, target, [name for name in names if name not in FIRST and not is_of_beats(name)], progress)
        yield progress
    for stream in streams:
        async for page in entries_of(source, stream):
            await _bring_incidents(source, target, stream, page, progress)
            progress.ends[stream] = page[-1][0]
            yield progress


async def _batches(store: RedisStore) -> AsyncIterator[list[str]]:
    """The names of all keys that are copied by themselves, some at a time."""
    batch: list[str] = []
    async for name in store.scan("sw:*"):
        if not is_bookkeeping(name) and not is_of_incident(name):
            batch.append(name)
        if len(batch) >= TURN:
            yield batch
            batch = []
    yield batch


def is_bookkeeping(name: str) -> bool:
    """Whether a key is of its store alone, and not copied."""
    return name in _APART or name.startswith(keys.PROBE)


def is_of_incident(name: str) -> bool:
    """Whether a key goes with an incident's entry: its stream, its pointer."""
    return is_stream(name) or name[8:12] == "}:i:"


def is_of_beats(name: str) -> bool:
    """Whether a key holds heartbeats. One that comes after the counts of its time were copied would claim what is not there."""
    return name.startswith(_BEATS)


def is_stream(name: str) -> bool:
    """Whether a key is a stream of incidents: sw:{ABCD}:inc, unlike the list of all tenants' latest."""
    return name[8:] == "}:inc"


async def bring(source: RedisStore, target: RedisStore, names: Sequence[str], progress: Moved) -> None:
    """Bring keys as they are now, each by its type. StoreError."""
    raw = [name.encode("utf-8", "surrogateescape") for name in names]
    answers = await source.run([command for name in raw for command in (("TYPE", name), ("PTTL", name))])
    kinds: dict[str, list[tuple[bytes, int]]] = {}
    for name, kind, ttl in zip(raw, answers[::2], answers[1::2], strict=True):
        kinds.setdefault(queries.as_text(kind), []).append((name, int(ttl)))
    progress.unknown += len(kinds.pop("stream", []))
    _ = kinds.pop("none", [])  # it has expired meanwhile
    for kind, found in kinds.items():
        match kind:
            case "hash":
                changed = await _bring_hashes(source, target, found)
            case "string":
                changed = await _bring_strings(source, target, found)
            case "zset":
                changed = [await _bring_scanned(source, target, _SCORED, "ZSCAN", *one) for one in found]
            case "set":
                changed = [await _bring_scanned(source, target, _MEMBERS, "SSCAN", *one) for one in found]
            case _:
                progress.unknown += len(found)
                continue
        progress.keys += sum(number > 0 for number in changed)
        progress.keys_there += sum(number == 0 for number in changed)


async def _bring_hashes(source: RedisStore, target: RedisStore, found: list[tuple[bytes, int]]) -> list[int]:
    asked = [("HGETALL", name) for name, _ in found]
    here, there = await source.run(asked), await target.run(asked)
    commands: list[Command] = []
    for (name, ttl), coming, standing in zip(found, here, there, strict=True):
        rule, old = wins(name.decode("utf-8", "surrogateescape")), queries.as_map(standing)
        parts: list[bytes] = []
        for field, value in queries.as_map(coming).items():
            present = old.get(field, _EMPTY)
            if value != present and (not present or rule(value, present)):
                parts += (field, present, value)
        commands.append(("EVALSHA", _FIELDS, 1, name, ttl, *parts))
    return await target.run(commands)


async def _bring_strings(source: RedisStore, target: RedisStore, found: list[tuple[bytes, int]]) -> list[int]:
    asked = [("GET", name) for name, _ in found]
    here, there = await source.run(asked), await target.run(asked)
    commands: list[Command] = []
    for (name, ttl), value, standing in zip(found, here, there, strict=True):
        old = standing or _EMPTY
        newer = value is not None and (not old or wins(name.decode("utf-8", "surrogateescape"))(value, old))
        commands.append(("EVALSHA", _VALUE, 1, name, ttl, old, value) if newer else ("EXISTS", b"sw:{ping}"))
    return await target.run(commands)


async def _bring_scanned(source: RedisStore, target: RedisStore, script: str, scan: str, name: bytes, ttl: int) -> int:
    """A list or a set, a page at a time. Whoever was in it all the time is in one of the pages."""
    changed, cursor = 0, 0
    while True:
        ((cursor, page),) = await source.run([(scan, name, cursor, "COUNT", PAGE)])
        parts = list(_scores_first(page)) if scan == "ZSCAN" else list(page)
        for start in range(0, len(parts), 2 * PAGE):
            changed += (await target.run([("EVALSHA", script, 1, name, ttl, *parts[start : start + 2 * PAGE])]))[0]
        if not int(cursor):
            return changed


def _scores_first(page: Any) -> Iterable[bytes | str]:
    items = list(page or [])
    pairs = items if items and isinstance(items[0], (list, tuple)) else list(zip(items[::2], items[1::2], strict=True))
    for member, score in pairs:
        yield repr(float(score))
        yield member


async def _bring_incidents(
    source: RedisStore, target: RedisStore, stream: str, page: list[tuple[str, dict[str, bytes]]], progress: Moved
) -> None:
    progress.looked += len(page)
    pointers = [_pointer(fields) for _, fields in page]
    known = [(entry, fields, pointer) for (entry, fields), pointer in zip(page, pointers, strict=True) if pointer]
    progress.unknown += len(page) - len(known)
    there = await target.run([("EXISTS", pointer) for _, _, pointer in known])
    new = [one for one, found in zip(known, there, strict=True) if not found]
    progress.incidents_there += len(known) - len(new)
    if not new:
        return
    (life, *left) = await source.run([("PTTL", stream), *(("PTTL", pointer) for _, _, pointer in new)])
    commands: list[Command] = [
        ("EVALSHA", _RECORD, 2, stream, pointer, life, entry, ttl, fields["i"], fields["c"], fields["d"])
        for (entry, fields, pointer), ttl in zip(new, left, strict=True)
        if ttl != GONE
    ]
    progress.over += len(new) - len(commands)
    brought = sum(await target.run(commands))
    progress.incidents += brought
    progress.incidents_there += len(commands) - brought


def _pointer(fields: dict[str, bytes]) -> str:
    """The pointer of an entry, empty for one that is none of ours."""
    try:
        return keys.pointer(fields["i"].decode("ascii")) if {"i", "c", "d"} <= fields.keys() else ""
    except ValueError:
        return ""
