"""What is in force now: token sources with their memory, and the road. Both may be changed while the proxy runs.

Who lives as long as the process (evidence, metrics, pages) holds a `Present` and so always asks those in force.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import structlog

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.token import Known, Reading, Surroundings, TokenSource, TokenState, Unavailable
from proxy.edge.listener import Listener
from proxy.evidence.clerk import Clerk
from proxy.observe.metrics import Metrics
from proxy.settings import Settings
from proxy.sources.breaker import Breaker
from proxy.tasks import Report, Tasks
from proxy.wire.data_plane import DataPlane
from proxy.wire.outages import Outages
from proxy.wire.standing import Standing
from proxy.wire.state import StartFault
from proxy.wire.token_sources import fresh_of, in_place, one_of, sources_of
from proxy.wire.witnessing import RememberedTokens

CHECK_SECONDS: Final = 5.0
"""For a source that is to take another's place to answer its first question; a database on the network needs milliseconds."""

ASK_EVERY: Final = 1.0
"""Seconds between questions to a source that is in trouble; while its breaker is open they do not reach it."""

_log = structlog.get_logger("sources")


@runtime_checkable
class WithBreaker(Protocol):
    """A source that is left alone for a while when it does not answer."""

    @property
    def breaker(self) -> Breaker:
        """Its breaker."""


@runtime_checkable
class Standalone(Protocol):
    """A source that judges most tokens by themselves, and by what it holds: a token that nobody has tells nothing of that."""

    async def stands(self) -> Reading:
        """Unavailable while what it needs is not there, else Unknown."""


@runtime_checkable
class Checking(Protocol):
    """A source that compares itself with another."""

    disagreements: int


class Sources:
    """Every configured source, alone; with an end of its own."""

    def __init__(self, settings: Settings, fingerprinter: Fingerprinter, report: Report) -> None:
        self._tasks = Tasks(report)
        self._all = sources_of(settings, fingerprinter, self._tasks, lambda text: _log.warning("token_file", detail=text))
        self._placed = in_place(self._all, settings, self._tasks)
        self.whole = one_of(self._placed)
        self.fingerprinter = fingerprinter

    @property
    def tasks(self) -> Tasks:
        """Where their look-ups run."""
        return self._tasks

    @property
    def names(self) -> list[str]:
        """The names of the sources, in the order in which they are asked."""
        return [source.name for source in self._placed]

    @property
    def every(self) -> list[str]:
        """The names of all sources, also of an endpoint that only checks another."""
        return [source.name for source in self._all]

    def breakers(self) -> dict[str, Breaker]:
        """The breaker before each source that is an endpoint or a database (its primary)."""
        return {source.name: source.breaker for source in self._all if isinstance(source, WithBreaker)}

    def disagreements(self) -> dict[str, float]:
        """For each table that is checked by an endpoint: the tokens of which they say different things."""
        return {source.name: float(source.disagreements) for source in self._placed if isinstance(source, Checking)}

    def start(self) -> None:
        """Start what the sources themselves have to do: to look at files, to fetch keys."""
        for source in self._all:
            if (run := getattr(source, "run", None)) is not None:
                _ = self._tasks.keep(run, type(source).__name__)

    async def ask(self, names: Collection[str]) -> AsyncIterator[Reading]:
        """What each of these says of a token that nobody has, or of itself where it need not be asked about one (`stands`)."""
        raw = os.urandom(24).hex().encode()
        for source in self._all:
            if source.name not in names:
                continue
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    reading = await _question(source, Secret(raw, self.fingerprinter.of(raw)))
            except TimeoutError:
                late = Unavailable("timeout", f"it does not answer within {CHECK_SECONDS:g} s")
                reading = Reading(late, source.name, "", time.time())
            yield reading

    async def close(self) -> None:
        """End every task and connection of theirs."""
        await self._tasks.close()
        for source in self._all:
            if (close := getattr(source, "close", None)) is not None:
                await close()


async def _question(source: TokenSource, secret: Secret) -> Reading:
    return await (source.stands() if isinstance(source, Standalone) else source.second_look(secret))


class TokenSide:
    """The sources, what memory has of them, and what of it is remembered."""

    def __init__(
        self, settings: Settings, fingerprinter: Fingerprinter, clerk: Clerk, metrics: Metrics, report: Report
    ) -> None:
        self.fingerprinter = fingerprinter
        self.sources = Sources(settings, fingerprinter, report)
        self.fresh = fresh_of(settings, self.sources.whole, self.sources.tasks, clerk.changed)
        self.standing = Standing()
        self.outages = Outages()
        self.tokens = RememberedTokens(self.fresh, clerk, metrics.saw_lookup, self._saw)

    def start(self) -> None:
        """Keep the tokens in use fresh."""
        self.sources.start()
        _ = self.sources.tasks.keep(self.fresh.run, type(self.fresh).__name__)

    async def check(self) -> None:
        """Ask each source for a token that nobody has. StartFault when one does not answer."""
        async for reading in self.sources.ask(self.sources.every):
            if isinstance(reading.state, Unavailable):
                raise StartFault(f"source {reading.source}: {reading.state.why}. {reading.state.detail}".strip())
            self.standing.answered(reading)

    def mind(self) -> None:
        """From now on, ask whoever is in trouble or was never asked, so that log and readiness tell of a wrong address before a
        client comes, and of an end of trouble without one."""
        _ = self.sources.tasks.keep(self._mind, "questions to sources")

    async def _mind(self) -> None:
        while True:
            silent = self.fresh.take_silent()
            self.standing.doubt(silent)
            for reading in silent.values():
                self.outages.not_read_again(reading)
            async for reading in self.sources.ask(self.standing.due(self.sources.every)):
                self.standing.answered(reading)
                self.outages.saw(reading)
            await asyncio.sleep(ASK_EVERY)

    def _saw(self, reading: Reading) -> None:
        self.standing.saw(reading)
        self.outages.saw(reading)


class Present:
    """See the module. Also the TokenSource over the sources in force."""

    name = "present"

    def __init__(self) -> None:
        self.side: TokenSide
        self.plane: DataPlane
        self.listener: Listener
        self.leaving: set[DataPlane] = set()

    @property
    def source(self) -> TokenSource:
        """The sources in force."""
        return self.side.sources.whole

    @property
    def inflight(self) -> int:
        """Requests on the road in force, and on those that are left behind."""
        return self.plane.handler.inflight + sum(plane.handler.inflight for plane in self.leaving)

    def former(self, secret: Secret) -> tuple[str, ...]:
        """The names of a token under the keys from before."""
        return self.side.fingerprinter.former(secret.reveal())

    def forget(self, fingerprint: str) -> None:
        """Somebody of the fleet saw a token change."""
        self.side.fresh.forget(fingerprint)

    def forget_all(self) -> None:
        """The fleet may have seen anything change."""
        self.side.fresh.forget_all()

    async def read(self, secret: Secret) -> Reading:
        """See TokenSource."""
        return await self.source.read(secret)

    async def second_look(self, secret: Secret) -> Reading:
        """See TokenSource."""
        return await self.source.second_look(secret)

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """See TokenSource."""
        return await self.source.reread(known)

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """See TokenSource."""
        return await self.source.surroundings(secret, state)
