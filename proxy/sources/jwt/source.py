"""The TokenSource over signed tokens of one issuer, or of one that has many tenants as Entra has."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.finding import Finding, Level
from proxy.core.token import Known, NearMiss, Reading, Surroundings, TokenState, Unavailable, Unknown
from proxy.sources.breaker import Breaker
from proxy.sources.doorkeeper import near
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.jwt.facts import Rules, facts_of, tenant_by_issuer
from proxy.sources.jwt.keys import KeySet, KeysOptions
from proxy.sources.jwt.verify import TOKEN_LIMIT, Key, Opened, Refused, open_token, signed_by
from proxy.tasks import Tasks

NEAR_LIMIT: Final = 8
"""Likely meanings of a mangled token that are tried for one incident: each costs up to a millisecond of verification."""


class JwtOptions(msgspec.Struct, frozen=True):
    """`verified_limit`: verified tokens remembered, about 1 KB each; the longest unused go first."""

    keys: KeysOptions
    rules: Rules
    algorithms: frozenset[str]
    name: str = "jwt"
    verified_limit: int = 50_000


class Verified(msgspec.Struct, frozen=True):
    """What was verified, and by which key: while the issuer still has that key, it holds."""

    known: Known
    thumbprint: str


class Jwt:
    """Reads signed tokens. A row's key is its token's fingerprint; no secret is kept for re-reads."""

    def __init__(
        self,
        options: JwtOptions,
        fingerprinter: Fingerprinter,
        tasks: Tasks,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = options.name
        self._options = options
        self._fingerprint = fingerprinter.of
        self._wall = wall
        self.keys = KeySet(options.keys, tasks, monotonic=monotonic)
        self._verified: collections.OrderedDict[str, Verified] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._verified)

    @property
    def breaker(self) -> Breaker:
        """What leaves the key set's place alone when it does not answer."""
        return self.keys.breaker

    async def read(self, secret: Secret) -> Reading:
        """Verify it, or take what was verified before, as long as the issuer has the key."""
        kept = self._verified.get(secret.fingerprint)
        if kept is not None:
            self._verified.move_to_end(secret.fingerprint)
            state = self._still(kept)
            if isinstance(state, Known):
                return self._reading(state)
        return await self.second_look(secret)

    async def second_look(self, secret: Secret) -> Reading:
        """Verify it anew."""
        return self._reading(await self._state(secret))

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Look whether the keys are still there. A token that is no longer remembered is left out."""
        found: dict[int | str, Reading] = {}
        for row in known:
            kept = self._verified.get(str(row.row))
            if kept is not None:
                self._verified.move_to_end(str(row.row))
                found[row.row] = self._reading(self._still(kept))
        return found

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """No kin is known here. What a mangled token may have meant is tried by the keys at hand."""
        if isinstance(state, Known):
            return Surroundings(self._wall(), self.name)
        try:
            keys = await self.keys.ready()
        except Trouble as trouble:
            return Surroundings(self._wall(), self.name, error=trouble.why)
        for candidate in near.candidates(secret.reveal(), TOKEN_LIMIT)[:NEAR_LIMIT]:
            opened = open_token(candidate.plain, self._options.algorithms)
            if isinstance(opened, Opened) and candidate.plain != secret.reveal() and signed_by(opened, keys) is not None:
                name = self._fingerprint(candidate.plain)
                return Surroundings(self._wall(), self.name, near_misses=(NearMiss(candidate.change, "token", name, name),))
        return Surroundings(self._wall(), self.name)

    async def stands(self) -> Reading:
        """Unavailable while there is no key set to judge by, else Unknown."""
        try:
            _ = await self.keys.ready()
        except Trouble as trouble:
            return self._reading(Unavailable(trouble.why, trouble.detail))
        return self._reading(Unknown())

    async def check(self) -> list[Finding]:
        """Return findings for `scim-witness doctor`."""
        try:
            await self.keys.fetch()
            count = len(self.keys.keys)
        except Trouble as trouble:
            return [Finding(Level.FAULT, f"{trouble.why}: {trouble.detail}", "check jwks_url and the way there")]
        finally:
            await self.keys.close()
        return [Finding(Level.OK, f"the key set holds {count} keys for signatures")]

    async def run(self) -> None:
        """Keep the key set fresh: for Tasks.keep."""
        await self.keys.run()

    async def close(self) -> None:
        """Close every connection."""
        await self.keys.close()

    async def _state(self, secret: Secret) -> TokenState:
        opened = open_token(secret.reveal(), self._options.algorithms)
        if isinstance(opened, Refused):
            return Unknown(opened.why)
        by_issuer = tenant_by_issuer(opened.claims, self._options.rules)
        if isinstance(by_issuer, Refused):
            return Unknown(by_issuer.why)
        try:
            key = await self._key_of(opened)
        except Trouble as trouble:
            return Unavailable(trouble.why, trouble.detail)
        if isinstance(key, Refused):
            return Unknown(key.why)
        facts = facts_of(opened.claims, secret.fingerprint, self._options.rules, self._wall())
        if isinstance(facts, Refused):
            return self._refused(facts, opened, secret)
        self._remember(facts, key)
        return facts

    def _refused(self, facts: Refused, opened: Opened, secret: Secret) -> TokenState:
        """One that begins later by our clock alone is no refusal: one of the two clocks is wrong."""
        theirs = self.keys.time()
        if facts.why == "not_yet_valid" and theirs is not None:
            by_them = facts_of(opened.claims, secret.fingerprint, self._options.rules, theirs)
            if not isinstance(by_them, Refused):
                return Unavailable("error", "it begins later by our clock, and not by the issuer's")
        return Unknown(facts.why)

    async def _key_of(self, opened: Opened) -> Key | Refused:
        """The key that signed it. A signature that does not fit may be a key that was replaced under its old id."""
        keys = await self.keys.find(opened.kid)
        if not keys:
            return Refused("unknown_key")
        key = signed_by(opened, keys)
        if key is None and await self.keys.again():
            key = signed_by(opened, await self.keys.find(opened.kid))
        return key or Refused("bad_signature")

    def _still(self, kept: Verified) -> TokenState:
        try:
            there = self.keys.has(kept.thumbprint)
        except Trouble as trouble:
            return Unavailable(trouble.why, trouble.detail)
        if there:
            return kept.known
        self._verified.pop(str(kept.known.row), None)
        return Unknown("unknown_key")

    def _remember(self, known: Known, key: Key) -> None:
        self._verified[str(known.row)] = Verified(known, key.thumbprint())
        self._verified.move_to_end(str(known.row))
        while len(self._verified) > self._options.verified_limit:
            self._verified.popitem(last=False)

    def _reading(self, state: TokenState) -> Reading:
        return Reading(state, self.name, "jwks", self._wall(), self.keys.time())
