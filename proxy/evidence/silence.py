"""Notices tenants that stopped sending, and tells once per silence, whatever the number of processes and restarts.

Only time for which it is proven that we listened counts as silence: after an outage of ours nobody is called silent for it. Nor
is a customer that was renamed: its token goes on under another name.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from proxy.core.absence import coverage
from proxy.core.silence import FACTOR, SHORTEST, Silence, expectation
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.activity import read_last, read_minutes
from proxy.evidence.cadence import DAYS, cadence
from proxy.evidence.heartbeat import MAX_GAP, read_spans
from proxy.evidence.histories import name_since
from proxy.evidence.redis_store import BATCH, RedisStore, StoreError

LOOK_EVERY: Final = 60.0
"""Seconds between looks: activity is counted by the minute."""
TENANTS_LIMIT: Final = 100_000
AHEAD: Final = 600.0
"""Seconds from now beyond which a tenant cannot have been seen: a clock was ahead, which would keep its silence secret."""
READS: Final = 100
"""Tenants whose past is read in one look (36 commands each, tens of milliseconds in all); the others come next."""

_encode: Final = msgspec.json.Encoder().encode


class Expected(msgspec.Struct, frozen=True):
    """What the settings say of one tenant: seconds, and the name of a profile."""

    every: float | None = None
    client: str | None = None


class Mark(msgspec.Struct, frozen=True):
    """What is on record of a silence. `seen` is the time of the tenant's last traffic, by which a mark is known as outdated."""

    seen: float
    told_at: float
    silence: Silence


class Watch:
    """Looks every minute. `tell` gets each silence once, with the share of its time for which our listening is proven."""

    def __init__(
        self,
        store: RedisStore,
        tell: Callable[[Silence, float], None],
        expected: Mapping[str, Expected] | None = None,
        keep: writes.Keep | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._tell = tell
        self._expected = expected or {}
        self._ttl = writes.milliseconds((keep or writes.Keep()).activity_days)
        self._clock = clock
        self._known: dict[str, tuple[float, Silence | None]] = {}
        self._silent: dict[str, Silence] = {}

    async def run(self) -> None:
        """Look for ever. A store that is away is waited for."""
        while True:
            with contextlib.suppress(StoreError):  # the shipper reports the store
                await self.look()
            await asyncio.sleep(LOOK_EVERY)

    def expect(self, expected: Mapping[str, Expected]) -> None:
        """From now on go by other settings of the tenants."""
        self._expected = expected

    def since(self) -> dict[str, float]:
        """Silent tenants and when their last request came (epoch seconds), for the gauge."""
        return {tenant: silence.last.at for tenant, silence in self._silent.items()}

    async def look(self) -> list[Silence]:
        """One look; returns the silences that were told now. StoreError."""
        now = self._clock()
        seen = await queries.members(self._store, keys.TENANTS, TENANTS_LIMIT)
        seen |= await self._put_right({tenant: now for tenant, at in seen.items() if at > now + AHEAD})
        paused = {t: at for t, at in seen.items() if not t.startswith("_") and now - at > self._shortest(t)}
        self._silent = {t: s for t, s in self._silent.items() if t in paused and self._known[t][0] == paused[t]}
        self._known = {t: known for t, known in self._known.items() if t in paused and known[0] == paused[t]}
        for tenant in [t for t in paused if t not in self._known][:READS]:
            self._known[tenant] = (paused[tenant], await self._expect(tenant, paused[tenant], now))
        over = [
            silence
            for tenant, (_, silence) in self._known.items()
            if silence is not None and tenant not in self._silent and now - silence.last.at > silence.allowed
        ]
        return await self._judge(over, now) if over else []

    def _shortest(self, tenant: str) -> float:
        expected = self._expected.get(tenant)
        return SHORTEST if expected is None or expected.every is None else FACTOR * expected.every

    async def _put_right(self, ahead: dict[str, float]) -> dict[str, float]:
        if ahead:
            await self._store.run([("ZADD", keys.TENANTS, at, tenant) for tenant, at in ahead.items()])
        return ahead

    async def _expect(self, tenant: str, seen: float, now: float) -> Silence | None:
        last = await read_last(self._store, tenant)
        if last is None:
            return None
        if last.at > now:
            last = msgspec.structs.replace(last, at=seen)
        minutes = await read_minutes(self._store, tenant, now - DAYS * writes.DAY, last.at + 60)
        usual = cadence([minute.start for minute in minutes])
        expected = self._expected.get(tenant, Expected())
        return expectation(tenant, last, usual.longest, usual.pauses, expected.client, expected.every)

    async def _judge(self, over: list[Silence], now: float) -> list[Silence]:
        spans = await read_spans(self._store, min(silence.last.at for silence in over), now)
        told = []
        for silence in over:
            share = coverage(spans, silence.last.at, now, MAX_GAP).share
            if share * (now - silence.last.at) <= silence.allowed:
                continue
            if await name_since(self._store, silence.tenant, silence.last):
                self._known[silence.tenant] = (self._known[silence.tenant][0], None)
                continue
            if await self._first_to_tell(silence, now):
                self._tell(silence, share)
                told.append(silence)
            self._silent[silence.tenant] = silence
        return told

    async def _first_to_tell(self, silence: Silence, now: float) -> bool:
        """Put the mark into the store; whether none for the same silence was there."""
        mark = Mark(self._known[silence.tenant][0], now, silence)
        key = keys.silence(silence.tenant)
        # not SET with GET: redis-py makes a bool of its answer
        before, _ = await self._store.run([("GETSET", key, _encode(mark)), ("PEXPIRE", key, self._ttl)])
        earlier = read_mark(before)
        return earlier is None or earlier.seen != mark.seen


def read_mark(raw: bytes | None) -> Mark | None:
    """Read a mark; None when there is none that this version can read."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=Mark)
    except records.UNREADABLE:
        return None


async def marks(store: RedisStore, seen: Mapping[str, float]) -> dict[str, Mark]:
    """The marks of those tenants that are silent since they were last seen. StoreError."""
    tenants = list(seen)
    found = {}
    for start in range(0, len(tenants), BATCH):
        some = tenants[start : start + BATCH]
        answers = await store.run([("GET", keys.silence(tenant)) for tenant in some])
        for tenant, raw in zip(some, answers, strict=True):
            mark = read_mark(raw)
            if mark is not None and mark.seen == seen[tenant]:
                found[tenant] = mark
    return found
