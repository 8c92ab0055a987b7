"""Brings a store of an older layout to this program's. May be stopped and repeated at any time; the number is written last.

From no number to 1: the records themselves are as they were; everything by which they are found (pointers, the lists of all, of
a tenant, of a token, the tenants) is made anew from them. Done beside a running proxy: each command only adds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from proxy.core.incident import Incident, time_of
from proxy.evidence import keys, layout, queries, records, writes
from proxy.evidence.redis_store import Command, RedisStore
from proxy.evidence.writes import Keep

PAGE: Final = 200
"""Entries of a stream read at once, about 0.3 MB."""


class Progress(msgspec.Struct):
    """How far it is: streams there are and done, records seen, records that this version cannot read."""

    streams: int = 0
    done: int = 0
    records: int = 0
    unreadable: int = 0


class NewerLayout(Exception):  # noqa: N818 - it is a state of the store, not a mistake
    """A newer program wrote the store: nothing was touched."""


async def streams_of(store: RedisStore) -> list[str]:
    """The streams that hold incidents. StoreError."""
    return sorted({name async for name in store.scan("sw:{*}:inc", "stream")})


async def entries_of(store: RedisStore, stream: str) -> AsyncIterator[list[tuple[str, dict[str, bytes]]]]:
    """The entries of a stream, oldest first, a page at a time: the name of each, and its fields. StoreError."""
    start = "-"
    while True:
        (answer,) = await store.run([("XRANGE", stream, start, "+", "COUNT", PAGE)])
        page = [(queries.as_text(item[0]), _fields(item)) for item in answer or []]
        if not page:
            return
        yield page
        start = f"({page[-1][0]}"


async def migrate(store: RedisStore, keep: Keep | None = None, now: float | None = None) -> AsyncIterator[Progress]:
    """Migrate; yields after each page. Nothing is done to a store of this layout. NewerLayout, StoreError."""
    found = await layout.layout_of(store)
    progress = Progress()
    if found is not None and found > layout.VERSION:
        raise NewerLayout(layout.trouble(found))
    if found is not None and found < layout.VERSION:
        streams = await streams_of(store)
        progress.streams = len(streams)
        for stream in streams:
            async for page in entries_of(store, stream):
                await store.run(_found_again(stream, page, keep or Keep(), now or time.time(), progress))
                yield progress
            progress.done += 1
    await store.run([("SET", keys.LAYOUT, layout.VERSION)])
    yield progress


def _found_again(
    stream: str, page: list[tuple[str, dict[str, bytes]]], keep: Keep, now: float, progress: Progress
) -> list[Command]:
    commands: list[Command] = []
    ttl = writes.milliseconds(keep.incident_days)
    lists: dict[tuple[str, int], list[tuple[float | int, str]]] = {}
    tenants: dict[str, float] = {}
    for entry, fields in page:
        try:
            incident = queries.read_entry(fields).incident
            at = round(time_of(incident.id) * 1000)
        except (records.RecordError, ValueError):
            progress.unreadable += 1
            continue
        progress.records += 1
        left = at + ttl - round(now * 1000)
        if left > 0 and keys.stream(incident.id) == stream:
            commands.append(("SET", keys.pointer(incident.id), entry, "NX", "PX", left))
        for key, cap in _lists(incident, keep):
            lists.setdefault((key, cap), []).append((at, incident.id))
        tenants[incident.tenant] = max(at / 1000, tenants.get(incident.tenant, 0.0))
    commands += [writes.index(key, cap, ttl, members) for (key, cap), members in lists.items()]
    return [*commands, writes.seen_tenants(tenants, keep)] if tenants else commands


def _lists(incident: Incident, keep: Keep) -> list[tuple[str, int]]:
    found = [(keys.RECENT, keep.recent), (keys.by_tenant(incident.tenant), keep.incidents_per_tag)]
    return [*found, (keys.by_token(incident.fingerprint), keep.incidents_per_token)] if incident.fingerprint else found


def _fields(item: Any) -> dict[str, bytes]:
    return {queries.as_text(name): value for name, value in queries.as_map(item[1]).items()}
