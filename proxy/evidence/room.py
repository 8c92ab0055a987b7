"""Makes room in the embedded store when it is full: the oldest incidents and days of activity go, so that old evidence never
blocks new, and no counts of requests take the place of incidents.

Only for the store that we bring along, which has a bound of our own; somebody else's store is left alone (the spool waits, and
readiness says so). Deleting is allowed to a store that is out of memory; what needs memory comes after it.
"""

from __future__ import annotations

import contextlib
import heapq
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from proxy.core.incident import Incident, time_of
from proxy.evidence import keys, queries, writes
from proxy.evidence.redis_store import Command, RedisStore, StoreError

BATCH: Final = 1_000
"""Incidents removed at once, about 1.5 MB: room for four deliveries, and a few milliseconds of the store."""
STREAMS: Final = 20_000
"""Streams looked at; one per tag, so more than any embedded store has tenants."""
FROM_ONE: Final = 200
"""Oldest entries read of one stream at once."""

Told = Callable[[int, float], None]
"""Gets how many incidents went, and the time (epoch seconds) of the newest of them; for a day of activity 0 and its end."""


class _Old(msgspec.Struct, frozen=True, order=True):
    arrived: tuple[int, int]
    stream: str
    entry: str
    incident: str


def is_full(error: StoreError) -> bool:
    """Whether the store refused because its memory is at its bound."""
    return error.why == "refused" and ("OOM" in str(error) or "maxmemory" in str(error))


class Room:
    """Removes the oldest evidence, a bounded batch of incidents or a day of activity at a time. `removed` counts incidents."""

    def __init__(self, store: RedisStore, told: Told, batch: int = BATCH, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._told = told
        self._batch = batch
        self._clock = clock
        self._until: float | None = None
        self.removed = 0

    async def make(self) -> int:
        """Remove one batch; returns how many entries went, 0 when there is none left. StoreError."""
        oldest = await self._oldest()
        day, counts = await self._oldest_day()
        if counts:
            oldest = [old for old in oldest if old.arrived[0] < (day + 1) * writes.DAY * 1000]
            if not oldest:
                return await self._remove_day(day, counts)
        if not oldest:
            return 0
        found = await queries.incidents(self._store, [old.incident for old in oldest])
        commands: list[Command] = []
        for old in oldest:
            stored = found.get(old.incident)
            commands += removal(old.stream, old.entry, old.incident, stored.incident if stored is not None else None)
        await self._store.run(commands)
        newest = max(time_of(old.incident) for old in oldest)
        self.removed += len(oldest)
        self._until = max(newest, self._until or newest)
        self._told(len(oldest), newest)
        with contextlib.suppress(StoreError):  # it may be full still: then after the next delivery
            await self.settle()
        return len(oldest)

    async def settle(self) -> None:
        """Put on record up to when incidents had to go, so that `verify` does not take it for tampering. StoreError."""
        until, self._until = self._until, None
        if until is None:
            return
        try:
            await self._store.run([("ZADD", keys.MADE_ROOM, "GT", until, "until")])
        except StoreError:
            self._until = until
            raise

    async def _oldest(self) -> list[_Old]:
        streams = await self._streams()
        answers = await self._store.run([("XRANGE", stream, "-", "+", "COUNT", FROM_ONE) for stream in streams])
        entries = (_old(stream, item) for stream, answer in zip(streams, answers, strict=True) for item in answer or [])
        return heapq.nsmallest(self._batch, entries)

    async def _oldest_day(self) -> tuple[int, list[str]]:
        """The oldest day (since the epoch) before today with activity, and its keys; no keys when there is none."""
        oldest, found = int(self._clock() // writes.DAY), list[str]()
        async for name in self._store.scan("sw:{????}:act:*", "hash"):
            day = name.split(":", 4)[3]
            if not day.isdigit() or int(day) > oldest or (int(day) == oldest and not found):
                continue
            if int(day) < oldest:
                oldest, found = int(day), []
            found.append(name)
        return oldest, found

    async def _remove_day(self, day: int, counts: list[str]) -> int:
        """The beats first: without the counts they would prove that nothing came."""
        index = keys.heartbeat_instances(day)
        (names,) = await self._store.run([("HKEYS", index)])
        beats = [keys.heartbeats(day, queries.as_text(name)) for name in names]
        await self._store.run([("DEL", key) for key in (*beats, index)])
        await self._store.run([("DEL", name) for name in counts])
        self._told(0, (day + 1) * float(writes.DAY))
        return len(counts)

    async def _streams(self) -> list[str]:
        found: set[str] = set()
        cursor: Any = 0
        while len(found) < STREAMS:
            ((cursor, names),) = await self._store.run([
                ("SCAN", cursor, "MATCH", "sw:{*}:inc", "COUNT", 10_000, "TYPE", "stream")
            ])  # fmt: skip
            found.update(queries.as_text(name) for name in names)
            if not int(cursor):
                break
        return sorted(found)


def _old(stream: str, item: Any) -> _Old:
    entry = queries.as_text(item[0])
    millisecond, _, number = entry.partition("-")
    fields = {queries.as_text(name): value for name, value in queries.as_map(item[1]).items()}
    return _Old((int(millisecond), int(number)), stream, entry, queries.as_text(fields.get("i", b"")))


def removal(stream: str, entry: str, incident_id: str, incident: Incident | None) -> list[Command]:
    """What takes an incident out of the store: its entry, its notes, and where it is found. Without the record itself, the
    lists of its tenant and token keep its id until it is aged out; readers skip it."""
    commands: list[Command] = [
        ("XDEL", stream, entry),
        ("DEL", keys.pointer(incident_id), keys.notes(incident_id)),
        ("ZREM", keys.RECENT, incident_id),
    ]
    if incident is not None:
        commands.append(("ZREM", keys.by_tenant(incident.tenant), incident_id))
        if incident.fingerprint:
            commands.append(("ZREM", keys.by_token(incident.fingerprint), incident_id))
    return commands
