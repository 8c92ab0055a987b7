"""Told by the fleet that a token changed, memory lets go of it; but of no refusal, and of nothing while the source is away."""

from __future__ import annotations

import pytest

from proxy.core.history import StateChange
from proxy.core.token import Known, Unknown
from proxy.sources.first_match import FirstMatch
from proxy.sources.fresh import Fresh
from tests.sources.test_fresh import ALIVE, REVOKED, Clock, Scripted, T, U


@pytest.fixture
def changes() -> list[tuple[str, StateChange]]:
    return []


@pytest.fixture
async def world(tasks, changes):
    clock = Clock()
    source = Scripted(clock)
    fresh = Fresh(source, tasks, on_change=lambda name, change: changes.append((name, change)), monotonic=clock)
    return source, fresh, clock


async def test_a_living_token_is_asked_for_at_its_next_use_and_the_change_is_told(world, changes):
    source, fresh, _ = world
    source.rows[T.fingerprint] = ALIVE
    await fresh.read(T)
    source.rows[T.fingerprint] = REVOKED
    assert fresh.held(T.fingerprint).state == ALIVE
    fresh.forget(T.fingerprint)
    assert fresh.held(T.fingerprint) is None
    assert (await fresh.read(T)).state == REVOKED
    assert [(T.fingerprint, ALIVE, REVOKED)] == [(name, change.before, change.after) for name, change in changes]


async def test_a_revoked_token_is_not_forgotten_for_a_replica_that_holds_it_alive(world):
    source, fresh, _ = world
    source.rows[T.fingerprint] = REVOKED
    source.replica = {T.fingerprint: ALIVE}
    await fresh.second_look(T)
    fresh.forget(T.fingerprint)
    fresh.forget_all()
    held = fresh.held(T.fingerprint)
    assert isinstance(held.state, Known)
    assert held.state.revoked_at is not None


async def test_an_unknown_token_is_looked_up_at_once(world):
    source, fresh, _ = world
    assert (await fresh.read(T)).state == Unknown()
    source.rows[T.fingerprint] = ALIVE
    assert (await fresh.read(T)).state == Unknown(), "within negative_ttl"
    fresh.forget(T.fingerprint)
    assert (await fresh.read(T)).state == ALIVE


async def test_everything_is_asked_for_anew_unless_the_source_is_away(world):
    source, fresh, _ = world
    source.rows |= {T.fingerprint: ALIVE, U.fingerprint: Known(row=2, tenant="b", created_at=0.0, stored_mark="u")}
    for token in (T, U):
        await fresh.read(token)
    source.down = True
    await fresh.refresh()
    fresh.forget_all()
    assert fresh.held(T.fingerprint) is not None, "it is all there is while the source does not answer"
    source.down = False
    await fresh.refresh()
    fresh.forget_all()
    assert [None, None] == [fresh.held(token.fingerprint) for token in (T, U)]


async def test_of_two_sources_the_one_that_is_away_loses_nothing(tasks):
    clock = Clock()
    away, there = Scripted(clock), Scripted(clock)
    away.name = "away"
    fresh = Fresh(FirstMatch([away, there]), tasks, monotonic=clock)
    away.rows[T.fingerprint] = ALIVE
    there.rows[U.fingerprint] = Known(row=2, tenant="b", created_at=0.0, stored_mark="u")
    for token in (T, U):
        await fresh.read(token)
    away.down = True
    await fresh.refresh()
    fresh.forget_all()
    assert fresh.held(T.fingerprint) is not None, "it is all there is while its own source does not answer"
    assert fresh.held(U.fingerprint) is None
