"""Look up and decide: from a credential to a verdict, with the reading it rests on.

A token in use is judged from memory. A refusal never rests on memory: the source's primary is asked once more first, and
if that changes the picture the new picture counts (facts: replica lag, a row just inserted, a cache just stale).
Where the source's clock and ours are far apart, one of them is wrong and nobody here can say which: what holds by both is said,
and what holds by one of them alone is 503, neither a false 401 nor a revoked token let through.
"""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

from proxy.core.credential import Bearer, Credential, Secret
from proxy.core.policy import Policy
from proxy.core.scim import Operation
from proxy.core.token import Known, Reading
from proxy.core.verdict import Allow, Deny, Reason, Unable, Verdict, decide


class Held(Protocol):
    """A reading in memory, with the monotonic time it was made. `dispute`: how many seconds the source's clock is ahead of
    ours, 0 where they agree."""

    reading: Reading
    dispute: float

    def age(self, mono: float) -> float:
        """Seconds since it was made."""

    def now(self, mono: float) -> float:
        """UTC epoch seconds by the source's clock, or ours where it has none."""


class Tokens(Protocol):
    """The tokens that are known here."""

    def held(self, fingerprint: str) -> Held | None:
        """What memory has; never waits."""

    async def read(self, secret: Secret) -> Held:
        """Memory, else the source, once however many ask."""

    async def second_look(self, secret: Secret) -> Held:
        """The source's primary, past every cache."""


class Judgement(msgspec.Struct, frozen=True):
    """A verdict and what it rests on. `first` is the reading before the second look, where that made a difference in time
    or source."""

    verdict: Verdict
    held: Held | None = None
    first: Reading | None = None
    age: float = 0.0

    @property
    def row(self) -> Known | None:
        """The row, where there is one."""
        state = self.held.reading.state if self.held is not None else None
        return state if isinstance(state, Known) else None


class Judge:
    """See the module."""

    def __init__(self, tokens: Tokens, policy: Policy) -> None:
        self._tokens = tokens
        self._policy = policy

    def from_memory(self, credential: Credential, operation: Operation) -> Judgement | None:
        """Judge without waiting; None when only the source can tell. Never a refusal of a token."""
        if not isinstance(credential, Bearer):
            return Judgement(decide(credential, time.time(), 0.0, self._policy, operation))
        held = self._tokens.held(credential.secret.fingerprint)
        if held is None:
            return None
        judgement = self._judge(held, operation, None)
        return judgement if isinstance(judgement.verdict, Allow) else None

    async def from_source(self, secret: Secret, operation: Operation) -> Judgement:
        """Judge by what the source says, with a second look before any refusal."""
        asked = time.monotonic()
        held = await self._tokens.read(secret)
        judgement = self._judge(held, operation, None)
        if not isinstance(judgement.verdict, Deny) or self._is_final(held, asked):
            return judgement
        return self._judge(await self._tokens.second_look(secret), operation, held.reading)

    async def fresh(self, secret: Secret, operation: Operation) -> Judgement:
        """Judge by the primary alone: the exact state at this moment."""
        return self._judge(await self._tokens.second_look(secret), operation, None)

    def _is_final(self, held: Held, asked: float) -> bool:
        """Whether a reading was made from the primary after this request asked for it."""
        return held.reading.via == "primary" and held.age(time.monotonic()) <= time.monotonic() - asked

    def _judge(self, held: Held, operation: Operation, first: Reading | None) -> Judgement:
        mono = time.monotonic()
        age = held.age(mono)
        now = held.now(mono)
        verdict = decide(held.reading.state, now, age, self._policy, operation)
        if held.dispute:
            ours = decide(held.reading.state, now - held.dispute, age, self._policy, operation)
            if type(ours) is not type(verdict):
                verdict = Unable(Reason.SOURCE_UNAVAILABLE)
        return Judgement(verdict, held, first, age)
