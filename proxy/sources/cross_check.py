"""A table and another source of the same tokens, both asked: the table decides, and where they disagree that is on record.

    table says      the other says       the state
    Known           anything             the table's row; "inactive" of the other is a disagreement (a blind client, say)
    Unknown         anything             Unknown: a live refresh token is "active" to an introspection endpoint
    Unavailable     Known                the other's row
    Unavailable     Unknown              Unavailable: one source's outage never becomes a 401
    Unavailable     Unavailable          Unavailable

A request whose token the table knows does not wait for the other. Rows are named `source:row` outside, as in FirstMatch.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.credential import Secret
from proxy.core.token import Known, Reading, Surroundings, TokenSource, TokenState, Unavailable
from proxy.sources.first_match import FirstMatch, outside
from proxy.tasks import Tasks

COMPARED_AT_ONCE: Final = 100
"""Comparisons that may go on behind answered requests; beyond, the other is not asked, for nothing hangs on it."""

REMEMBERED: Final = 1_000
"""Tokens whose disagreement has been told already: told once each, and again when this many others came between."""

Disagreement = Callable[[str, Reading, Reading], None]


class CrossCheck:
    """Asks both. `report` gets the fingerprint and both readings of a token that is in one of the two only."""

    def __init__(self, table: TokenSource, other: TokenSource, tasks: Tasks, report: Disagreement) -> None:
        self.name = table.name
        self.disagreements = 0
        self._table = table
        self._other = other
        self._order = FirstMatch([table, other])
        self._tasks = tasks
        self._report = report
        self._comparing = 0
        self._told: collections.OrderedDict[str, float] = collections.OrderedDict()
        self._table_answers = True

    async def read(self, secret: Secret) -> Reading:
        """See the table above."""
        return await self._judged(secret, await self._table.read(secret))

    async def second_look(self, secret: Secret) -> Reading:
        """The same on the table's primary."""
        return await self._judged(secret, await self._table.second_look(secret))

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Each row by the source that it came from; rows of the other are left out, so read anew, once the table answers."""
        prefix = f"{self._other.name}:"
        if self._table_answers:
            known = [row for row in known if not str(row.row).startswith(prefix)]
        found = await self._order.reread(known)
        for row, reading in found.items():
            if not str(row).startswith(prefix):
                self._table_answers = not isinstance(reading.state, Unavailable)
        return found

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """What FirstMatch finds, the other's reading included, and since when they differ."""
        around = await self._order.surroundings(secret, state)
        return msgspec.structs.replace(around, cross_checked=True, differs_since=self._told.get(secret.fingerprint))

    async def _judged(self, secret: Secret, by_table: Reading) -> Reading:
        self._table_answers = not isinstance(by_table.state, Unavailable)
        if not self._table_answers:
            by_other = await self._other.read(secret)
            return outside(by_other) if isinstance(by_other.state, Known) else by_table
        self._compare_behind(secret, by_table)
        return outside(by_table)

    def _compare_behind(self, secret: Secret, by_table: Reading) -> None:
        if self._comparing >= COMPARED_AT_ONCE or secret.fingerprint in self._told:
            return
        self._comparing += 1
        _ = self._tasks.start(self._compare(secret, by_table), "cross-check")

    async def _compare(self, secret: Secret, by_table: Reading) -> None:
        try:
            by_other = await self._other.read(secret)
        finally:
            self._comparing -= 1
        if isinstance(by_other.state, Unavailable) or _agree(by_table, by_other) or secret.fingerprint in self._told:
            return
        self.disagreements += 1
        self._told[secret.fingerprint] = by_other.read_at
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        self._report(secret.fingerprint, by_table, by_other)


def _agree(by_table: Reading, by_other: Reading) -> bool:
    """An endpoint calls a token inactive that the table has as revoked or expired: that is no disagreement."""
    row = by_table.state
    if not isinstance(row, Known) or isinstance(by_other.state, Known):
        return isinstance(row, Known) == isinstance(by_other.state, Known)
    now = by_table.source_time or by_table.read_at
    return (row.revoked_at is not None and row.revoked_at <= now) or (row.expires_at is not None and row.expires_at < now)
