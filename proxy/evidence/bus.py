"""Tells the other processes of the fleet which tokens to read anew, because their state was seen to change here.

One stream in the store, trimmed to LENGTH. Only fingerprints go through it and never a verdict: whoever hears one forgets its
own reading and asks the source itself. So what stands in the store may cost a look-up and lets nobody in. No request waits for
it: without the store a change is seen as ever, by the next re-read.

The last entry that was heard is read again each time. When it is not there, others may be missing too (trimmed, emptied, a
failover), and everything is forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from proxy.evidence import keys
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.writes import milliseconds

LENGTH: Final = 10_000
"""Entries kept, about 1 MB: what a process may miss while the store or itself is away, before it forgets everything."""

POLL: Final = 0.25
"""Seconds between looks: well below fresh.refresh_every, and four small commands a second for the store."""

WAITING: Final = 1_000
"""Changes that wait to be told. When more come at once, as in a mass revocation, everybody is told to read everything."""

PAGE: Final = 1_000
PAGES: Final = 2 * LENGTH // PAGE
"""Read of the stream in one look: all of it, whatever was added meanwhile."""

QUIET: Final = 10.0
"""Seconds in which a change that others told of is not told again when it is found here: one voice is enough."""

KEPT_DAYS: Final = 1.0
"""After the last change; a process that was away for longer begins anew."""

EVERYTHING: Final = "*"


class BusState(msgspec.Struct):
    """For metrics: changes told and heard, and how often the thread was lost."""

    told: int = 0
    heard: int = 0
    gaps: int = 0


class Bus:
    """See the module. `listen` says what to do with what is heard."""

    def __init__(self, store: RedisStore, process: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._process = process.encode()
        self._monotonic = monotonic
        self._waiting: dict[str, None] = {}
        self._heard: dict[str, float] = {}
        self._place: bytes | None = None
        self._forget: Callable[[str], None] = lambda _: None
        self._forget_all: Callable[[], None] = lambda: None
        self.state = BusState()

    def listen(self, forget: Callable[[str], None], forget_all: Callable[[], None]) -> None:
        """From now on forget the reading of a fingerprint, or all readings, when others say so."""
        self._forget, self._forget_all = forget, forget_all

    def tell(self, fingerprint: str) -> None:
        """Tell the others soon, unless it was they who told us. Never waits."""
        heard = self._heard.get(fingerprint)
        if heard is not None and self._monotonic() - heard < QUIET:
            return
        if len(self._waiting) < WAITING:
            self._waiting[fingerprint] = None
        else:
            self._waiting = {EVERYTHING: None}

    async def run(self) -> None:
        """Tell and hear, for ever."""
        while True:
            try:
                await self.exchange()
                await asyncio.sleep(POLL)
            except StoreError:
                await asyncio.sleep(10 * POLL)

    async def exchange(self) -> None:
        """Tell what waits, and hear what others told since the last time. StoreError."""
        if self._place is None:
            self._place = (await self._add([""]))[-1]
        telling = list(self._waiting)
        if telling:
            _ = await self._add(telling)
            self.state.told += len(telling)
            for fingerprint in telling:
                self._waiting.pop(fingerprint, None)
        for _ in range(PAGES):
            if not await self._hear():
                return

    async def _add(self, fingerprints: list[str]) -> list[Any]:
        entry = ("XADD", keys.CHANGES, "MAXLEN", "~", LENGTH, "*", "p", self._process, "f")
        answers = await self._store.run(
            [("PEXPIRE", keys.CHANGES, milliseconds(KEPT_DAYS)), *((*entry, one) for one in fingerprints)]
        )
        return answers[1:]

    async def _hear(self) -> bool:
        """Read one page. True when there may be more."""
        assert self._place is not None  # noqa: S101 - set before
        (entries,) = await self._store.run([("XRANGE", keys.CHANGES, self._place, "+", "COUNT", PAGE)])
        if not entries or entries[0][0] != self._place:
            self._lose_thread()
            return False
        self._place = entries[-1][0]
        for _, fields in entries[1:]:
            if fields[b"p"] != self._process and fields[b"f"]:
                self._take(fields[b"f"].decode("ascii", "replace"))
        return len(entries) == PAGE

    def _take(self, fingerprint: str) -> None:
        self.state.heard += 1
        if fingerprint == EVERYTHING:
            self._forget_all()
            return
        if len(self._heard) >= WAITING:
            self._heard.clear()
        self._heard[fingerprint] = self._monotonic()
        self._forget(fingerprint)

    def _lose_thread(self) -> None:
        self.state.gaps += 1
        self._place = None
        self._forget_all()
