"""What is around a token, gathered step by step so that a time limit leaves what was found before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from proxy.core.credential import Secret
from proxy.core.token import Known, NearMiss, Sibling, Surroundings, TokenState
from proxy.sources.doorkeeper import near
from proxy.sources.doorkeeper.database import Database, Found, Kin
from proxy.sources.doorkeeper.options import Hashing, Options
from proxy.sources.doorkeeper.rows import MARK_HEX_DIGITS, to_known

_HEX_DIGITS: Final = 64


class Around:
    """One look at what explains a state: siblings and mass events of a row, near misses of a secret without one."""

    def __init__(self, database: Database, options: Options, fingerprint: Callable[[bytes], str]) -> None:
        self._database = database
        self._options = options
        self._fingerprint = fingerprint
        self._flags: tuple[str, ...] = ()
        self._siblings: list[Sibling] = []
        self._near: list[NearMiss] = []
        self._values: dict[NearMiss, str] = {}
        self._same_instant = 0
        self._granted: bool | None = None

    async def look(self, secret: Secret, state: TokenState) -> None:
        """Gather. Trouble when the database gives up; what was found by then stays."""
        self._flags = await self._database.flags()
        in_place = isinstance(state, Known) and await self._look_at_kin(state, secret)
        if not in_place or (isinstance(state, Known) and not self._options.hashing.finds(state.stored)):
            await self._look_for_near_misses(secret)
        if isinstance(state, Known) and state.revoked_at is not None:
            siblings, self._same_instant = await self._database.same_instant(state)
            self._siblings.extend(siblings)
        if isinstance(state, Known):
            self._granted = await self._database.granted(state)

    def result(self, read_at: float, source: str, error: str | None) -> Surroundings:
        """Return what was found."""
        return Surroundings(
            read_at=read_at,
            source=source,
            siblings=tuple(self._siblings),
            near_misses=tuple(self._near),
            same_instant_count=self._same_instant,
            schema_flags=tuple(dict.fromkeys(self._flags)),
            error=error,
            granted=self._granted,
        )

    async def _look_at_kin(self, known: Known, secret: Secret) -> bool:
        """Whether the row still holds the same secret."""
        kin: Kin = await self._database.kin(known)
        for sibling, stored in zip(kin.siblings, kin.tokens, strict=True):
            named = sibling
            if self._options.hashing is Hashing.PLAIN:
                named = msgspec.structs.replace(sibling, fingerprint=self._fingerprint(stored.encode()))
            self._siblings.append(named)
        if kin.stored is None:
            return False
        in_place = self._fingerprint(kin.stored.encode())[:MARK_HEX_DIGITS] == known.stored_mark
        if not in_place:
            otherwise = near.other_make(kin.stored, secret.reveal(), known.stored)
            self._flags = (*self._flags, "secret_replaced", *(("stored_otherwise",) if otherwise else ()))
        return in_place

    async def _look_for_near_misses(self, secret: Secret) -> None:
        presented = secret.reveal()
        chosen = near.candidates(presented)
        if not chosen:
            return
        await self._find(near.forms(chosen), near.prefix(presented), presented)
        await self._tell_whose()
        if self._options.hashing is Hashing.PLAIN or self._near:
            return
        await self._find(near.digests(near.completions(presented)), None, presented)
        await self._tell_whose()
        if self._options.hashing is Hashing.SHA256:
            spelling = ("one_case",) if near.one_case(presented) else ()
            self._flags = (*self._flags, "digests_only", *spelling)

    async def _find(self, values: Mapping[str, tuple[near.Candidate, str]], prefix: str | None, presented: bytes) -> None:
        there = await self._database.near(list(values), prefix) if values else ()
        alone = len({found.value for found in there if prefix is not None and prefix in found.value}) == 1
        for found in there:
            known = found.value in values
            miss = self._by_value(found, values) if known else self._by_ends(found, prefix, presented, alone=alone)
            if miss is not None and miss not in self._near:
                self._near.append(miss)
                if miss.column == "token":
                    self._values[miss] = found.value

    async def _tell_whose(self) -> None:
        """Of the tokens that were found: of which tenant they are, and whether they are alive."""
        if not self._values:
            return
        answer = await self._database.by_forms(list(self._values.values()))
        for miss, value in self._values.items():
            row = answer.by_token.get(value)
            if row is not None:
                known = to_known(row, "plain", self._fingerprint)
                tenant = None if known.tenant.startswith("_") else known.tenant
                told = msgspec.structs.replace(miss, tenant=tenant, over=_over(known, answer.source_time))
                self._near[self._near.index(miss)] = told
        self._values.clear()

    def _by_value(self, found: Found, values: Mapping[str, tuple[near.Candidate, str]]) -> NearMiss:
        candidate, form = values[found.value]
        column = found.column
        if column == "token":
            self._flags = (*self._flags, f"stored_as_{form}")
            if form == "plain" and self._options.hashing is not Hashing.PLAIN and _is_digest(found.value):
                column = "digest"
        return NearMiss(candidate.change, column, self._fingerprint(candidate.plain), found.row, found.tenant)

    def _by_ends(self, found: Found, prefix: str | None, presented: bytes, *, alone: bool) -> NearMiss | None:
        if found.column == "digest":
            return NearMiss("none", "digest", self._fingerprint(presented), found.row, found.tenant)
        change = near.relation(prefix, found.value, alone=alone) if prefix is not None else None
        if change is None or _is_digest(found.value):
            return None
        return NearMiss(change, found.column, self._fingerprint(found.value.encode()), found.row, found.tenant)


def _over(row: Known, now: float) -> str:
    """What ended a row by `now` of its database's clock, empty while it is alive. Doorkeeper's own precedence."""
    if row.revoked_at is not None and row.revoked_at <= now:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at < now else ""


def _is_digest(value: str) -> bool:
    return len(value) == _HEX_DIGITS and all(character in "0123456789abcdef" for character in value)
