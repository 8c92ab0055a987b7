"""Tokens in use are answered from memory and kept fresh by batches (DESIGN.md section 4, "Freshness").

Here: what is held and for how long. Not here: any judgement; an old reading is handed out with its age, and decide() knows
what that means. Every refusal passes through `second_look`, so a guess costs at most a share of one batched query.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from proxy.core.credential import Secret
from proxy.core.history import StateChange
from proxy.core.token import Known, Reading, TokenSource, TokenState, Unavailable
from proxy.sources.bucket import Bucket
from proxy.sources.held import Held
from proxy.tasks import Tasks

CHUNK: Final = 10_000
"""Tokens in one re-read: tens of milliseconds of ours and of the database's."""

TURN: Final = 100
"""Tokens after which requests have their turn: some hundred microseconds."""

FORMER_LIMIT: Final = 10_000
"""Rows remembered whose secret was replaced in place, until the secret is read again and the change is told."""

OnChange = Callable[[str, StateChange], None]


class FreshOptions(msgspec.Struct, frozen=True):
    """Durations in seconds, rates per second.

    `known_limit`: tokens kept, about 1.5 KB each. `active_window`: a token not used for so long leaves memory.
    `second_looks`/`second_looks_burst`: the ration in which refusals may ask the primary although a negative answer no
    older than `negative_ttl` is at hand. `refresh_every` and the time of one round bound how late a revocation is seen.
    """

    known_limit: int = 200_000
    negative_limit: int = 10_000
    negative_ttl: float = 2.0
    active_window: float = 300.0
    refresh_every: float = 1.0
    second_looks: float = 500.0
    second_looks_burst: float = 1_000.0


class Stats(msgspec.Struct, frozen=True):
    """Figures for metrics. Counters since start; durations in seconds."""

    known: int
    negative: int
    hits: int
    misses: int
    negative_hits: int
    evictions: int
    second_looks: int
    second_looks_rationed: int
    changes: int
    refresh_seconds: float


class Fresh:
    """Wraps a source: memory, single flight, batched re-reads, bounded negative answers."""

    def __init__(
        self,
        source: TokenSource,
        tasks: Tasks,
        options: FreshOptions | None = None,
        *,
        on_change: OnChange | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.source = source
        self._tasks = tasks
        self._options = options or FreshOptions()
        self._on_change = on_change
        self._monotonic = monotonic
        self._sleep = sleep
        self._known: collections.OrderedDict[str, Held] = collections.OrderedDict()  # longest unused first
        self._negative: collections.OrderedDict[str, Held] = collections.OrderedDict()
        self._former: collections.OrderedDict[str, Held] = collections.OrderedDict()
        self._reading: dict[str, asyncio.Task[Held]] = {}
        self._looking: dict[str, asyncio.Task[Held]] = {}
        self._bucket = Bucket(self._options.second_looks, self._options.second_looks_burst, monotonic)
        self._hits = self._misses = self._negative_hits = self._evictions = 0
        self._second_looks = self._rationed = self._changes = 0
        self._refresh_seconds = 0.0
        self._away: set[str] = set()
        self._silent: dict[str, Reading] = {}

    def held(self, fingerprint: str) -> Held | None:
        """Return what is in memory of a token, None when it must be read. Marks it as used."""
        held = self._known.get(fingerprint)
        if held is not None:
            held.used = True
            self._hits += 1
            return held
        return self._held_negative(fingerprint) if self._negative else None

    async def read(self, secret: Secret) -> Held:
        """Return what memory has, if it is no older than `negative_ttl`; else ask the source, once for all who wait. Where the
        primary said that it ended, only the primary can say otherwise: a replica may not know of it yet."""
        kept = self._known.get(secret.fingerprint) or self._negative.get(secret.fingerprint)
        if kept is not None and self._is_young(kept):
            return kept
        if kept is not None and kept.confirmed and not _is_alive(kept):
            return await self.second_look(secret)
        self._misses += 1
        return await self._shared(self._reading, secret, self._read)

    async def second_look(self, secret: Secret) -> Held:
        """Read it from the primary, as a refusal must. Unavailable is returned as such and changes nothing in memory."""
        if not self._bucket.take():
            answer = self._confirmed(secret.fingerprint)
            if answer is not None:
                self._rationed += 1
                return answer
        self._second_looks += 1
        return await self._shared(self._looking, secret, self._look_again)

    async def run(self) -> None:
        """Keep tokens in use fresh, for ever: for Tasks.keep."""
        while True:
            started = self._monotonic()
            await self.refresh()
            await self._sleep(max(0.0, started + self._options.refresh_every - self._monotonic()))

    async def refresh(self) -> None:
        """Re-read every token in use once; let go of those that were not used within `active_window`."""
        started = self._monotonic()
        due = await self._in_use(started)
        for first in range(0, len(due), CHUNK):
            await self._refresh_chunk(due[first : first + CHUNK])
        self._refresh_seconds = self._monotonic() - started

    async def take_over(self, other: Fresh) -> None:
        """Read what another one has in memory from this one's own source, so that nobody waits after a change of settings.
        What the source does not answer for is left to the first request."""
        due = (await other._in_use(self._monotonic()))[-self._options.known_limit :]
        for first in range(0, len(due), CHUNK):
            chunk = due[first : first + CHUNK]
            asked = self._monotonic()
            readings = await self.source.reread([row for _, _, row in chunk])
            answered = self._monotonic()
            for fingerprint, held, row in chunk:
                reading = readings.get(row.row)
                if reading is not None and not isinstance(reading.state, Unavailable):
                    self._known[fingerprint] = held.again(reading, asked, answered)

    def forget(self, fingerprint: str) -> None:
        """Somebody else saw it change: ask the source at its next use. What it was is kept, so that the change is told. One
        that is held dead stays so until its re-read, for a replica may not know that yet."""
        held = self._known.get(fingerprint)
        if held is not None and _is_alive(held):
            self._let_go(fingerprint, held)
        self._negative.pop(fingerprint, None)

    def forget_all(self) -> None:
        """Ask for everything anew; but of a source that does not answer what is held is all there is."""
        self._negative.clear()
        for fingerprint, held in list(self._known.items()):
            if _is_alive(held) and held.reading.source not in self._away:
                self._let_go(fingerprint, held)

    def rows(self) -> list[Known]:
        """The rows of the tokens in memory. May be called from another thread."""
        return [held.state for held in list(self._known.values()) if isinstance(held.state, Known)]

    def take_silent(self) -> dict[str, Reading]:
        """What the sources said that did not answer a re-read since this was asked last, by name."""
        silent, self._silent = self._silent, {}
        return silent

    def stats(self) -> Stats:
        """Return the figures as they are now."""
        return Stats(
            known=len(self._known),
            negative=len(self._negative),
            hits=self._hits,
            misses=self._misses,
            negative_hits=self._negative_hits,
            evictions=self._evictions,
            second_looks=self._second_looks,
            second_looks_rationed=self._rationed,
            changes=self._changes,
            refresh_seconds=self._refresh_seconds,
        )

    def _held_negative(self, fingerprint: str) -> Held | None:
        held = self._negative.get(fingerprint)
        if held is None or not self._is_young(held):
            return None
        self._negative_hits += 1
        return held

    def _confirmed(self, fingerprint: str) -> Held | None:
        """An answer of the primary no older than `negative_ttl`."""
        held = self._known.get(fingerprint) or self._negative.get(fingerprint)
        return held if held is not None and held.confirmed and self._is_young(held) else None

    def _is_young(self, held: Held) -> bool:
        return self._monotonic() - held.mono <= self._options.negative_ttl

    async def _shared(
        self, flights: dict[str, asyncio.Task[Held]], secret: Secret, fly: Callable[[Secret], Awaitable[Held]]
    ) -> Held:
        """One caller who goes away must not take the answer from the others."""
        fingerprint = secret.fingerprint
        flight = flights.get(fingerprint)
        if flight is None:

            async def go() -> Held:
                try:
                    return await fly(secret)
                finally:
                    del flights[fingerprint]

            flight = flights[fingerprint] = self._tasks.start(go(), "look-up")
        return await asyncio.shield(flight)

    async def _read(self, secret: Secret) -> Held:
        asked = self._monotonic()
        return self._keep(secret.fingerprint, await self.source.read(secret), asked, confirmed=False)

    async def _look_again(self, secret: Secret) -> Held:
        asked = self._monotonic()
        return self._keep(secret.fingerprint, await self.source.second_look(secret), asked, confirmed=True)

    def _keep(self, fingerprint: str, reading: Reading, asked: float, *, confirmed: bool) -> Held:
        before = self._known.get(fingerprint) or self._former.get(fingerprint) or self._negative.get(fingerprint)
        held = Held(reading, asked, self._monotonic(), _last_known(before), confirmed=confirmed)
        if isinstance(reading.state, Unavailable):
            self._away.add(reading.source)
            return held
        self._away.discard(reading.source)
        newer = self._known.get(fingerprint)
        if newer is not None and (newer.mono > asked or (not confirmed and self._is_young(newer))):
            return newer  # it was asked for later; or by a second look, which a replica must not overrule
        self._former.pop(fingerprint, None)
        if isinstance(reading.state, Known) or fingerprint in self._known:
            self._negative.pop(fingerprint, None)
            self._put_known(fingerprint, held)
        else:
            self._put_negative(fingerprint, held)
        if before is not None:
            self._tell(fingerprint, before.reading, reading)
        return held

    def _put_known(self, fingerprint: str, held: Held) -> None:
        if fingerprint not in self._known and len(self._known) >= self._options.known_limit:
            self._make_room()
        held.last_used = self._monotonic()
        self._known[fingerprint] = held

    def _put_negative(self, fingerprint: str, held: Held) -> None:
        self._negative[fingerprint] = held
        self._negative.move_to_end(fingerprint)
        while len(self._negative) > self._options.negative_limit:
            self._negative.popitem(last=False)

    def _make_room(self) -> None:
        """Let the one go that was not used for the longest; who was used since the last round goes to the end instead."""
        for _ in range(len(self._known)):
            fingerprint, held = self._known.popitem(last=False)
            if not held.used:
                break
            held.used = False
            self._known[fingerprint] = held
        else:
            self._known.popitem(last=False)
        self._evictions += 1

    async def _in_use(self, now: float) -> list[tuple[str, Held, Known]]:
        """Who is to be re-read now. Also notes the time of use, so that the way of a request needs no clock for it."""
        due: list[tuple[str, Held, Known]] = []
        for number, (fingerprint, held) in enumerate(list(self._known.items()), 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            if self._known.get(fingerprint) is not held:
                continue  # a request has replaced it meanwhile, and it is as young as a re-read
            if held.used:
                held.used, held.last_used = False, now
                self._known.move_to_end(fingerprint)
            elif now - held.last_used > self._options.active_window:
                del self._known[fingerprint]
                continue
            row = held.row
            if row is not None:
                due.append((fingerprint, held, row))
        self._forget_negatives()
        return due

    def _forget_negatives(self) -> None:
        while self._negative:
            fingerprint, held = next(iter(self._negative.items()))
            if self._is_young(held):
                return
            del self._negative[fingerprint]

    async def _refresh_chunk(self, due: Sequence[tuple[str, Held, Known]]) -> None:
        asked = self._monotonic()
        readings = await self.source.reread([row for _, _, row in due])
        answered = self._monotonic()
        for number, (fingerprint, held, row) in enumerate(due, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            if self._known.get(fingerprint) is not held:
                continue  # a second look has replaced it meanwhile, and is younger
            reading = readings.get(row.row)
            if reading is None:
                self._let_go(fingerprint, held)
            elif isinstance(reading.state, Unavailable):
                self._away.add(reading.source)
                self._silent[reading.source] = reading
            else:
                self._away.discard(reading.source)
                self._known[fingerprint] = held.again(reading, asked, answered)
                self._tell(fingerprint, held.reading, reading)

    def _let_go(self, fingerprint: str, held: Held) -> None:
        """The row now holds another secret: read by secret next time, and remember what it was."""
        del self._known[fingerprint]
        self._former[fingerprint] = held
        while len(self._former) > FORMER_LIMIT:
            self._former.popitem(last=False)

    def _tell(self, fingerprint: str, before: Reading, after: Reading) -> None:
        if before.state is after.state or before.state == after.state:
            return
        self._changes += 1
        if self._on_change is not None:
            self._on_change(fingerprint, StateChange(before.state, after.state, before.read_at, after.read_at))


def _is_alive(held: Held) -> bool:
    return isinstance(held.state, Known) and held.state.revoked_at is None


def _last_known(before: Held | None) -> Known | None:
    if before is None:
        return None
    state: TokenState = before.state
    return state if isinstance(state, Known) else before.previous
