"""The other names of a token, after the key of fingerprints was changed: what is remembered under one is found under the other.

Only while settings name keys from before. A token is then known under all its names the first time that it is read alive, or
that its refusal is put on record; guesses are not, so that a flood of them fills nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from proxy.core.credential import Secret
from proxy.evidence import keys, queries, writes
from proxy.evidence.redis_store import Command, RedisStore, StoreError

MET_LIMIT: Final = 250_000
"""Tokens that were met, about 0.3 KB each: more than are held in memory. One that is forgotten is written once more."""
WAITING_LIMIT: Final = 10_000
"""Tokens whose names wait for a store that is away; beyond it they are written when they are met again."""
FLUSH_EVERY: Final = 0.2
"""Seconds between two writes. The first is made at once: who asks about a refusal that was just recorded finds the past."""
NAMES_LIMIT: Final = 8
"""Other names of one token that are looked under: keys are changed once in years."""

Former = Callable[[Secret], tuple[str, ...]]
"""The names of a token under the keys from before, the newest first; nothing when there are none."""


class Aliases:
    """Meets tokens and writes their names down."""

    def __init__(self, store: RedisStore, former: Former, keep: writes.Keep) -> None:
        self._store = store
        self._former = former
        self._keep = keep
        self._met: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._waiting: dict[str, tuple[str, ...]] = {}
        self._arrived = asyncio.Event()

    def meet(self, secret: Secret) -> None:
        """Note a token's other names. Nothing while no key was changed."""
        name = secret.fingerprint
        former = self._former(secret)
        if not former or self._met.get(name) == former:
            return
        if len(self._waiting) < WAITING_LIMIT:
            self._waiting[name] = former
            self._met[name] = former
            self._arrived.set()
        while len(self._met) > MET_LIMIT:
            self._met.popitem(last=False)

    def of(self, name: str) -> tuple[str, ...]:
        """The names from before of a token that was met."""
        return self._met.get(name, ())

    async def run(self) -> None:
        """Write what waits, for ever. A store that is away is tried again."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            with contextlib.suppress(StoreError):  # the shipper reports the store
                await self.flush()
            await asyncio.sleep(FLUSH_EVERY)
            if self._waiting:
                self._arrived.set()

    async def flush(self) -> None:
        """Write every name under each of the others. StoreError: they wait."""
        if not self._waiting:
            return
        waiting = dict(self._waiting)
        await self._store.run([command for name, former in waiting.items() for command in self._written(name, former)])
        for name, former in waiting.items():
            if self._waiting.get(name) == former:
                del self._waiting[name]

    def _written(self, name: str, former: tuple[str, ...]) -> list[Command]:
        ttl = writes.milliseconds(self._keep.token_days)
        every = (name, *former)
        found: list[Command] = []
        for one in every:
            found.append(("SADD", keys.names(one), *(other for other in every if other != one)))
            found.append(("PEXPIRE", keys.names(one), ttl))
        return found


async def names_of(store: RedisStore, name: str) -> list[str]:
    """Every name of the token that has this one, itself first. StoreError."""
    (answer,) = await store.run([("SMEMBERS", keys.names(name))])
    return [name, *sorted(queries.as_text(other) for other in answer)[:NAMES_LIMIT]]
