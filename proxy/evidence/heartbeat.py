"""Proof that we listened: every few seconds a request through our own socket, and its result on record.

Equal beats are kept as one span (start, end, how many), so a quiet day costs 24 small fields. A beat goes on record only after
the activity counted up to it is: what is proven as listened to is also counted. Where that may not be so, nothing more is
proven: by what a store has forgotten, in hours whose counts were dropped, over time that a clock was set back. And the record
of a day's beats goes before any count of that day does.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from proxy.core.absence import ENDED, SET_BACK, Span
from proxy.evidence import keys, queries, records, writes
from proxy.evidence.activity import short_name
from proxy.evidence.redis_store import Command, RedisStore, StoreError

BEAT_EVERY: Final = 5.0
"""Seconds between beats."""
MAX_GAP: Final = 15.0
"""Two good beats prove the time between them when they are at most this far apart: two beats may be late, not lost."""
PROBE_PATIENCE: Final = 4.0
"""Seconds for the probe's answer: less than a beat, so that beats do not pile up."""
SPAN_SECONDS: Final = 3600.0
"""A span ends with its hour, so that its requests can be placed in time."""
SPANS_LIMIT: Final = 2_000
"""Spans that wait for a store that is away: months of quiet, or hours of trouble. Then the oldest go and become gaps."""
LOOKED_BACK_DAYS: Final = 400
LEFT: Final = "another process listens"

Probe = Callable[[], Awaitable[tuple[bool, str]]]
"""Makes a real request through the real socket: whether it was answered, and if not why. Made by wiring."""


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat: its time (epoch seconds), what the probe said, requests counted so far."""

    at: float
    ok: bool
    why: str
    requests: int


def extend(span: Span, beat: Beat, requests: int) -> Span | None:
    """The span with one more beat, None when the beat begins another: another result, too late, or in another hour."""
    if (span.ok, span.why) != (beat.ok, beat.why) or not 0 <= beat.at - span.end <= MAX_GAP:
        return None
    if beat.at // SPAN_SECONDS != span.start // SPAN_SECONDS:
        return None
    return Span(span.instance, span.start, beat.at, span.beats + 1, span.requests + requests, span.ok, span.why)


class Heartbeat:
    """Beats for ever. `process` is unique to this start; `counted` returns requests so far; `settle` writes activity;
    `lost_until` returns up to when counts were dropped (epoch seconds)."""

    def __init__(
        self,
        store: RedisStore | None,
        process: str,
        probe: Probe,
        counted: Callable[[], int],
        settle: Callable[[], Awaitable[object]],
        keep: writes.Keep | None = None,
        clock: Callable[[], float] = time.time,
        lost_until: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._store = store
        self._process = process
        self._probe = probe
        self._counted = counted
        self._settle = settle
        self._keep = keep or writes.Keep()
        self._clock = clock
        self._lost_until = lost_until
        self._before = 0
        self._span: Span | None = None
        self._waiting: dict[float, Span] = {}
        self._said: dict[float, Span] = {}
        self._stored: dict[float, float] = {}
        self.last: Beat | None = None
        self.dropped = 0

    async def run(self) -> None:
        """Beat every 5 s. A store that is away costs nothing but the wait for it."""
        while True:
            began = time.monotonic()
            with contextlib.suppress(StoreError):  # the shipper reports the store; the span waits
                await self.beat()
            await asyncio.sleep(max(0.1, BEAT_EVERY - (time.monotonic() - began)))

    async def beat(self) -> None:
        """One beat: probe, count, write. StoreError when it could not be written; then it is written with the next."""
        ok, why = await self._ask()
        self.note(Beat(self._clock(), ok, why, self._counted()))
        await self.flush()

    def leave(self) -> None:
        """From now on only say that what is counted is on record: another process listens on the same socket."""
        self._probe = _left

    async def end(self) -> None:
        """The last word: what was counted is on record. StoreError when it is not."""
        self.note(Beat(at=self._clock(), ok=False, why=ENDED, requests=self._counted()))
        await self.flush()

    def note(self, beat: Beat) -> None:
        """Add a beat to its span."""
        self.last = beat
        if self._span is not None and beat.at < self._span.end:
            self._take_back(beat.at)
        requests, self._before = beat.requests - self._before, beat.requests
        longer = None if self._span is None else extend(self._span, beat, requests)
        # whole milliseconds: the start is the name under which it is stored
        at = math.floor(beat.at * 1000) / 1000
        self._span = longer or Span(self._process, at, beat.at, 1, requests, beat.ok, beat.why)
        self._waiting[self._span.start] = self._said[self._span.start] = self._span
        while len(self._waiting) > SPANS_LIMIT:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        for known in (self._said, self._stored):
            while len(known) > SPANS_LIMIT:
                del known[next(iter(known))]

    async def flush(self) -> None:
        """Write the spans that changed. StoreError: they wait."""
        if self._store is None:
            return
        spans = list(self._waiting.values())
        await self._settle()
        if not await self._still_told(self._store):
            self._begin_anew()
            spans = list(self._waiting.values())
        lost_until = self._lost_until()
        lost = [span for span in spans if span.start < lost_until]
        spans = [span for span in spans if span.start >= lost_until]
        await self._store.run(self._commands(spans))
        for span in (*spans, *lost):
            if self._waiting.get(span.start) is span:
                del self._waiting[span.start]
        self._stored.update((span.start, round(span.end, 3)) for span in spans)

    async def _still_told(self, store: RedisStore) -> bool:
        """Whether the store still has what it was told of the spans that go on. StoreError."""
        told = [span for span in self._waiting.values() if span.start in self._stored]
        answers = await store.run([("HGET", *self._place(span)) for span in told])
        return all(_end(answer) >= self._stored[span.start] for span, answer in zip(told, answers, strict=True))

    def _begin_anew(self) -> None:
        """The store was emptied, restored or failed over: counts that it had are gone with the beats, and not told again."""
        self._waiting.clear()
        self._stored.clear()
        if (span := self._span) is not None:
            start = math.floor(span.end * 1000) / 1000
            self._span = self._waiting[start] = Span(span.instance, start, span.end, 1, 0, span.ok, span.why)

    def _take_back(self, at: float) -> None:
        """The clock was set back to `at`: what was said of the time after that is still to come, and may come without us."""
        for start, span in self._said.items():
            if span.end > at:
                end, ok, why = (at, span.ok, span.why) if start < at else (span.end, False, SET_BACK)
                self._waiting[start] = self._said[start] = msgspec.structs.replace(span, end=end, ok=ok, why=why)
                self._stored.pop(start, None)
        self._span = None

    async def _ask(self) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(PROBE_PATIENCE):
                return await self._probe()
        except TimeoutError:
            return False, "self-probe timed out"
        except OSError as error:
            return False, f"self-probe: {error.strerror or type(error).__name__}"

    def _place(self, span: Span) -> tuple[str, str]:
        """Key and field under which a span is stored."""
        return keys.heartbeats(int(span.start // writes.DAY), short_name(self._process)), str(round(span.start * 1000))

    def _commands(self, spans: list[Span]) -> list[Command]:
        name = short_name(self._process)
        commands: list[Command] = []
        for span in spans:
            day = int(span.start // writes.DAY)
            # from the beginning of the day: counts live from the end of theirs, so that they are never gone before
            ttl = writes.milliseconds(day + self._keep.heartbeat_days) - int(self._clock() * 1000)
            key, field = self._place(span)
            commands.append(writes.fields(key, ttl, [(field, _encode(span))]))
            commands.append(writes.fields(keys.heartbeat_instances(day), ttl, [(name, self._process)]))
        return commands


def _encode(span: Span) -> bytes:
    return msgspec.json.encode((round(span.end, 3), span.beats, span.requests, span.ok, span.why))


def _end(value: bytes | None) -> float:
    """The end of a stored span; before all time without one that can be read."""
    with contextlib.suppress(ValueError, *records.UNREADABLE):
        if value is not None:
            return read_span("", b"0", value).end
    return -math.inf


async def _left() -> tuple[bool, str]:
    return False, LEFT


async def read_spans(store: RedisStore, start: float, end: float) -> list[Span]:
    """All spans that may bear on the time between two instants (epoch seconds), of all processes. Two round trips."""
    days = range(int((start - SPAN_SECONDS) // writes.DAY), int((end + MAX_GAP) // writes.DAY) + 1)
    if len(days) > LOOKED_BACK_DAYS:
        raise ValueError(f"at most {LOOKED_BACK_DAYS} days at once")
    names = await store.run([("HGETALL", keys.heartbeat_instances(day)) for day in days])
    wanted = [
        (day, queries.as_text(name), queries.as_text(process))
        for day, answer in zip(days, names, strict=True)
        for name, process in queries.as_map(answer).items()
    ]
    answers = await store.run([("HGETALL", keys.heartbeats(day, name)) for day, name, _ in wanted])
    found = []
    for (_, _, process), answer in zip(wanted, answers, strict=True):
        for field, value in queries.as_map(answer).items():
            with contextlib.suppress(ValueError, *records.UNREADABLE):  # it proves nothing then
                found.append(read_span(process, field, value))
    return sorted((s for s in found if s.end >= start - MAX_GAP and s.start <= end + MAX_GAP), key=lambda s: s.start)


def read_span(process: str, field: bytes, value: bytes) -> Span:
    """Read a stored span. ValueError or one of records.UNREADABLE."""
    last, beats, requests, ok, why = msgspec.json.decode(value, type=tuple[float, int, int, bool, str])
    return Span(process, int(field) / 1000, last, beats, requests, ok, why)
