"""How much each tenant sent, minute by minute, and its last request. Counted in memory, written as absolute values.

A request counts in the minute in which its answer ended. Each process writes its own field, so a repeated write changes
nothing. kill -9 loses at most what came since the last flush; the heartbeats of that time are lost with it (`heartbeat.py`
writes a beat only after this), so nothing is claimed for it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.absence import LastRequest, Traffic
from proxy.core.exchange import GRANTED, AnsweredBy, Exchange
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.client import family_of
from proxy.evidence.redis_store import TURN, Command, RedisStore

_BACKEND: Final = AnsweredBy.BACKEND
EVERYONE: Final = "_all"
"""The tenant under which all traffic is counted."""
NOBODY: Final = "_unknown"
"""The tenant under which the edge counts what it cannot attribute (core/exchange.py)."""
LOOK_BACK_DAYS: Final = (1, 7, 90, 399)
"""How far the last traffic before an instant is searched for, in steps: usually it is near."""
DIRTY_LIMIT: Final = 50_000
"""Tenant-hours that wait for a store that is away: 10,000 tenants for five hours, at most 400 MB. Then the oldest go."""
LAST_LIMIT: Final = 100_000
"""Tenants whose last request is kept in memory."""
LOOKED_BACK_DAYS: Final = 400
"""Longest time that one question may span."""

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(LastRequest).decode


class Hour:
    """Counters of one tenant in one hour (hours since the epoch): minute of the hour to [requests, good, refused]. `field` is
    who counts, in the store."""

    __slots__ = ("dirty", "field", "hour", "minutes", "tenant")

    def __init__(self, tenant: str, hour: int, field: str) -> None:
        self.tenant = tenant
        self.hour = hour
        self.field = field
        self.minutes: dict[int, list[int]] = {}
        self.dirty = False

    def count(self, minute: int, exchange: Exchange) -> None:
        """Count one exchange."""
        counters = self.minutes.get(minute)
        if counters is None:
            counters = self.minutes[minute] = [0, 0, 0]
        counters[0] += 1
        status = exchange.status
        if status in (401, 403):
            counters[2] += 1
        elif status < 500 and (exchange.answered_by is _BACKEND or status == GRANTED):
            counters[1] += 1


class Last:
    """The last request of one tenant. Changed in place: whole exchanges kept for each tenant would push what the next request
    needs out of the processor's caches."""

    __slots__ = ("answered_by", "at", "dirty", "fingerprint", "incident", "operation", "reason", "status", "user_agent")

    def __init__(self) -> None:
        self.dirty = False

    def take(self, exchange: Exchange) -> None:
        """Remember an exchange in the place of the one before."""
        self.at = exchange.at
        self.status = exchange.status
        self.answered_by = exchange.answered_by
        self.operation = exchange.operation
        self.reason = exchange.reason
        self.incident = exchange.incident
        self.user_agent = exchange.user_agent
        self.fingerprint = exchange.fingerprint

    def told(self) -> LastRequest:
        """The same as it is stored."""
        agent = family_of(self.user_agent)
        by = str(self.answered_by)
        return LastRequest(self.at, self.status, by, self.operation, self.reason, self.incident, agent, self.fingerprint)


def pack(minutes: Mapping[int, Sequence[int]]) -> str:
    """`5:12;7:9,8,1`: minute, requests, and good and refused unless all were good."""
    return ";".join(
        f"{minute}:{requests}" if (good, refused) == (requests, 0) else f"{minute}:{requests},{good},{refused}"
        for minute, (requests, good, refused) in minutes.items()
    )


def unpack(text: str) -> Iterator[tuple[int, Traffic]]:
    """Read what `pack` wrote."""
    for part in filter(None, text.split(";")):
        minute, _, numbers = part.partition(":")
        values = [int(number) for number in numbers.split(",")]
        yield int(minute), Traffic(*values) if len(values) == 3 else Traffic(values[0], values[0], 0)


class Minute(msgspec.Struct, frozen=True):
    """Traffic of one minute, which begins at `start` (epoch seconds)."""

    start: float
    traffic: Traffic


def short_name(process: str) -> str:
    """8 hex digits for a process: the field name is stored once per tenant-minute."""
    return hashlib.sha256(process.encode()).hexdigest()[:8]


class Activity:
    """Counts. `process` is unique to this start of this process, `instance` the same across restarts. `lost_until` (epoch
    seconds): counts from before were dropped."""

    def __init__(
        self,
        store: RedisStore | None,
        process: str,
        instance: str,
        keep: writes.Keep | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._process = process
        self._field = short_name(process)
        self._turned_back = 0
        self._instance = instance
        self._keep = keep or writes.Keep()
        self._clock = clock
        self._minute = 0
        self._hour = 0
        self._current: dict[str, Hour] = {}
        self._everyone = Hour(EVERYONE, 0, self._field)
        self._dirty: list[Hour] = []
        self._last: dict[str, Last] = {}
        self._last_dirty: dict[str, Last] = {}
        self.requests = 0
        self.dropped = 0
        self.lost_until = 0.0

    def saw(self, exchange: Exchange) -> None:
        """Count one exchange. On the way of every request: no I/O."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._turn(minute)
        minute = minute % 60
        tenant = exchange.tenant
        own = self._current.get(tenant)
        if own is None:
            own = self._current[tenant] = Hour(tenant, self._hour, self._field)
        self.requests += 1
        for hour in (own, self._everyone):
            hour.count(minute, exchange)
            if not hour.dirty:
                hour.dirty = True
                self._dirty.append(hour)
        last = self._last.get(tenant)
        if last is None:
            if len(self._last) >= LAST_LIMIT:
                return
            last = self._last[tenant] = Last()
        last.take(exchange)
        if not last.dirty:
            last.dirty = True
            self._last_dirty[tenant] = last

    def _turn(self, minute: int) -> None:
        """Another minute. An hour that comes again, because the clock was set back, is counted under another name: what was
        counted in it before is not ours to add to any more, and must not be written over."""
        hour = minute // 60
        if hour < self._hour:
            self._turned_back += 1
            self._field = short_name(f"{self._process}~{self._turned_back}")
        if hour != self._hour:
            self._hour = hour
            self._current = {}
            self._everyone = Hour(EVERYONE, hour, self._field)
        self._minute = minute

    def last_of(self, tenant: str) -> LastRequest | None:
        """The last request of a tenant that this process saw."""
        last = self._last.get(tenant)
        return None if last is None else last.told()

    async def flush(self) -> int:
        """Write what changed; returns how many tenant-hours. StoreError: all of it is written next time."""
        if self._store is None:
            return 0
        dirty, last = self._dirty, self._last_dirty
        self._dirty, self._last_dirty = [], {}
        for count in dirty:
            count.dirty = False
        for request in last.values():
            request.dirty = False
        try:
            commands = self._commands(dirty, last)
            while turn := list(itertools.islice(commands, TURN)):  # built as they go: thousands at once would hold requests up
                await self._store.run(turn, copied=True)
        except BaseException:
            self._put_back(dirty, last)
            raise
        return len(dirty)

    def _put_back(self, dirty: Sequence[Hour], last: dict[str, Last]) -> None:
        again = [count for count in dirty if not count.dirty]
        for count in again:
            count.dirty = True
        self._dirty = [*again, *self._dirty]
        self._last_dirty = last | self._last_dirty
        surplus = len(self._dirty) - DIRTY_LIMIT
        if surplus > 0:
            for count in self._dirty[:surplus]:
                count.dirty = False
                self.lost_until = max(self.lost_until, (count.hour + 1) * 3600.0)
            del self._dirty[:surplus]
            self.dropped += surplus

    def _commands(self, dirty: Iterable[Hour], last: dict[str, Last]) -> Iterator[Command]:
        ttl = writes.milliseconds(self._keep.activity_days)
        seen: dict[str, float] = {}
        for one in dirty:
            day, hour = divmod(one.hour, 24)
            yield writes.fields(keys.activity(one.tenant, day), ttl, [(f"{hour}:{one.field}", pack(one.minutes))])
            if not one.tenant.startswith("_"):
                seen[one.tenant] = one.hour * 3600.0 + max(one.minutes) * 60.0
        for tenant, request in last.items():
            yield writes.fields(keys.last_request(tenant), ttl, [(self._instance, _encode(request.told()))])
        if seen:
            yield writes.seen_tenants(seen, self._keep)


async def read_minutes(store: RedisStore, tenant: str, start: float, end: float) -> list[Minute]:
    """The minutes with traffic that begin within these times (epoch seconds), all processes together, oldest first."""
    days = range(int(start // writes.DAY), int(end // writes.DAY) + 1)
    if len(days) > LOOKED_BACK_DAYS:
        raise ValueError(f"at most {LOOKED_BACK_DAYS} days at once")
    answers = await store.run([("HGETALL", keys.activity(tenant, day)) for day in days])
    sums: dict[int, Traffic] = {}
    for day, answer in zip(days, answers, strict=True):
        for name, value in queries.as_map(answer).items():
            begin = day * writes.DAY + int(queries.as_text(name).partition(":")[0]) * 3600
            for minute, traffic in unpack(queries.as_text(value)):
                at = begin + minute * 60
                sums[at] = add(sums.get(at, Traffic()), traffic)
    return [Minute(at, traffic) for at, traffic in sorted(sums.items()) if start - 60 < at < end]


async def read_last(store: RedisStore, tenant: str) -> LastRequest | None:
    """The last request of a tenant that any instance saw."""
    (answer,) = await store.run([("HGETALL", keys.last_request(tenant))])
    found = []
    for value in queries.as_map(answer).values():
        with contextlib.suppress(*records.UNREADABLE):  # another instance's may still be read
            found.append(_decode(value))
    return max(found, key=lambda last: last.at, default=None)


async def last_before(store: RedisStore, tenant: str, at: float) -> LastRequest | None:
    """The last request of a tenant before an instant (epoch seconds); of an older one only the minute is known."""
    last = await read_last(store, tenant)
    if last is None or last.at < at:
        return last
    for days in LOOK_BACK_DAYS:
        minutes = await read_minutes(store, tenant, at - days * writes.DAY, at)
        earlier = [minute.start for minute in minutes if minute.start + 60 <= at]
        if earlier:
            return LastRequest(earlier[-1], 0, "")
    return None


def add(a: Traffic, b: Traffic) -> Traffic:
    """Both together."""
    return Traffic(a.requests + b.requests, a.good + b.good, a.refused + b.refused)


def total(minutes: Iterable[Minute]) -> Traffic:
    """The sum of minutes."""
    return functools.reduce(add, (minute.traffic for minute in minutes), Traffic())


def rest(everyone: Traffic, *parts: Traffic) -> Traffic:
    """What remains of all traffic without these parts."""
    return Traffic(
        max(0, everyone.requests - sum(part.requests for part in parts)),
        max(0, everyone.good - sum(part.good for part in parts)),
        max(0, everyone.refused - sum(part.refused for part in parts)),
    )
