"""Two lists over all tenants, by time: tokens seen to end, and first uses of tokens. Only events, never a request.

They tell what happened beside an incident: a clean-up that took many, an application destroyed, a stranger's first use at the
very moment of a revocation. kill -9 loses at most what came since the last flush, a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from proxy.core.diagnosis.evidence import Death
from proxy.core.history import StateChange
from proxy.core.memory import FirstUse
from proxy.core.token import Known, Unknown
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.redis_store import Command, RedisStore, StoreError

WAITING_LIMIT: Final = 20_000
"""Events that wait for a store that is away, about 0.3 KB each: a whole installation revoked at once. Then the oldest go."""
FLUSH_EVERY: Final = 1.0
"""Seconds."""
FLUSH_LIMIT: Final = 500
"""Events written per flush and list: one command of about 60 KB."""

T = TypeVar("T", bound=msgspec.Struct)


class Events:
    """Collects and writes. Not for several threads."""

    def __init__(
        self,
        store: RedisStore | None,
        first_uses: Callable[[], Sequence[FirstUse]],
        keep: writes.Keep | None = None,
    ) -> None:
        """`first_uses` hands over what the history has found since it was last asked."""
        self._store = store
        self._take_first_uses = first_uses
        self._keep = keep or writes.Keep()
        self._deaths: deque[Death] = deque(maxlen=WAITING_LIMIT)
        self._uses: deque[FirstUse] = deque(maxlen=WAITING_LIMIT)

    def changed(self, fingerprint: str, change: StateChange) -> None:
        """Take notice of a change of state: of an end, if it is one."""
        death = death_of(fingerprint, change)
        if death is not None:
            self._deaths.append(death)

    async def run(self) -> None:
        """Write every second, for ever."""
        while True:
            await asyncio.sleep(FLUSH_EVERY)
            with contextlib.suppress(StoreError):  # the shipper reports the store; the events wait
                await self.flush()

    async def flush(self) -> None:
        """Write what waits. StoreError: it waits on."""
        self._uses.extend(self._take_first_uses())
        if self._store is None or not (self._deaths or self._uses):
            return
        deaths = list(itertools.islice(self._deaths, FLUSH_LIMIT))
        uses = list(itertools.islice(self._uses, FLUSH_LIMIT))
        await self._store.run([*self._commands(keys.DEATHS, deaths), *self._commands(keys.FIRST_USES, uses)])
        for queue, written in ((self._deaths, deaths), (self._uses, uses)):
            for event in written:
                with contextlib.suppress(ValueError):  # a full queue may have let it go meanwhile
                    queue.remove(event)  # type: ignore[arg-type]

    def _commands(self, key: str, events: Sequence[Death] | Sequence[FirstUse]) -> list[Command]:
        ttl = writes.milliseconds(self._keep.incident_days)
        members: list[tuple[float | int, str]] = [(round(e.at * 1000), msgspec.json.encode(e).decode()) for e in events]
        return [writes.index(key, self._keep.events, ttl, members)] if members else []


def death_of(fingerprint: str, change: StateChange) -> Death | None:
    """The end of a token that a change of state shows, None when it shows none."""
    before, after = change.before, change.after
    if not isinstance(before, Known) or before.revoked_at is not None:
        return None
    if isinstance(after, Unknown):
        how = "deleted"
    elif isinstance(after, Known) and after.revoked_at is not None:
        how = "revoked"
    else:
        return None
    return Death(fingerprint, before.tenant, change.seen_after, how, before.application, change.seen_before)


async def read_events(store: RedisStore, key: str, kind: type[T], start: float, end: float, limit: int) -> list[T]:
    """The events of a list between two instants (epoch seconds), oldest first. What this version cannot read is left out."""
    found = []
    for member in await queries.between(store, key, start, end, limit):
        with contextlib.suppress(*records.UNREADABLE):
            found.append(msgspec.json.decode(member, type=kind))
    return found
