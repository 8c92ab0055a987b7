"""A dead database costs the first look-ups their deadline and the others nothing; it is in use again as soon as it answers."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.token import Known, Unavailable
from proxy.sources.breaker import BreakerOptions, State
from proxy.sources.doorkeeper.database import Answer, Trouble
from proxy.sources.doorkeeper.guarded import OPTIONS, Guarded
from proxy.wire.present import WithBreaker
from tests.sources.conftest import secret, tables_in
from tests.sources.mysql_tables import MysqlTables
from tests.sources.test_doorkeeper_faults import PATIENCE, a_token, until_known


class Scripted:
    """A database that answers as told, and counts how often it was asked."""

    via = "primary"

    def __init__(self) -> None:
        self.trouble: Trouble | None = None
        self.asked = 0

    async def by_forms(self, forms):
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return Answer([], 0.0, 0.0, {})

    async def by_keys(self, keys, versions):
        return await self.by_forms(keys)

    async def flags(self):
        return await self.by_forms([])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture
def clock():
    return Clock()


async def why(coroutine) -> str:
    try:
        await coroutine
    except Trouble as trouble:
        return trouble.why
    return "answered"


async def fail(guarded, scripted, trouble="timeout"):
    scripted.trouble = Trouble(trouble)
    return [await why(guarded.by_forms(["x"])) for _ in range(OPTIONS.failures + 2)]


@pytest.mark.parametrize("trouble", ["timeout", "refused", "starting"])
async def test_after_some_look_ups_without_an_answer_nobody_waits(scripted, clock, trouble):
    guarded = Guarded(scripted, clock)
    assert [trouble] * OPTIONS.failures + ["breaker"] * 2 == await fail(guarded, scripted, trouble)
    assert scripted.asked == OPTIONS.failures
    assert await why(guarded.flags()) == "breaker", "nor is a diagnosis made"


@pytest.mark.parametrize("trouble", ["error", "overload"])
async def test_an_error_or_our_own_queue_does_not_open_it(scripted, clock, trouble):
    guarded = Guarded(scripted, clock)
    assert [trouble] * (OPTIONS.failures + 2) == await fail(guarded, scripted, trouble)
    assert guarded.breaker.state is State.CLOSED


async def test_one_look_up_tries_again_after_the_pause(scripted, clock):
    guarded = Guarded(scripted, clock)
    await fail(guarded, scripted)
    clock.now += OPTIONS.pause
    assert ["timeout", "breaker"] == [await why(guarded.by_forms(["x"])) for _ in range(2)]
    scripted.trouble = None
    clock.now += 2 * OPTIONS.pause
    assert ["answered"] * 2 == [await why(guarded.by_forms(["x"])) for _ in range(2)]


async def test_a_re_read_is_never_held_back_and_closes_it(scripted, clock):
    guarded = Guarded(scripted, clock)
    await fail(guarded, scripted)
    assert await why(guarded.by_keys([1], [None])) == "timeout"
    scripted.trouble = None
    assert await why(guarded.by_keys([1], [None])) == "answered"
    assert await why(guarded.by_forms(["x"])) == "answered"


async def test_a_look_up_that_is_cut_off_leaves_room_for_the_next_try(scripted, clock):
    guarded = Guarded(scripted, clock, BreakerOptions(failures=1))
    await fail(guarded, scripted)
    clock.now += OPTIONS.pause

    async def for_ever(forms):
        await asyncio.Event().wait()

    asking, scripted.by_forms = scripted.by_forms, for_ever
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guarded.by_forms(["x"]), 0.01)
    scripted.by_forms, scripted.trouble = asking, None
    assert await why(guarded.by_forms(["x"])) == "answered"


async def hung_and_thawed(server, source):
    row = await until_known(source, "t")
    server.freeze()
    async with asyncio.timeout(PATIENCE):
        _ = await asyncio.gather(*(source.second_look(secret(f"x{n}")) for n in range(10)))
        states = [(await source.second_look(secret(f"y{n}"))).state for n in range(3)]
        around = await source.surroundings(secret("t"), row)
    assert ["breaker"] * 3 == [state.why for state in states if isinstance(state, Unavailable)]
    assert around.error.startswith("breaker")
    assert source.breaker.state is not State.CLOSED
    server.thaw()
    async with asyncio.timeout(PATIENCE):
        while not isinstance((await source.reread([row]))[row.row].state, Known):
            await asyncio.sleep(0.02)
    assert source.breaker.state is State.CLOSED
    assert (await source.second_look(secret("t"))).state == row


async def test_the_metrics_find_the_breaker(opened):
    assert isinstance(opened("postgresql://nobody@127.0.0.1:1/none"), WithBreaker)


async def test_a_hung_postgres(own_postgres, opened):
    await a_token(own_postgres)
    await hung_and_thawed(own_postgres, opened(own_postgres.dsn(), query_timeout=0.3, connect_timeout=0.3))


@pytest.mark.mariadb
async def test_a_hung_mariadb(own_mariadb, opened):
    tables = await MysqlTables.create(own_mariadb.dsn(await own_mariadb.create_database()))
    await tables.token("t", application_id=await tables.application())
    source = opened(tables.dsn, query_timeout=0.3, connect_timeout=0.3)
    await hung_and_thawed(own_mariadb, source)
    tables.close()


async def test_a_dead_replica_sends_nobody_to_it_and_the_primary_answers(postgres, own_postgres, opened):
    name = await postgres.create_database()
    async with tables_in(postgres.dsn(name)) as tables:
        await tables.token("t", application_id=await tables.application())
        await a_token(own_postgres)
        source = opened(postgres.dsn(name), replica=own_postgres.dsn(), query_timeout=0.3, connect_timeout=0.3)
        await until_known(source, "t")
        own_postgres.freeze()
        async with asyncio.timeout(PATIENCE):
            readings = await asyncio.gather(*(source.read(secret("t")) for _ in range(10)), source.read(secret("t")))
        own_postgres.thaw()
        assert {"primary"} == {reading.via for reading in readings}
        assert source._replica.breaker.opened_count == 1
        assert source.breaker.opened_count == 0
        await source.close()
    await postgres.drop_database(name)
