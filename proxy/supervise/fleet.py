"""All workers together: how many are ready, what their parts, totals and metrics are, and their end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

import msgspec

from proxy.admin.health import Part, State
from proxy.admin.ring import Totals
from proxy.observe.lately import p95, summed
from proxy.supervise.channel import ChannelClosed, Status
from proxy.supervise.slot import Hand, Slot
from proxy.tasks import Tasks
from proxy.wire.program import report

ENOUGH: Final = 0.5
"""The share of workers that must be ready for requests to be sent here: the rest can bear it, and replacing them one at a time
never goes below."""
SCRAPE_SECONDS: Final = 5.0
"""For a worker to give its metrics: half of the usual time-out of a scrape. One that is late is left out."""


class Fleet:
    """The slots, each with its worker. `launch` starts the worker of a number, with the settings in force."""

    def __init__(self, size: int, launch: Callable[[int], Awaitable[Hand]]) -> None:
        self.tasks = Tasks(report)
        self.slots = [Slot(number, self._launch, self.tasks) for number in range(1, size + 1)]
        self._launch_one = launch
        self._alive: set[Hand] = set()

    async def _launch(self, number: int) -> Hand:
        hand = await self._launch_one(number)
        self._alive = {one for one in self._alive if one.process.returncode is None} | {hand}
        return hand

    async def start(self) -> None:
        """Start all at once, and keep every slot filled from then on. StartFault."""
        filling = [self.tasks.start(slot.fill(), f"slot {slot.number}") for slot in self.slots]
        await asyncio.gather(*filling)
        for slot in self.slots:
            _ = self.tasks.keep(slot.run, f"slot {slot.number}")

    async def end(self, seconds: float) -> None:
        """Start no more, and let all that live drain, those too that were replaced; at most so long."""
        await self.tasks.close()
        await asyncio.gather(*(hand.end(seconds) for hand in self._alive))

    def hands(self) -> list[Hand]:
        """The workers that are in their places now."""
        return [slot.hand for slot in self.slots if slot.hand is not None]

    @property
    def ready(self) -> int:
        """How many may be sent requests."""
        return sum(hand.status is not None and hand.status.ready for hand in self.hands())

    def restarts(self) -> dict[str, float]:
        """How often each slot had to be filled anew."""
        return {str(slot.number): float(slot.restarts) for slot in self.slots}

    def parts(self) -> Iterator[Part]:
        """The workers, of which enough must be ready; then each of their parts, as it is where it is worst, and as fast as it
        is in all of them together."""
        ready, size = self.ready, len(self.slots)
        enough = ready >= max(1, math.ceil(size * ENOUGH))
        state = State.DOWN if not enough else State.OK if ready == size else State.DEGRADED
        yield Part("workers", state, f"{ready} of {size} ready", kind="source")
        worst: dict[str, Part] = {}
        order = list(State)
        statuses = {slot.number: slot.hand.status for slot in self.slots if slot.hand is not None and slot.hand.status}
        for number, status in statuses.items():
            for part in status.parts:
                seen = worst.get(part.name)
                if part.name != "settings" and (seen is None or order.index(part.state) > order.index(seen.state)):
                    detail = f"worker {number}: {part.detail}" if part.state is not State.OK else part.detail
                    kind = "backend" if part.kind == "backend" else "other"
                    worst[part.name] = Part(part.name, part.state, detail, kind, None, part.breaker)
        for part in worst.values():
            yield msgspec.structs.replace(part, p95=_together(part.name, statuses.values()))

    def totals(self) -> Totals:
        """What the pages' ring samples: sums, and the worst lag."""
        # the last word of each: without that of a worker that is late once, all it ever did would seem to happen anew
        statuses = [hand.told for hand in self.hands() if hand.told is not None]
        return Totals(
            sum(status.requests for status in statuses),
            sum(status.incidents for status in statuses),
            sum(status.inflight for status in statuses),
            max((status.lag for status in statuses), default=0.0),
            summed(status.durations for status in statuses),
        )

    async def metrics(self) -> dict[str, str]:
        """The metrics of every worker that gives them in time, by its number."""
        asked = [(str(slot.number), slot.hand) for slot in self.slots if slot.hand is not None]
        texts = await asyncio.gather(*(_metrics(hand) for _, hand in asked))
        return {number: text for (number, _), text in zip(asked, texts, strict=True) if text}


def _together(name: str, statuses: Iterable[Status]) -> float | None:
    """The 95th percentile of a part over all workers; None when none of them tells one of it."""
    told = [status for status in statuses if any(part.name == name and part.p95 is not None for part in status.parts)]
    return p95(summed(status.grown.get(name, ()) for status in told))


async def _metrics(hand: Hand) -> str:
    try:
        return (await hand.ask("metrics", SCRAPE_SECONDS)).text
    except ChannelClosed:
        return ""
