"""Steady load with valid, revoked and unknown tokens, and what came of every request. Pure accounting below the clients."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Final

import aiohttp
import msgspec

PATIENCE: Final = 12.0
"""Seconds after which a request counts as hung: longer than every wait of the proxy's configuration together."""

RIGHT_FOR: Final = 0.8
"""Seconds of right answers alone after which it counts as recovered: every kind of request is sent several times in it."""


class Kind(Enum):
    """What is sent, and so what must come back."""

    VALID = "valid"
    NEVER_SEEN = "never seen"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


RIGHT: Final = {Kind.VALID: 200, Kind.NEVER_SEEN: 200, Kind.REVOKED: 401, Kind.UNKNOWN: 401}


class Sent(msgspec.Struct, frozen=True):
    """One request. `started` and `ended` by the monotonic clock; `status` 0 when no answer came, with `error`."""

    kind: Kind
    token: str
    started: float
    ended: float
    status: int
    incident: str = ""
    error: str = ""

    @property
    def right(self) -> bool:
        """Whether it is the answer of a day without faults."""
        return self.status == RIGHT[self.kind]


class Load:
    """Sends until it is stopped. `unknown` makes a token that nobody has; `revoked_at` has the monotonic time from which on
    each revoked token is revoked."""

    def __init__(
        self, url: str, valid: list[str], revoked: list[str], never_seen: Iterator[str], patience: float = PATIENCE
    ) -> None:
        self._patience = patience
        self.unknown: Callable[[], str] = lambda: f"unknown-{secrets.token_hex(12)}"
        self.sent: list[Sent] = []
        self.revoked_at: dict[str, float] = dict.fromkeys(revoked, 0.0)
        self.may_be_refused: dict[str, float] = {}
        self._url = url
        self._valid = valid
        self._never_seen = never_seen
        self._tasks: list[asyncio.Task[None]] = []
        self._going = True

    def use(self, tokens: list[str]) -> None:
        """Send these too; they are valid."""
        self._valid = self._valid + tokens

    def revoking(self, token: str) -> None:
        """From now on this token may be refused: it is being revoked."""
        self.may_be_refused[token] = time.monotonic()

    def revoke(self, token: str) -> None:
        """From now on this token is revoked."""
        self._valid = [other for other in self._valid if other != token]
        self.revoked_at[token] = time.monotonic()

    def start(self) -> None:
        """Some 60 requests a second, one in eight on a connection of its own."""
        turn = itertools.count()

        def valid() -> str:
            return self._valid[next(turn) % len(self._valid)]

        def revoked() -> str:
            return list(self.revoked_at)[next(turn) % len(self.revoked_at)]

        plans: list[tuple[Kind, Callable[[], str], float, bool]] = [
            (Kind.VALID, valid, 0.06, True),
            (Kind.VALID, valid, 0.06, True),
            (Kind.VALID, valid, 0.13, False),
            (Kind.NEVER_SEEN, lambda: next(self._never_seen), 0.2, True),
            (Kind.REVOKED, revoked, 0.12, True),
            (Kind.UNKNOWN, self.unknown, 0.15, True),
        ]
        self._tasks = [asyncio.create_task(self._send(*plan)) for plan in plans]

    async def stop(self) -> None:
        """Let every request end."""
        self._going = False
        await asyncio.gather(*self._tasks)

    def since(self, moment: float) -> list[Sent]:
        """What was sent after a moment of the monotonic clock."""
        return [sent for sent in self.sent if sent.started >= moment]

    async def right_again(self, moment: float, seconds: float) -> float:
        """Wait until all kinds get right answers alone; returns the seconds after `moment` when the last wrong one ended."""
        deadline = time.monotonic() + seconds
        while True:
            wrong = max((sent.ended for sent in self.sent if not sent.right and sent.ended > moment), default=moment)
            after = [sent for sent in self.sent if sent.started > wrong and sent.right]
            if {sent.kind for sent in after} == set(Kind) and time.monotonic() - wrong > RIGHT_FOR:
                return wrong - moment
            if time.monotonic() > deadline:
                last = [sent for sent in self.sent if not sent.right][-3:]
                raise AssertionError(f"no recovery within {seconds:g} s; last wrong answers: {last}")
            await asyncio.sleep(0.05)

    async def _send(self, kind: Kind, token: Callable[[], str], pause: float, kept: bool) -> None:
        timeout = aiohttp.ClientTimeout(total=self._patience)
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout)) if kept else None
            while self._going:
                if session is not None:
                    await self._one(session, kind, token())
                else:
                    async with aiohttp.ClientSession(timeout=timeout) as own:
                        await self._one(own, kind, token())
                await asyncio.sleep(pause)

    async def _one(self, session: aiohttp.ClientSession, kind: Kind, token: str) -> None:
        started, status, incident, error = time.monotonic(), 0, "", ""
        try:
            async with session.get(f"{self._url}/scim/v2/Users", headers={"Authorization": f"Bearer {token}"}) as answer:
                await answer.read()
                status, incident = answer.status, answer.headers.get("X-Incident-Id", "")
        except (aiohttp.ClientError, OSError, TimeoutError) as trouble:
            error = (
                "hung" if isinstance(trouble, TimeoutError) and time.monotonic() - started >= self._patience else repr(trouble)
            )
        self.sent.append(Sent(kind, token, started, time.monotonic(), status, incident, error))


class Outcome(msgspec.Struct):
    """What the table says of one cell. `late`: how many seconds after its revocation a token was let through at the latest."""

    requests: int = 0
    false_401: int = 0
    false_allows: int = 0
    late: float = 0.0
    errors_5xx: int = 0
    cut: int = 0
    hung: int = 0
    incidents: int = 0
    lost: int = 0
    doubled: int = 0
    slowest: float = 0.0
    recovery: float = 0.0
    evidence: float = 0.0


def account(load: Load, bound: float) -> Outcome:
    """Count. `bound` in seconds: how long after its revocation a token may still be let through."""
    sent, revoked_at = load.sent, load.revoked_at
    found = Outcome(requests=len(sent))
    for one in sent:
        found.slowest = max(found.slowest, one.ended - one.started)
        found.errors_5xx += one.status >= 500
        found.cut += one.status == 0 and one.error != "hung"
        found.hung += one.error == "hung"
        if one.kind in {Kind.VALID, Kind.NEVER_SEEN}:
            found.false_401 += 400 <= one.status < 500 and load.may_be_refused.get(one.token, float("inf")) > one.ended
        elif one.status < 300 and one.status:
            over = one.started - revoked_at.get(one.token, 0.0) if one.kind is Kind.REVOKED else float("inf")
            found.late = max(found.late, over) if one.kind is Kind.REVOKED else found.late
            found.false_allows += over > bound
    found.incidents = len({one.incident for one in sent if one.incident})
    return found
