"""Whether this process lives, and whether it should be sent requests.

`judge` is pure. The store does not decide: without it incidents wait in the spool, and refusing traffic for that would
turn a small trouble into an outage. A source does: without one nothing can be judged.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from proxy.admin.http import Request, Response, text

TICK: Final = 0.5
"""Seconds between ticks of the event loop: fine enough to see the lag that a client would feel."""

DEAD_AFTER: Final = 30.0
"""Seconds without a tick after which the loop counts as dead: no request of ours blocks it for a fraction of that."""


class State(enum.StrEnum):
    """How a part is."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class Part(msgspec.Struct, frozen=True):
    """One part: `kind` is source (one usable is needed), vital (each is needed), other (worth telling) or backend (not judged).
    `p95` is the 95th percentile of its last five minutes in seconds, None when it had nothing to do; `breaker` the state of
    the breaker before it (closed, open, half_open), empty where there is none."""

    name: str
    state: State
    detail: str = ""
    kind: str = "other"
    p95: float | None = None
    breaker: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """The judgement: `status` is ready, degraded (ready all the same), not_ready or draining."""

    status: str
    ready: bool
    parts: tuple[Part, ...] = ()


def judge(parts: Iterable[Part], *, draining: bool) -> Readiness:
    """Judge by the state of all parts."""
    parts = tuple(parts)
    if draining:
        return Readiness("draining", ready=False, parts=parts)
    has_source = any(part.kind == "source" and part.state is not State.DOWN for part in parts)
    has_vitals = all(part.state is not State.DOWN for part in parts if part.kind == "vital")
    if not (has_source and has_vitals):
        return Readiness("not_ready", ready=False, parts=parts)
    is_whole = all(part.state is State.OK for part in parts if part.kind != "backend")
    return Readiness("ready" if is_whole else "degraded", ready=True, parts=parts)


class Ticker:
    """Ticks on the event loop and measures how late each tick comes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self.lag = 0.0

    async def run(self) -> None:
        """Tick for ever; a loop for `Tasks.keep`."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()

    def tick(self) -> None:
        """Note that the loop runs. `lag` is by how many seconds this tick came late."""
        now = self._clock()
        self.lag = max(0.0, now - self._last - TICK)
        self._last = now

    def is_alive(self) -> bool:
        """Tell whether the last tick was recent."""
        return self._clock() - self._last < DEAD_AFTER


class Health:
    """Answers /livez and /readyz. `parts` is called for each question and must be quick."""

    def __init__(self, ticker: Ticker, parts: Callable[[], Iterable[Part]]) -> None:
        self.draining = False
        self._ticker = ticker
        self.parts = parts

    def readiness(self) -> Readiness:
        """Return the present judgement."""
        return judge(self.parts(), draining=self.draining)

    async def livez(self, _request: Request) -> Response:
        """200 while the event loop ticks."""
        alive = self._ticker.is_alive()
        return text("alive\n" if alive else "the event loop does not tick\n", 200 if alive else 503)

    async def readyz(self, request: Request) -> Response:
        """200 when requests may be sent here. `?verbose` gives every part as JSON."""
        readiness = self.readiness()
        status = 200 if readiness.ready else 503
        if "verbose" in request.query:
            return Response(msgspec.json.encode(readiness), status, "application/json")
        return text(f"{readiness.status}\n", status)
