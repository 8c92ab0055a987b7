"""Two clocks that are an hour apart: one of them is wrong. Nobody is refused and nobody let in by the word of one alone."""

from __future__ import annotations

import time

import pytest

from proxy.core.policy import Policy
from proxy.core.scim import Kind, Operation
from proxy.core.token import Known, Reading, Unknown
from proxy.core.verdict import Allow, Deny, Unable
from proxy.edge.judge import Judge
from proxy.sources.held import CLOCKS_AGREE, Held
from tests.sources.conftest import secret

HOUR = 3600.0
READ = Operation(Kind.LIST, "Users", writes=False)


class Tokens:
    """A source whose clock is ahead of ours by `offset`."""

    def __init__(self, state, offset: float) -> None:
        mono = time.monotonic()
        reading = Reading(state, "doorkeeper", "primary", time.time(), time.time() + offset)
        self._held = Held(reading, mono, mono, None, confirmed=True)

    def held(self, fingerprint):
        return self._held

    async def read(self, secret):
        return self._held

    async def second_look(self, secret):
        return self._held


def row(**changes) -> Known:
    return Known(row=1, tenant="acme", created_at=time.time() - 10 * HOUR, **changes)


def ends_in(seconds: float) -> Known:
    return row(expires_in=int(10 * HOUR + seconds))


@pytest.mark.parametrize(
    "state, offset, expected",
    [
        (row(), HOUR, Allow),
        (row(), -HOUR, Allow),
        (ends_in(HOUR / 2), HOUR, Unable),  # expired by the source's clock alone: 401 would be false if ours is right
        (ends_in(HOUR / 2), -HOUR, Allow),
        (ends_in(-HOUR / 2), HOUR, Deny),
        (ends_in(-HOUR / 2), -HOUR, Unable),  # alive by the source's clock alone: it may have ended long ago
        (row(revoked_at=time.time()), HOUR, Deny),
        (row(revoked_at=time.time()), -HOUR, Unable),  # revoked now, and the source's clock stands an hour before that
        (Unknown(), HOUR, Deny),
        (Unknown(), -HOUR, Deny),
        (ends_in(-2), -1, Deny),  # a second apart is the same clock, the source's
        (ends_in(1.5), CLOCKS_AGREE - 1, Deny),
    ],
)
async def test_what_holds_by_one_clock_alone_is_503(state, offset, expected):
    judge = Judge(Tokens(state, offset), Policy())
    assert expected is type((await judge.from_source(secret("t"), READ)).verdict)
    assert expected is type((await judge.fresh(secret("t"), READ)).verdict)
