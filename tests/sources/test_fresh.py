"""Memory, batches and rations around a scripted source, with a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from proxy.core.credential import Secret
from proxy.core.history import StateChange
from proxy.core.policy import Policy
from proxy.core.scim import OTHER_READ
from proxy.core.token import Known, Reading, Surroundings, TokenState, Unavailable, Unknown
from proxy.core.verdict import Reason, decide
from proxy.sources.fresh import Fresh, FreshOptions
from proxy.sources.held import Held
from tests.sources.conftest import secret

T, U = secret("token-t"), secret("token-u")
ALIVE = Known(row=1, tenant="acme", created_at=0.0, stored_mark="m")
REVOKED = Known(row=1, tenant="acme", created_at=0.0, revoked_at=5.0, stored_mark="m")
DOWN = Unavailable("refused")


class Clock:
    def __init__(self) -> None:
        self.mono = 1_000.0

    def __call__(self) -> float:
        return self.mono


class Scripted:
    """Answers what `rows`, by fingerprint, hold; `replica` may tell another story."""

    name = "scripted"

    def __init__(self, clock: Clock, *, has_clock: bool = True) -> None:
        self.clock = clock
        self.has_clock = has_clock
        self.wall_jump = 0.0
        self.rows: dict[str, TokenState] = {}
        self.replica: dict[str, TokenState] = {}
        self.replaced: set[int | str] = set()
        self.down = False
        self.calls: list[tuple[str, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, secret: Secret) -> Reading:
        return await self._answer("read", secret, self.replica | self.rows if not self.replica else self.replica)

    async def second_look(self, secret: Secret) -> Reading:
        return await self._answer("second_look", secret, self.rows)

    async def _answer(self, kind: str, secret: Secret, rows: Mapping[str, TokenState]) -> Reading:
        self.calls.append((kind, 1))
        await self.gate.wait()
        return self._reading(rows.get(secret.fingerprint, Unknown()))

    async def reread(self, known: Sequence[Known]) -> Mapping[int | str, Reading]:
        self.calls.append(("reread", len(known)))
        await self.gate.wait()
        by_row = {state.row: state for state in self.rows.values() if isinstance(state, Known)}
        return {k.row: self._reading(by_row.get(k.row, Unknown())) for k in known if k.row not in self.replaced}

    async def surroundings(self, secret: Secret, state: TokenState) -> Surroundings:
        raise NotImplementedError

    def _reading(self, state: TokenState) -> Reading:
        wall = self.clock.mono + self.wall_jump
        return Reading(
            DOWN if self.down else state, self.name, "primary", wall, self.clock.mono + 7 if self.has_clock else None
        )

    def count(self, kind: str) -> int:
        return sum(1 for called, _ in self.calls if called == kind)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def source(clock) -> Scripted:
    return Scripted(clock)


@pytest.fixture
def changes() -> list[tuple[str, StateChange]]:
    return []


@pytest.fixture
def fresh_with(source, tasks, clock, changes):
    def make(**options) -> Fresh:
        return Fresh(
            source,
            tasks,
            FreshOptions(**options),
            monotonic=clock,
            on_change=lambda name, change: changes.append((name, change)),
        )

    return make


async def use(fresh, source, count):
    """So many tokens, t0 and on, are alive and in use."""
    for number in range(count):
        one = secret(f"t{number}")
        source.rows[one.fingerprint] = Known(row=number, tenant="a", created_at=0.0)
        await fresh.read(one)


async def test_a_token_in_use_is_answered_from_memory(source, fresh_with):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    assert fresh.held(T.fingerprint) is None
    held = await fresh.read(T)
    for _ in range(100):
        assert fresh.held(T.fingerprint) is held
    assert source.calls == [("read", 1)]
    assert (fresh.stats().hits, fresh.stats().misses, fresh.stats().known) == (100, 1, 1)


async def test_callers_at_the_same_time_share_one_read_and_one_may_leave(source, fresh_with):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    source.gate.clear()
    callers = [asyncio.create_task(fresh.read(T)) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    callers[0].cancel()
    source.gate.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.state for answer in answers[1:]} == {ALIVE}
    assert source.count("read") == 1


async def test_a_round_reads_all_tokens_in_use_in_one_batch_and_tells_a_change(source, fresh_with, clock, changes):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    await fresh.read(T)
    source.rows[T.fingerprint] = REVOKED
    clock.mono += 1
    await fresh.refresh()
    held = fresh.held(T.fingerprint)
    assert held is not None
    assert (held.state, held.confirmed, held.age(clock.mono)) == (REVOKED, True, 0)
    assert changes == [(T.fingerprint, StateChange(ALIVE, REVOKED, 1_000.0, 1_001.0))]
    await fresh.refresh()
    assert len(changes) == 1


async def test_a_large_memory_is_read_again_in_chunks(source, fresh_with, monkeypatch):
    monkeypatch.setattr("proxy.sources.fresh.CHUNK", 10)
    fresh = fresh_with()
    await use(fresh, source, 25)
    await fresh.refresh()
    assert [count for kind, count in source.calls if kind == "reread"] == [10, 10, 5]


async def test_requests_have_their_turn_while_a_round_begins_and_ends(source, fresh_with, monkeypatch):
    monkeypatch.setattr("proxy.sources.fresh.TURN", 10)
    fresh = fresh_with()
    await use(fresh, source, 200)
    source.gate.clear()
    round_ = asyncio.ensure_future(fresh.refresh())
    turns = [0, 0]
    while not source.count("reread"):
        turns[0] += 1
        await asyncio.sleep(0)
    source.gate.set()
    while not round_.done():
        turns[1] += 1
        await asyncio.sleep(0)
    assert min(turns) >= 200 // 10
    await round_


async def test_a_token_that_was_read_anew_or_put_out_while_a_round_begins_is_not_its_matter(source, fresh_with, monkeypatch):
    monkeypatch.setattr("proxy.sources.fresh.TURN", 1)
    fresh = fresh_with()
    await use(fresh, source, 4)
    round_ = asyncio.ensure_future(fresh.refresh())
    await asyncio.sleep(0)
    anew, gone = secret("t3"), secret("t2")
    fresh.forget(gone.fingerprint)
    held = await fresh.second_look(anew)
    await round_
    assert [count for kind, count in source.calls if kind == "reread"] == [2]
    assert fresh.held(anew.fingerprint) is held
    assert fresh.held(gone.fingerprint) is None


async def test_a_row_that_is_gone_leaves_its_last_facts_and_is_watched_on(source, fresh_with, changes):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    await fresh.read(T)
    del source.rows[T.fingerprint]
    await fresh.refresh()
    held = fresh.held(T.fingerprint)
    assert held is not None
    assert (held.state, held.previous) == (Unknown(), ALIVE)
    assert (await fresh.second_look(T)).previous == ALIVE
    source.rows[T.fingerprint] = ALIVE
    await fresh.refresh()
    back = fresh.held(T.fingerprint)
    assert back is not None
    assert back.state == ALIVE
    assert [(change.before, change.after) for _, change in changes] == [(ALIVE, Unknown()), (Unknown(), ALIVE)]


async def test_a_row_with_another_secret_is_let_go_and_its_last_facts_are_told_at_the_next_read(source, fresh_with, changes):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    await fresh.read(T)
    source.replaced.add(1)
    await fresh.refresh()
    assert fresh.held(T.fingerprint) is None
    del source.rows[T.fingerprint]
    held = await fresh.read(T)
    assert (held.state, held.previous) == (Unknown(), ALIVE)
    assert [(change.before, change.after) for _, change in changes] == [(ALIVE, Unknown())]


async def test_a_source_that_is_down_lets_the_last_state_grow_old_and_then_serves_no_more(source, fresh_with, clock):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    await fresh.read(T)
    source.down = True
    reasons = []
    for _ in range(3):
        held = fresh.held(T.fingerprint)
        assert held is not None
        verdict = decide(held.state, held.now(clock.mono), held.age(clock.mono), Policy(stale_grace=10), OTHER_READ)
        reasons.append(verdict.reason)
        clock.mono += 10
        await fresh.refresh()
    assert reasons == [Reason.ACTIVE, Reason.ACTIVE_STALE, Reason.SOURCE_UNAVAILABLE]
    assert {source.name: DOWN} == {name: reading.state for name, reading in fresh.take_silent().items()}
    assert (await fresh.second_look(T)).state == DOWN
    source.down = False
    await fresh.refresh()
    again = fresh.held(T.fingerprint)
    assert again is not None
    assert (again.state, again.age(clock.mono), fresh.take_silent()) == (ALIVE, 0, {})


async def test_a_token_not_used_for_the_window_leaves_memory(source, fresh_with, clock):
    fresh = fresh_with(active_window=300)
    source.rows |= {T.fingerprint: ALIVE, U.fingerprint: Known(row=2, tenant="b", created_at=0.0)}
    await fresh.read(T)
    await fresh.read(U)
    for _ in range(5):
        clock.mono += 100
        fresh.held(U.fingerprint)
        await fresh.refresh()
    assert (fresh.held(T.fingerprint), fresh.held(U.fingerprint) is None) == (None, False)


async def test_memory_is_bounded_and_keeps_who_is_in_use(source, fresh_with):
    fresh = fresh_with(known_limit=10)
    for number in range(100):
        one = secret(f"t{number}")
        source.rows[one.fingerprint] = Known(row=number, tenant="a", created_at=0.0)
        await fresh.read(one)
        fresh.held(secret("t0").fingerprint)
        await fresh.refresh()
    assert (fresh.stats().known, fresh.stats().evictions) == (10, 90)
    assert fresh.held(secret("t0").fingerprint) is not None


async def test_an_unknown_token_is_remembered_briefly_and_in_bounds(source, fresh_with, clock):
    fresh = fresh_with(negative_limit=5)
    for number in range(20):
        await fresh.read(secret(f"guess{number}"))
    assert fresh.stats().negative == 5
    last = secret("guess19")
    assert fresh.held(last.fingerprint) is not None
    await fresh.read(last)
    assert source.count("read") == 20
    clock.mono += 2.1
    assert fresh.held(last.fingerprint) is None
    await fresh.read(last)
    assert source.count("read") == 21
    clock.mono += 2.1
    await fresh.refresh()
    assert fresh.stats().negative == 0


async def test_a_second_look_overrules_the_replica_and_stays(source, fresh_with, clock, changes):
    fresh = fresh_with()
    source.rows[T.fingerprint], source.replica = ALIVE, {"": Unknown()}
    assert (await fresh.read(T)).state == Unknown()
    clock.mono += 1
    assert (await fresh.second_look(T)).state == ALIVE
    held = fresh.held(T.fingerprint)
    assert held is not None
    assert held.state == ALIVE
    assert changes == [(T.fingerprint, StateChange(Unknown(), ALIVE, 1_000.0, 1_001.0))]


@pytest.mark.parametrize("before", [REVOKED, Unknown()])
async def test_a_replica_does_not_bring_back_what_the_primary_ended_however_long_ago(source, fresh_with, clock, before):
    fresh = fresh_with()
    source.rows[T.fingerprint], source.replica = before, {T.fingerprint: ALIVE}
    assert (await fresh.second_look(T)).state == before
    clock.mono += 10
    assert (await fresh.read(T)).state == before
    clock.mono += 10
    source.down = True
    assert (await fresh.read(T)).state == DOWN, "503, not the replica's word"


async def test_a_token_alive_again_is_accepted_at_once(source, fresh_with):
    fresh, source.rows[T.fingerprint] = fresh_with(), REVOKED
    await fresh.read(T)
    source.rows[T.fingerprint] = ALIVE
    assert (await fresh.second_look(T)).state == ALIVE
    held = fresh.held(T.fingerprint)
    assert held is not None
    assert held.state == ALIVE


async def test_beyond_the_ration_a_young_answer_of_the_primary_serves_and_else_it_is_asked_all_the_same(
    source, fresh_with, clock
):
    fresh = fresh_with(second_looks=1, second_looks_burst=2)
    for _ in range(5):
        assert (await fresh.second_look(T)).state == Unknown()
    assert source.count("second_look") == 2
    assert (await fresh.second_look(U)).state == Unknown()
    assert source.count("second_look") == 3
    assert fresh.stats().second_looks_rationed == 3
    clock.mono += 1
    await fresh.second_look(T)
    assert source.count("second_look") == 4


async def test_a_reading_of_the_replica_is_no_second_look_however_young(source, fresh_with):
    fresh = fresh_with(second_looks_burst=0)
    await fresh.read(T)
    await fresh.second_look(T)
    assert source.calls == [("read", 1), ("second_look", 1)]


async def test_an_unavailable_second_look_is_told_and_changes_nothing(source, fresh_with):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    held = await fresh.read(T)
    source.down = True
    assert (await fresh.second_look(T)).state == DOWN
    assert (await fresh.second_look(U)).state == DOWN
    assert fresh.held(T.fingerprint) is held
    assert fresh.held(U.fingerprint) is None


async def test_a_reread_that_was_overtaken_by_a_second_look_does_not_undo_it(source, fresh_with):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    await fresh.read(T)
    source.gate.clear()
    rounds = asyncio.create_task(fresh.refresh())
    look = asyncio.create_task(fresh.second_look(T))
    await asyncio.sleep(0)
    source.rows[T.fingerprint] = REVOKED
    fresh._known[T.fingerprint] = newer = fresh._keep(T.fingerprint, source._reading(REVOKED), 2_000.0, confirmed=True)
    source.gate.set()
    await asyncio.gather(rounds, look)
    held = fresh.held(T.fingerprint)
    assert held is not None
    assert (newer.state, held.state) == (REVOKED, REVOKED)


async def test_the_sources_clock_goes_on_whatever_ours_does(source, fresh_with, clock):
    fresh, source.rows[T.fingerprint] = fresh_with(), ALIVE
    source.wall_jump = 1e6
    held = await fresh.read(T)
    assert held.now(clock.mono + 5) == 1_012.0


async def test_without_a_clock_of_the_source_ours_counts(source, fresh_with, clock):
    fresh, source.rows[T.fingerprint], source.has_clock = fresh_with(), ALIVE, False
    held = await fresh.read(T)
    assert held.now(clock.mono + 5) == 1_005.0


async def test_the_loop_waits_only_for_what_is_left_of_the_second(source, tasks, clock):
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    fresh = Fresh(source, tasks, monotonic=clock, sleep=sleep)
    source.rows[T.fingerprint] = ALIVE
    await fresh.read(T)
    with pytest.raises(asyncio.CancelledError):
        await fresh.run()
    assert pauses == [1.0, 1.0, 1.0]
    assert source.count("reread") == 3


def test_the_clock_goes_on_where_a_source_says_again_what_it_read_before():
    """As an endpoint does that is asked every ten seconds: a token expires within them all the same."""
    reading = Reading(ALIVE, "endpoint", "introspection", 100.0)
    held = Held(reading, 10.0, 10.0, None, confirmed=False).again(reading, 15.0, 15.0)
    assert 105.0 == held.now(15.0)
    assert 200.0 == held.again(Reading(ALIVE, "endpoint", "introspection", 200.0), 20.0, 20.0).now(20.0)
