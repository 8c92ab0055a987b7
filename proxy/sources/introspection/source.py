"""The TokenSource over an introspection endpoint.

A token can be asked about only by showing it. So the secrets of tokens that are alive and in use are kept, in memory alone and
bounded, and asked about again every `recheck_every` seconds, not every second: one call per token and not one query for all.
Until then a re-read answers with what was last said, whose `read_at` is the true one: a revocation is seen that much later.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import quote_plus

import msgspec

from proxy.core.credential import Fingerprinter, Secret
from proxy.core.finding import Finding, Level
from proxy.core.token import Known, NearMiss, Reading, Surroundings, TokenState, Unavailable, Unknown
from proxy.sources.breaker import Breaker
from proxy.sources.doorkeeper import near
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.rows import storable_text
from proxy.sources.endpoint import Answered, Endpoint, EndpointOptions
from proxy.sources.introspection.answer import Claims, read_answer

ROUND_SECONDS: Final = 2.0
"""For one round of re-reads. What is not answered by then is Unavailable this time, ages, and is asked first in the next."""

FORGET_AFTER: Final = 60.0
"""Seconds without a re-read after which a secret is forgotten: whoever keeps the token in use asks every second or so."""

NEAR_LIMIT: Final = 8
"""Likely meanings of a mangled token that are asked about for one incident: each is a call."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a client by Basic (RFC 6749 section 2.3.1) or in the form, or the holder of a bearer."""

    client_id: str = ""
    client_secret: str = ""
    bearer: str = ""
    in_form: bool = False

    def __repr__(self) -> str:
        return f"<Caller {self.client_id}>"

    def headers(self) -> dict[str, str]:
        """The Authorization field, if any."""
        if self.bearer:
            return {"Authorization": f"Bearer {self.bearer}"}
        if self.in_form:
            return {}
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    def form(self) -> dict[str, str]:
        """The form's fields, if any."""
        return {"client_id": self.client_id, "client_secret": self.client_secret} if self.in_form and not self.bearer else {}


class IntrospectionOptions(msgspec.Struct, frozen=True):
    """Durations in seconds. `secrets_limit`: tokens kept for re-reads, about 1 KB each. `doorkeeper`: a bearer that asks about
    an unknown token gets 401 there, as one does that is no longer accepted itself; its own words tell the two apart."""

    endpoint: EndpointOptions
    caller: Caller
    name: str = "introspection"
    claims: Claims = Claims()
    recheck_every: float = 10.0
    secrets_limit: int = 50_000
    doorkeeper: bool = False


class Kept:
    """A living token: its secret, what was last said, when that was asked for and when somebody last wanted it (monotonic)."""

    __slots__ = ("asked", "reading", "secret", "wanted")

    def __init__(self, secret: Secret, reading: Reading, asked: float) -> None:
        self.secret = secret
        self.reading = reading
        self.asked = self.wanted = asked


class Introspection:
    """Reads tokens by RFC 7662. Never raises for the endpoint's own trouble. A row's key is its token's fingerprint."""

    def __init__(
        self,
        options: IntrospectionOptions,
        fingerprinter: Fingerprinter,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = options.name
        self._options = options
        self._fingerprint = fingerprinter.of
        self._wall = wall
        self._monotonic = monotonic
        self.endpoint = Endpoint(options.endpoint, monotonic)
        self._again = Endpoint(options.endpoint, monotonic)  # no flood of guesses may stand before the tokens in use
        self._kept: collections.OrderedDict[str, Kept] = collections.OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def breaker(self) -> Breaker:
        """What leaves the endpoint alone when it does not answer."""
        return self.endpoint.breaker

    async def read(self, secret: Secret) -> Reading:
        """Ask the endpoint."""
        asked = self._monotonic()
        reading = self._reading(*await self._state(secret))
        self._keep(secret, reading, asked)
        return reading

    async def second_look(self, secret: Secret) -> Reading:
        """The same: there is nobody else to ask."""
        return await self.read(secret)

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        """Ask again about those whose last answer is older than `recheck_every`, the oldest first; the others as they were. A
        token whose secret is no longer kept is left out."""
        now = self._monotonic()
        self._forget(now)
        kept = {str(row.row): entry for row in known if (entry := self._kept.get(str(row.row))) is not None}
        for fingerprint, entry in kept.items():
            entry.wanted = now
            self._kept.move_to_end(fingerprint)
        due = sorted((e for e in kept.values() if now - e.asked >= self._options.recheck_every), key=lambda e: e.asked)
        answers = await self._ask_again(due)
        return {row: answers.get(row, entry.reading) for row, entry in kept.items()}

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        """No kin is known here. What a mangled token may have meant is asked about, a few times."""
        if isinstance(state, Known):
            return Surroundings(self._wall(), self.name)
        found, error = [], None
        for candidate in near.candidates(secret.reveal())[:NEAR_LIMIT]:
            if candidate.plain == secret.reveal():
                continue
            fingerprint = self._fingerprint(candidate.plain)
            meant, _ = await self._state(Secret(candidate.plain, fingerprint))
            if isinstance(meant, Known):
                found.append(NearMiss(candidate.change, "token", fingerprint, fingerprint, meant.tenant))
                break
            if isinstance(meant, Unavailable):
                error = meant.why
                break
        return Surroundings(self._wall(), self.name, near_misses=tuple(found), error=error)

    async def check(self) -> list[Finding]:
        """Return findings for `scim-witness doctor`: asks about a token that cannot exist."""
        try:
            state, _ = await self._state(Secret(b"scim-witness-doctor", self._fingerprint(b"scim-witness-doctor")))
        finally:
            await self.close()
        if isinstance(state, Unavailable):
            return [
                Finding(Level.FAULT, f"{state.why}: {state.detail}", "check url, credentials and the endpoint's certificate")
            ]
        return [
            Finding(Level.OK, "the endpoint answers and takes our credentials"),
            Finding(
                Level.WARNING,
                "whether it lets this client see every application's tokens cannot be told from here",
                "at Doorkeeper set allow_token_introspection; else every other application's token looks dead",
            ),
        ]

    async def run(self) -> None:
        """Hold the connections until the program ends: for Tasks.keep."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close every connection."""
        await self.endpoint.close()
        await self._again.close()

    async def _state(self, secret: Secret) -> tuple[TokenState, float | None]:
        text = storable_text(secret.reveal())
        if not text:
            return Unknown(), None
        return await self._ask(self.endpoint, text, secret.fingerprint)

    async def _ask(self, endpoint: Endpoint, token: str, row: str) -> tuple[TokenState, float | None]:
        """The state, and the time there."""
        caller = self._options.caller
        form = {"token": token, "token_type_hint": "access_token", **caller.form()}
        try:
            answer = await endpoint.call(caller.headers(), form)
        except Trouble as trouble:
            return Unavailable(trouble.why, trouble.detail), None
        return self._said(answer, row), answer.date

    def _said(self, answer: Answered, row: str) -> TokenState:
        bearer = self._options.caller.bearer
        if answer.status == 200:
            return read_answer(answer.body, row, self._options.claims)
        if answer.status == 401 and bearer:
            if self._options.doorkeeper and _is_about_the_token(answer.challenge):
                return Unknown()
            return Unavailable("error", "401: the token is unknown or our own bearer is not accepted; use client credentials")
        return Unavailable("error", f"the endpoint does not take our credentials or our question ({answer.status})")

    async def _ask_again(self, due: Sequence[Kept]) -> Mapping[str, Reading]:
        """Ask over as many connections as there are, for ROUND_SECONDS at most."""
        queue, answers = collections.deque(due), dict[str, Reading]()

        async def work() -> None:
            while queue:
                entry = queue.popleft()
                answers[entry.secret.fingerprint] = await self._once_more(entry)

        workers = min(len(due), self._options.endpoint.connections)
        try:
            async with asyncio.timeout(ROUND_SECONDS):
                await asyncio.gather(*(work() for _ in range(workers)))
        except TimeoutError:
            late = self._reading(Unavailable("overload", "the endpoint is too slow for all tokens in use"))
            for entry in due:
                answers.setdefault(entry.secret.fingerprint, late)
        return answers

    async def _once_more(self, entry: Kept) -> Reading:
        asked = self._monotonic()
        reading = self._reading(*await self._ask(self._again, entry.secret.reveal().decode(), entry.secret.fingerprint))
        self._keep(entry.secret, reading, asked)
        return reading

    def _keep(self, secret: Secret, reading: Reading, asked: float) -> None:
        if isinstance(reading.state, Unavailable):
            return
        if not isinstance(reading.state, Known):
            self._kept.pop(secret.fingerprint, None)
            return
        self._kept[secret.fingerprint] = Kept(secret, reading, asked)
        self._kept.move_to_end(secret.fingerprint)
        while len(self._kept) > self._options.secrets_limit:
            self._kept.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._kept:
            fingerprint, entry = next(iter(self._kept.items()))
            if now - entry.wanted <= FORGET_AFTER:
                return
            del self._kept[fingerprint]

    def _reading(self, state: TokenState, date: float | None = None) -> Reading:
        return Reading(state, self.name, "introspection", self._wall(), date)


def _is_about_the_token(challenge: str) -> bool:
    """Whether Doorkeeper's 401 to a bearer means the token asked about. Of our own bearer it would say that it expired or was
    revoked, or 400 when it is gone (lib/doorkeeper/oauth/token_introspection.rb); in another language nothing is assumed."""
    return 'error="invalid_token"' in challenge and "The access token is invalid" in challenge
