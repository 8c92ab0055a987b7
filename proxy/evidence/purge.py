"""Removes evidence on demand: incidents by tenant, by age or both; of a tenant without an age, everything that is known of it.

What was purged is marked (`keys.PURGED`), so that `verify` does not take it for tampering and says that it was done. Counting
first and removing afterwards go the same way, so that what is announced is what goes.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import msgspec

from proxy.core.incident import tenant_tag
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.activity import LOOKED_BACK_DAYS
from proxy.evidence.history import read_part
from proxy.evidence.in_use import PREFIXES
from proxy.evidence.migrate import entries_of, streams_of
from proxy.evidence.redis_store import BATCH, Command, RedisStore
from proxy.evidence.room import removal
from proxy.evidence.verify import EVERY_TAG, PURGED_TAGS
from proxy.evidence.writes import Keep

DAY: Final = 86_400
EVENTS: Final = (keys.DEATHS, keys.FIRST_USES)
"""Lists over all tenants whose members are JSON with a `tenant`."""


class Wanted(msgspec.Struct, frozen=True):
    """What is to go: incidents of a tenant (None: of all) from before an instant (epoch seconds; None: up to now)."""

    tenant: str | None = None
    before: float | None = None

    @property
    def whole(self) -> bool:
        """A tenant is to be forgotten altogether."""
        return self.tenant is not None and self.before is None


class Purged(msgspec.Struct):
    """How much: incidents and tokens with a memory. `looked` counts the incidents looked at."""

    incidents: int = 0
    tokens: int = 0
    looked: int = 0


async def purge(
    store: RedisStore, wanted: Wanted, keep: Keep | None = None, *, remove: bool, now: float | None = None
) -> AsyncIterator[Purged]:
    """Count what is wanted, and remove it if so told; yields after each page. StoreError: what went until then is gone, and may
    be repeated."""
    if wanted.tenant is None and wanted.before is None:
        raise ValueError("neither a tenant nor an age")
    at = time.time() if now is None else now
    progress = Purged()
    if remove:  # first of all: a purge that is cut off must not look like tampering
        await store.run([_mark(wanted, keep or Keep(), at)])
    streams = await streams_of(store) if wanted.tenant is None else [f"sw:{{{tenant_tag(wanted.tenant)}}}:inc"]
    for stream in streams:
        async for page in entries_of(store, stream):
            commands = _of_page(stream, page, wanted, progress)
            if remove:
                await store.run(commands)
            yield progress
    if wanted.tenant is not None and wanted.whole:
        async for _ in _forget(store, wanted.tenant, progress, at, remove=remove):
            yield progress


def _mark(wanted: Wanted, keep: Keep, now: float) -> Command:
    """What `verify` reads. It may go when the retention has taken what it speaks of."""
    tag = EVERY_TAG if wanted.tenant is None else tenant_tag(wanted.tenant)
    until = now if wanted.before is None else min(now, wanted.before)
    return writes.index(keys.PURGED, PURGED_TAGS, writes.milliseconds(keep.incident_days), [(until, tag)])


def _of_page(stream: str, page: list[tuple[str, dict[str, bytes]]], wanted: Wanted, progress: Purged) -> list[Command]:
    commands: list[Command] = []
    for entry, fields in page:
        progress.looked += 1
        try:
            incident = queries.read_entry(fields).incident
        except records.RecordError:
            continue
        if wanted.tenant not in (None, incident.tenant) or (wanted.before is not None and incident.at >= wanted.before):
            continue
        progress.incidents += 1
        commands += removal(stream, entry, incident.id, incident)
    return commands


async def _forget(store: RedisStore, tenant: str, progress: Purged, now: float, *, remove: bool) -> AsyncIterator[None]:
    """Everything of a tenant that is no incident."""
    for start in range(0, PREFIXES, BATCH):
        names = await _tokens_of(store, tenant, range(start, min(start + BATCH, PREFIXES)))
        progress.tokens += len(names)
        if remove:
            await store.run([command for name in names for command in _of_token(name)])
        yield
    if not remove:
        return
    today = int(now // DAY)
    commands: list[Command] = [("DEL", keys.activity(tenant, today - ago)) for ago in range(LOOKED_BACK_DAYS + 1)]
    commands += [
        ("DEL", key)
        for key in (keys.last_request(tenant), keys.silence(tenant), keys.oauth_of_tenant(tenant), keys.by_tenant(tenant))
    ]
    commands.append(("ZREM", keys.TENANTS, tenant))
    await store.run([*commands, *await _of_lists(store, tenant)])


async def _tokens_of(store: RedisStore, tenant: str, prefixes: range) -> list[str]:
    answers = await store.run([("ZRANGE", keys.known_tokens(f"{number:04x}"), 0, -1) for number in prefixes])
    names = [queries.as_text(member) for answer in answers for member in answer]
    found = await store.run([("HGETALL", keys.history(name)) for name in names])
    return [name for name, answer in zip(names, found, strict=True) if _is_of(answer, tenant)]


def _is_of(answer: Any, tenant: str) -> bool:
    parts = [read_part(value) for value in queries.as_map(answer).values()]
    return any(part is not None and part.tenant == tenant for part in parts)


def _of_token(name: str) -> list[Command]:
    return [
        ("DEL", keys.history(name), keys.by_token(name), keys.oauth_of_token(name), keys.names(name)),
        ("ZREM", keys.known_tokens(name), name),
        ("ZREM", keys.RECENT_TOKENS, name),
    ]


async def _of_lists(store: RedisStore, tenant: str) -> list[Command]:
    """Members of the lists over all tenants that name this one, and the refresh tokens that are known as its."""
    commands: list[Command] = []
    for key in EVENTS:
        commands += [("ZREM", key, member) for member in await _members(store, key, lambda text: _names(text, tenant))]
    clients = await _members(store, keys.OAUTH_CLIENTS, lambda text: text.partition("\n")[2] == tenant)
    commands += [("ZREM", keys.OAUTH_CLIENTS, member) for member in clients]
    for member in await _members(store, keys.RECENT_LINKS, lambda text: text.split(" ", 2)[2:] == [tenant]):
        commands += [("ZREM", keys.RECENT_LINKS, member), ("DEL", keys.refresh_link(member.split(" ")[0]))]
    return commands


async def _members(store: RedisStore, key: str, chosen: Callable[[str], bool]) -> list[str]:
    (answer,) = await store.run([("ZRANGE", key, 0, -1)])
    return [text for member in answer if chosen(text := queries.as_text(member))]


def _names(text: str, tenant: str) -> bool:
    try:
        found = msgspec.json.decode(text)
    except records.UNREADABLE:
        return False
    return isinstance(found, dict) and found.get("tenant") == tenant
