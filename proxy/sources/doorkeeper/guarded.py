"""A database behind a breaker: while it does not answer, a look-up is told so at once instead of waiting for its deadline.

Only look-ups are held back, for requests wait for them. The re-read of tokens in use goes on once a second whatever the
breaker says, costs no request anything, and closes it as soon as it is answered. Diagnoses are dear and may well run into their
own limit: they tell nothing about the server, and are not made while it is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from proxy.core.finding import Finding
from proxy.core.token import Known, Sibling
from proxy.sources.breaker import Breaker, BreakerOptions, State
from proxy.sources.doorkeeper.database import Answer, Database, Found, Kin, Trouble
from proxy.sources.doorkeeper.rows import Version

OPTIONS: Final = BreakerOptions(longest=4.0)
"""A failover takes tens of seconds; one look-up in four seconds finds its end soon enough where no token is in use."""

AWAY: Final = frozenset({"timeout", "refused", "starting"})
"""Troubles that mean that the server does not answer. `error` is an answer, and `overload` may be our own queue."""


class Guarded:
    """See the module. A Database."""

    def __init__(
        self, database: Database, monotonic: Callable[[], float] = time.monotonic, options: BreakerOptions = OPTIONS
    ) -> None:
        self.via = database.via
        self.database = database
        self.breaker = Breaker(options, monotonic)

    async def by_forms(self, forms: Sequence[str]) -> Answer:
        """See Database. Trouble("breaker") at once while the server does not answer."""
        if not self.breaker.admits():
            raise self._closed_off()
        try:
            answer = await self.database.by_forms(forms)
        except Trouble as trouble:
            if trouble.why in AWAY:
                self.breaker.failed(trouble.why)
            else:
                self.breaker.abandoned()
            raise
        except BaseException:
            self.breaker.abandoned()
            raise
        self.breaker.succeeded()
        return answer

    async def by_keys(self, keys: Sequence[int | str], versions: Sequence[Version | None]) -> Answer:
        """See Database. Asks in any case, and what is answered closes the breaker."""
        answer = await self.database.by_keys(keys, versions)
        self.breaker.succeeded()
        return answer

    async def kin(self, known: Known) -> Kin:
        """See Database."""
        self._insist()
        return await self.database.kin(known)

    async def granted(self, known: Known) -> bool | None:
        """See Database."""
        self._insist()
        return await self.database.granted(known)

    async def same_instant(self, known: Known) -> tuple[Sequence[Sibling], int]:
        """See Database."""
        self._insist()
        return await self.database.same_instant(known)

    async def near(self, candidates: Sequence[str], prefix: str | None) -> Sequence[Found]:
        """See Database."""
        self._insist()
        return await self.database.near(candidates, prefix)

    async def flags(self) -> tuple[str, ...]:
        """See Database."""
        self._insist()
        return await self.database.flags()

    async def check(self) -> Sequence[Finding]:
        """See Database."""
        return await self.database.check()

    async def close(self) -> None:
        """See Database."""
        await self.database.close()

    def _insist(self) -> None:
        if self.breaker.state is State.OPEN:
            raise self._closed_off()

    def _closed_off(self) -> Trouble:
        return Trouble("breaker", f"the database is not asked again yet: {self.breaker.why}")
