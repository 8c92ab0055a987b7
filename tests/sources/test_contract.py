"""What every TokenSource owes the rest: each test runs against each of them, with the same tokens in its own technology."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from proxy.core.token import Known, OwnerState, Unknown
from tests.sources.conftest import secret
from tests.sources.doorkeeper_tables import digest
from tests.sources.kinds import KINDS, Kinds
from tests.sources.worlds import CREATED, REVOKED, World


@pytest.fixture(params=KINDS)
async def world(request, tmp_path, opened, tasks) -> AsyncIterator[World]:
    async with contextlib.AsyncExitStack() as stack:
        yield await Kinds(request, stack, opened, tasks).build(request.param, tmp_path)


async def known(world: World, token: str = "alive") -> Known:
    state = (await world.source.read(secret(world.presented(token)))).state
    assert isinstance(state, Known), state
    return state


async def test_a_token_is_known_with_its_facts_however_it_is_asked_for(world):
    row = await known(world)
    assert (row.tenant, row.created_at, row.expires_in, row.revoked_at) == ("acme", CREATED.timestamp(), world.lifetime, None)
    assert (row.scopes, row.owner) == (("scim", "Other"), world.owner)
    assert row.owner_state is (OwnerState.ACTIVE if "owner state" in world.tells else OwnerState.NOT_READ)
    assert (await world.source.second_look(secret(world.presented("alive")))).state == row
    assert (await world.source.reread([row]))[row.row].state == row


async def test_another_token_is_unknown(world):
    alive = world.presented("alive")
    for token in (alive.swapcase(), alive + " ", alive[:-1], alive + "\0", "", "\u00e4", "x" * 8_192):
        assert isinstance((await world.source.read(secret(token))).state, Unknown)
        assert isinstance((await world.source.second_look(secret(token))).state, Unknown)


async def test_a_reading_says_who_where_and_when(world):
    reading = await world.source.read(secret(world.presented("alive")))
    assert reading.source in {"token_file", "doorkeeper", "introspection", "jwt"}
    assert reading.via in {"file", "primary", "introspection", "jwks"}
    assert reading.read_at > CREATED.timestamp()


async def test_a_revocation_is_seen_by_every_way_of_asking(world):
    row = await known(world)
    await world.revoke("alive")
    for reading in (await world.source.read(secret(world.presented("alive"))), (await world.source.reread([row]))[row.row]):
        assert isinstance(reading.state, Known)
        assert reading.state.revoked_at == REVOKED.timestamp()


async def test_a_row_that_is_gone_is_unknown_when_read_again(world):
    row, other = await known(world), await known(world, "other")
    await world.delete("alive")
    again = await world.source.reread([row, other])
    assert (type(again[row.row].state), again[other.row].state) == (Unknown, other)


async def test_a_row_that_holds_another_secret_now_is_left_out(world):
    row, other = await known(world), await known(world, "other")
    await world.replace("alive", "new")
    assert list(await world.source.reread([row, other])) == [other.row]
    assert (await world.source.read(secret(world.presented("alive")))).state == Unknown()


async def test_reading_nothing_again_is_nothing(world):
    assert dict(await world.source.reread([])) == {}


async def test_surroundings_name_the_newer_sibling(world):
    world.needs("kin")
    around = await world.source.surroundings(secret(world.presented("alive")), await known(world))
    assert around.error is None
    assert [(sibling.relation, sibling.created_at) for sibling in around.siblings] == [("newer", REVOKED.timestamp())]


async def test_surroundings_find_what_a_mangled_token_nearly_is(world):
    world.needs("near")
    around = await world.source.surroundings(secret(f"Bearer Bearer {world.presented('alive')}"), Unknown())
    assert around.error is None
    assert [(m.change, m.column, m.fingerprint) for m in around.near_misses] == [
        ("scheme_doubled", "token", secret(world.presented("alive")).fingerprint)
    ]


async def test_nothing_that_is_told_holds_the_token(world):
    long = "a-token-that-nobody-has-written-down"
    if "replacement" in world.tells:
        await world.replace("alive", long)
    else:
        long = world.presented("alive")
    reading = await world.source.read(secret(long))
    assert isinstance(reading.state, Known)
    around = await world.source.surroundings(secret(long), reading.state)
    text = msgspec.json.encode([reading, around]).decode()
    assert long not in text
    assert digest(long)[:12] not in text
