"""Looks whether everything that a store holds is in another one after `moving.py`, and whether its chains are whole there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from proxy.evidence import keys, queries
from proxy.evidence.moving import GONE, Moved, bring, is_bookkeeping, is_of_beats, is_of_incident, is_stream
from proxy.evidence.redis_store import TURN, RedisStore
from proxy.evidence.verify import LISTED_CHAINS, Fault, chains, verify

NAMED: Final = 10
"""Keys that are named: enough to go and look."""


class Compared(msgspec.Struct):
    """`missing` keys are not in the target though they should be; `names` are the first of them. `since`: incidents that came
    after they were copied."""

    looked: int = 0
    missing: int = 0
    since: int = 0
    names: list[str] = []


class Checked(msgspec.Struct):
    """`whole` chains are as they were written, `open` ones were written on meanwhile and not checked. `faults` are in the
    target alone; `faulty_before` counts chains that had theirs at the source."""

    total: int = 0
    looked: int = 0
    whole: int = 0
    open: int = 0
    faulty_before: int = 0
    faults: list[Fault] = []


async def compare(source: RedisStore, target: RedisStore, moved: Moved) -> AsyncIterator[Compared]:
    """Look up every key of the source. What has come since is brought, but for incidents and heartbeats. Yields after pages.
    StoreError."""
    found = Compared()
    batch: list[str] = []
    async for name in source.scan("sw:*"):
        if not is_bookkeeping(name) and not is_stream(name):
            batch.append(name)
        if len(batch) >= TURN:
            await _look(source, target, batch, moved, found)
            batch = []
            yield found
    await _look(source, target, batch, moved, found)
    yield found


async def _look(source: RedisStore, target: RedisStore, batch: list[str], moved: Moved, found: Compared) -> None:
    found.looked += len(batch)
    absent = [name for name in await _absent(target, batch) if not is_of_beats(name)]  # they come before counts
    pointers = [name for name in absent if is_of_incident(name)]
    others = [name for name in absent if not is_of_incident(name)]
    if others:
        await bring(source, target, others, moved)
        missing = await _absent(target, others)
        _missing(found, [name for name, ttl in zip(missing, await _ttls(source, missing), strict=True) if ttl != GONE])
    entries = await source.run([("GET", _raw(name)) for name in pointers])
    for name, entry in zip(pointers, entries, strict=True):
        if entry is None:
            continue
        end = moved.ends.get(f"{name.partition('}')[0]}}}:inc", "0-0")
        if _place(queries.as_text(entry)) > _place(end):
            found.since += 1
        else:
            _missing(found, [name])


def _missing(found: Compared, names: list[str]) -> None:
    found.missing += len(names)
    found.names += names[: NAMED - len(found.names)]


async def _absent(store: RedisStore, names: list[str]) -> list[str]:
    there = await store.run([("EXISTS", _raw(name)) for name in names])
    return [name for name, present in zip(names, there, strict=True) if not present]


async def _ttls(store: RedisStore, names: list[str]) -> list[int]:
    return [int(ttl) for ttl in await store.run([("PTTL", _raw(name)) for name in names])]


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _place(entry: str) -> tuple[int, int]:
    millisecond, _, number = entry.partition("-")
    return int(millisecond), int(number or 0)


async def numbers(store: RedisStore) -> dict[str, float]:
    """The number of the last record of each chain. StoreError."""
    return await queries.members(store, keys.CHAIN_LAST, 2 * LISTED_CHAINS)


async def check(
    source: RedisStore, target: RedisStore, before: dict[str, float], retention_days: float
) -> AsyncIterator[Checked]:
    """Verify in the target each chain that nobody wrote on since `before`. Yields after each. StoreError."""
    now, found = await numbers(source), Checked()
    names = await chains(source)
    found.total = len(names)
    for chain in names:
        found.looked += 1
        if now.get(chain) != before.get(chain):
            found.open += 1
        else:
            fault = (await verify(target, chain, retention_days)).fault
            if fault is None:
                found.whole += 1
            elif fault == (await verify(source, chain, retention_days)).fault:
                found.faulty_before += 1
            else:
                found.faults.append(fault)
        yield found
