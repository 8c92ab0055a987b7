"""How much each tenant sent, minute by minute, and its last request. Counted in memory, written as absolute values.

A request counts in the minute in which its answer ended. Each process writes its own field, so a repeated write changes
nothing. kill -9 loses at most what came since the last flush; the heartbeats of that time are lost with it (`heartbeat.py`
writes a beat only after this), so nothing is claimed for it.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from proxy.core.absence import LastRequest, Traffic
from proxy.core.exchange import AnsweredBy, Exchange
from proxy.evidence import keys, queries, writes
from proxy.evidence.redis_store import Command, RedisStore

EVERYONE: Final = "_all"
"""The tenant under which all traffic is counted."""
NOBODY: Final = "_unknown"
"""The tenant under which the edge counts what it cannot attribute (core/exchange.py)."""
LOOK_BACK_HOURS: Final = (24, 24 * 7, 24 * 90)
"""How far the last traffic before an instant is searched for, in steps: usually it is near."""
DIRTY_LIMIT: Final = 200_000
"""Tenant-minutes that wait for a store that is away: 10,000 busy tenants for 20 minutes, about 60 MB. Then the oldest go."""
LAST_LIMIT: Final = 100_000
"""Tenants whose last request is kept in memory."""
LOOKED_BACK_HOURS: Final = 24 * 400
"""Longest time that one question may span."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LastRequest).decode


class Count:
    """Counters of one tenant in one minute (minutes since the epoch)."""

    __slots__ = ("dirty", "good", "minute", "refused", "requests", "tenant")

    def __init__(self, tenant: str, minute: int) -> None:
        self.tenant = tenant
        self.minute = minute
        self.requests = self.good = self.refused = 0
        self.dirty = False


class Minute(msgspec.Struct, frozen=True):
    """Traffic of one minute, which begins at `start` (epoch seconds)."""

    start: float
    traffic: Traffic


def short_name(process: str) -> str:
    """8 hex digits for a process: the field name is stored once per tenant-minute."""
    return hashlib.sha256(process.encode()).hexdigest()[:8]


class Activity:
    """Counts. `process` is unique to this start of this process, `instance` the same across restarts."""

    def __init__(
        self,
        store: RedisStore | None,
        process: str,
        instance: str,
        keep: writes.Keep | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._field = short_name(process)
        self._instance = instance
        self._keep = keep or writes.Keep()
        self._clock = clock
        self._minute = 0
        self._current: dict[str, Count] = {}
        self._everyone = Count(EVERYONE, 0)
        self._dirty: list[Count] = []
        self._last: dict[str, Exchange] = {}
        self._last_dirty: dict[str, Exchange] = {}
        self.requests = 0
        self.dropped = 0

    def saw(self, exchange: Exchange) -> None:
        """Count one exchange. On the way of every request: no I/O."""
        minute = int(self._clock() // 60)
        if minute > self._minute:  # a clock that steps back counts on in the minute reached
            self._minute = minute
            self._current = {}
            self._everyone = Count(EVERYONE, minute)
        tenant = exchange.tenant
        count = self._current.get(tenant)
        if count is None:
            count = self._current[tenant] = Count(tenant, self._minute)
        self.requests += 1
        for one in (count, self._everyone):
            one.requests += 1
            if exchange.status in (401, 403):
                one.refused += 1
            elif exchange.status < 500 and exchange.answered_by is AnsweredBy.BACKEND:
                one.good += 1
            if not one.dirty:
                one.dirty = True
                self._dirty.append(one)
        if tenant in self._last or len(self._last) < LAST_LIMIT:
            self._last[tenant] = self._last_dirty[tenant] = exchange

    def last_of(self, tenant: str) -> LastRequest | None:
        """The last request of a tenant that this process saw."""
        exchange = self._last.get(tenant)
        return None if exchange is None else _last_request(exchange)

    async def flush(self) -> int:
        """Write what changed; returns how many tenant-minutes. StoreError: all of it is written next time."""
        if self._store is None:
            return 0
        dirty, last = self._dirty, self._last_dirty
        self._dirty, self._last_dirty = [], {}
        for count in dirty:
            count.dirty = False
        try:
            await self._store.run(self._commands(dirty, last))
        except BaseException:
            self._put_back(dirty, last)
            raise
        return len(dirty)

    def _put_back(self, dirty: Sequence[Count], last: dict[str, Exchange]) -> None:
        again = [count for count in dirty if not count.dirty]
        for count in again:
            count.dirty = True
        self._dirty = [*again, *self._dirty]
        self._last_dirty = last | self._last_dirty
        surplus = len(self._dirty) - DIRTY_LIMIT
        if surplus > 0:
            for count in self._dirty[:surplus]:
                count.dirty = False
            del self._dirty[:surplus]
            self.dropped += surplus

    def _commands(self, dirty: Iterable[Count], last: dict[str, Exchange]) -> list[Command]:
        ttl = writes.milliseconds(self._keep.activity_days)
        grouped: defaultdict[str, list[tuple[str, bytes | str]]] = defaultdict(list)
        seen: dict[str, float] = {}
        for count in dirty:
            hour, minute = divmod(count.minute, 60)
            value = f"{count.requests} {count.good} {count.refused}"
            grouped[keys.activity(count.tenant, hour)].append((f"{minute}:{self._field}", value))
            if not count.tenant.startswith("_"):
                seen[count.tenant] = max(count.minute * 60.0, seen.get(count.tenant, 0.0))
        commands = [writes.fields(key, ttl, values) for key, values in grouped.items()]
        for tenant, exchange in last.items():
            commands.append(writes.fields(keys.last_request(tenant), ttl, [(self._instance, _encode(_last_request(exchange)))]))
        if seen:
            commands.append(writes.seen_tenants(seen, self._keep))
        return commands


def _last_request(x: Exchange) -> LastRequest:
    return LastRequest(x.at, x.status, str(x.answered_by), x.operation, x.reason, x.incident)


async def read_minutes(store: RedisStore, tenant: str, start: float, end: float) -> list[Minute]:
    """The minutes with traffic that begin within these times (epoch seconds), all processes together, oldest first."""
    first, last = int(start // 3600), int(end // 3600)
    if last - first > LOOKED_BACK_HOURS:
        raise ValueError(f"at most {LOOKED_BACK_HOURS} hours at once")
    hours = range(first, last + 1)
    answers = await store.run([("HGETALL", keys.activity(tenant, hour)) for hour in hours])
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for hour, answer in zip(hours, answers, strict=True):
        for name, value in queries.as_map(answer).items():
            total = sums[hour * 3600 + int(queries.as_text(name).partition(":")[0]) * 60]
            for place, number in enumerate(queries.as_text(value).split()):
                total[place] += int(number)
    return [Minute(at, Traffic(*total)) for at, total in sorted(sums.items()) if start - 60 < at < end]


async def read_last(store: RedisStore, tenant: str) -> LastRequest | None:
    """The last request of a tenant that any instance saw."""
    (answer,) = await store.run([("HGETALL", keys.last_request(tenant))])
    found = [_decode(value) for value in queries.as_map(answer).values()]
    return max(found, key=lambda last: last.at, default=None)


async def last_before(store: RedisStore, tenant: str, at: float) -> LastRequest | None:
    """The last request of a tenant before an instant (epoch seconds); of an older one only the minute is known."""
    last = await read_last(store, tenant)
    if last is None or last.at < at:
        return last
    for hours in LOOK_BACK_HOURS:
        minutes = await read_minutes(store, tenant, at - hours * 3600, at)
        earlier = [minute.start for minute in minutes if minute.start + 60 <= at]
        if earlier:
            return LastRequest(earlier[-1], 0, "")
    return None


def total(minutes: Iterable[Minute]) -> Traffic:
    """The sum of minutes."""
    requests = good = refused = 0
    for minute in minutes:
        requests += minute.traffic.requests
        good += minute.traffic.good
        refused += minute.traffic.refused
    return Traffic(requests, good, refused)


def rest(everyone: Traffic, *parts: Traffic) -> Traffic:
    """What remains of all traffic without these parts."""
    return Traffic(
        max(0, everyone.requests - sum(part.requests for part in parts)),
        max(0, everyone.good - sum(part.good for part in parts)),
        max(0, everyone.refused - sum(part.refused for part in parts)),
    )
