"""The TokenSource over Doorkeeper's tables: reads go to the replica, what a refusal rests on to the primary."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.finding import Finding
from proxy.core.token import Known, Reading, Surroundings, TokenState, Unavailable, Unknown
from proxy.sources.breaker import Breaker
from proxy.sources.doorkeeper import around
from proxy.sources.doorkeeper.database import Answer, Database, Trouble
from proxy.sources.doorkeeper.guarded import Guarded
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.rows import MARK_HEX_DIGITS, Row, Version, match, stored_forms, to_known

TURN: Final = 100
"""Rows after which requests have their turn: some hundred microseconds."""
SPLITS: Final = 40
"""Halvings in one re-read to find the rows for which it fails: a dozen find one among 10,000, so this finds three."""
VERSIONS_LIMIT: Final = 250_000
"""Row versions remembered, about 30 MB at worst: more than FreshOptions.known_limit. Beyond it all are forgotten, and the
next re-read fetches every row once."""


class Doorkeeper:
    """Reads tokens of one Doorkeeper installation. Never raises for the database's own trouble."""

    def __init__(
        self,
        options: Options,
        primary: Database,
        replica: Database | None,
        fingerprinter: Fingerprinter,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = options.name
        self._options = options
        self._primary = Guarded(primary)
        self._replica = None if replica is None else Guarded(replica)
        self._fingerprint = fingerprinter.of
        self._wall = wall
        self._versions: dict[int | str, tuple[Version, Known]] = {}

    @property
    def breaker(self) -> Breaker:
        """The breaker before the primary."""
        return self._primary.breaker

    async def read(self, secret: Secret) -> Reading:
        """Read from the replica, where there is one and it answers; else from the primary."""
        if self._replica is not None:
            reading = await self._look(self._replica, secret)
            if not isinstance(reading.state, Unavailable):
                return reading
        return await self._look(self._primary, secret)

    async def second_look(self, secret: Secret) -> Reading:
        """Read from the primary."""
        return await self._look(self._primary, secret)

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Read rows again on the primary. A row that now holds another secret is left out; one that is gone is Unknown. What
        one row holds must not keep the others from being read: they are asked for in halves then."""
        found: dict[int | str, Reading] = {}
        parts = collections.deque([known] if known else [])
        splits = SPLITS
        while parts:
            part = parts.popleft()
            versions: list[Version | None] = []
            for start in range(0, len(part), TURN):
                versions += map(self._version_of, part[start : start + TURN])
                await asyncio.sleep(0)
            try:
                answer = await self._primary.by_keys([row.row for row in part], versions)
            except Trouble as trouble:
                if trouble.of_a_row and len(part) > 1 and splits:
                    splits -= 1
                    parts.extend((part[: len(part) // 2], part[len(part) // 2 :]))
                else:
                    found |= dict.fromkeys([row.row for row in part], self._unavailable(self._primary, trouble))
                continue
            found |= await self._again(part, answer)
        return found

    async def _again(self, known: Sequence[Known], answer: Answer) -> dict[int | str, Reading]:
        changed = {row.asked: row for row in answer.rows}
        found = {}
        for number, before in enumerate(known, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)
            state = self._state_again(before, changed[before.row]) if before.row in changed else before
            if state is not None:
                found[before.row] = Reading(state, self.name, self._primary.via, answer.read_at, answer.source_time)
        return found

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """Read what is around a token, within `surroundings_timeout`; what was found by then is kept."""
        found = around.Around(self._primary, self._options, self._fingerprint)
        error = None
        try:
            async with asyncio.timeout(self._options.surroundings_timeout):
                await found.look(secret, state)
        except TimeoutError:
            error = "timeout"
        except Trouble as trouble:
            error = f"{trouble.why}: {trouble.detail}" if trouble.detail else trouble.why
        return found.result(self._wall(), self.name, error)

    async def check(self) -> list[Finding]:
        """Return findings for `scim-witness doctor`."""
        found = list(await self._primary.check())
        if self._replica is not None:
            found.extend(await self._replica.check())
        return found

    async def close(self) -> None:
        """Close every connection."""
        await self._primary.close()
        if self._replica is not None:
            await self._replica.close()

    async def _look(self, database: Database, secret: Secret) -> Reading:
        presented = secret.reveal()
        forms = stored_forms(presented, self._options.hashing)
        if not forms:
            return Reading(Unknown(), self.name, database.via, self._wall())
        try:
            answer = await database.by_forms(forms)
        except Trouble as trouble:
            return self._unavailable(database, trouble)
        state = self._state(presented, forms, answer, remember=database is self._primary)
        return Reading(state, self.name, database.via, answer.read_at, answer.source_time)

    def _state(self, presented: bytes, forms: tuple[str, ...], answer: Answer, *, remember: bool) -> TokenState:
        matched = match(presented, forms, answer.by_token)
        if matched is None:
            return Unknown()
        row, stored = matched
        known = to_known(row, stored, self._mark)
        if remember:
            self._remember(row, known)
        return known

    def _state_again(self, before: Known, row: Row) -> TokenState | None:
        if row.id is None:
            self._versions.pop(before.row, None)
            return Unknown()
        known = to_known(row, before.stored, self._mark)
        if known.stored_mark != before.stored_mark:
            return None
        known = before if known == before else known
        self._remember(row, known)
        return known

    def _remember(self, row: Row, known: Known) -> None:
        if row.version is None:
            return
        if len(self._versions) >= VERSIONS_LIMIT:
            self._versions.clear()
        self._versions[known.row] = (row.version, known)

    def _version_of(self, known: Known) -> Version | None:
        """The version of exactly these facts: None when others were read since, or none."""
        kept = self._versions.get(known.row)
        return kept[0] if kept is not None and (kept[1] is known or kept[1] == known) else None

    def _mark(self, stored: bytes) -> str:
        return self._fingerprint(stored)[:MARK_HEX_DIGITS]

    def _unavailable(self, database: Database, trouble: Trouble) -> Reading:
        return Reading(Unavailable(trouble.why, trouble.detail), self.name, database.via, self._wall())
