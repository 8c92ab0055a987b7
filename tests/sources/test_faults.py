"""Every source on its bad days, over the same broken wire: slow, down, half-open, cut and lying. Never an exception, never an
Unknown, nothing that waits for ever; and once the wire is mended it goes on by itself.

A token file has no wire: its bad days and those of every kind's own credentials come after. What only one kind can suffer is
in the file of that kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from proxy.core.token import Known, Unavailable, Unknown
from tests.servers.relay import Fault, Relay
from tests.sources.conftest import secret
from tests.sources.issuer import Issuer
from tests.sources.kinds import OVER_A_WIRE, SHORT, Kinds, straight
from tests.sources.real_doorkeeper import endpoint_world
from tests.sources.worlds import FileWorld, World, introspection_world, mariadb_tables, postgres_tables

PATIENCE = 60.0

Broken = tuple[World, Relay]


@pytest.fixture(params=OVER_A_WIRE)
async def broken(request, opened, tasks) -> AsyncIterator[Broken]:
    async with contextlib.AsyncExitStack() as stack:
        yield await Kinds(request, stack, opened, tasks).relayed(request.param)


async def until(world: World, token: str, expected: type) -> object:
    """Read until the source can say what it is."""
    deadline = time.monotonic() + PATIENCE
    while isinstance(state := (await world.source.read(secret(world.presented(token)))).state, Unavailable):
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.05)
    assert isinstance(state, expected)
    return state


async def until_read_again(world: World, row: Known) -> object:
    """Re-reads go over a connection of their own."""
    deadline = time.monotonic() + PATIENCE
    while isinstance(state := (await world.source.reread([row]))[row.row].state, Unavailable):
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.05)
    return state


@pytest.mark.parametrize("fault", Fault)
async def test_a_broken_wire_is_no_refusal_and_heals(broken: Broken, fault: Fault) -> None:
    world, relay = broken
    row = await until(world, "alive", Known)
    assert isinstance(row, Known)
    alive, stranger = secret(world.presented("alive")), secret(world.presented("stranger"))
    relay.break_by(fault)
    async with asyncio.timeout(PATIENCE):
        unsaid = await world.source.read(stranger)
        told = [await world.source.read(alive), await world.source.second_look(alive)]
        told += (await world.source.reread([row])).values()
        await world.source.surroundings(stranger, Unknown())
    assert isinstance(unsaid.state, Unavailable)
    for reading in told:  # keys at hand go on telling a signed token, within their grace
        assert isinstance(reading.state, Unavailable) or reading.state == row
    relay.mend()
    assert row == await until(world, "alive", Known)
    await until(world, "stranger", Unknown)
    assert row == await until_read_again(world, row)


# --- a token file ----------------------------------------------------------------------------------------------------


def half(path: Path) -> None:
    path.write_text(path.read_text()[:100])


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [Path.unlink, half, a_pipe, a_folder, lambda path: path.write_bytes(b"\xff" * 300)])
async def test_a_token_file_on_bad_days_leaves_in_force_what_was(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    file = FileWorld(tmp_path / "tokens.json")
    alive = secret("alive")
    row = (await file.source.read(alive)).state
    spoil(file.path)
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            await file.source.poll()
    assert row == (await file.source.read(alive)).state
    assert 1 == len(file.faults), "told once"
    if file.path.is_dir():
        file.path.rmdir()
    else:
        file.path.unlink(missing_ok=True)
    await file.delete("alive")
    assert Unknown() == (await file.source.read(alive)).state, "mended, it counts again"


async def test_a_list_that_is_being_written_is_left_until_it_is_whole(tmp_path: Path) -> None:
    file = FileWorld(tmp_path / "tokens.json")
    whole = file.path.read_text()

    async def the_rest_is_written(_: float) -> None:
        file.path.write_text(whole + " ")

    file.source._sleep = the_rest_is_written
    file.path.write_text(json.dumps({"token": [file.entries["other"]]}))
    await file.source.poll()
    assert isinstance((await file.source.read(secret("alive"))).state, Known)
    assert [] == file.faults


# --- our own credentials change under our feet -----------------------------------------------------------------------

Change = Callable[[], Awaitable[None]]


async def unavailable_between(source: object, token: str, lock_out: Change, let_in: Change) -> None:
    """Locked out a source can say nothing of any token, known or not; let in again it goes on by itself."""
    world = World(source, lambda _: asyncio.sleep(0))  # type: ignore[arg-type]
    row = await until(world, token, Known)
    await lock_out()
    for presented in (token, "stranger"):
        for look in (world.source.read, world.source.second_look):
            state = (await look(secret(presented))).state
            assert isinstance(state, Unavailable), state
    assert isinstance(row, Known)
    for reading in (await world.source.reread([row])).values():
        assert isinstance(reading.state, Unavailable)
    await let_in()
    assert row == await until(world, token, Known)
    await until(world, "stranger", Unknown)


async def test_the_password_of_our_role_is_changed_in_postgres(postgres, opened) -> None:
    async with postgres_tables(postgres) as tables:
        await tables.token("t", application_id=await tables.application())
        role = await postgres.create_role(password="old")
        await tables.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
        database = tables.dsn.rpartition("/")[2]

        async def change(password: str) -> None:
            await tables.execute(f"ALTER ROLE \"{role}\" PASSWORD '{password}'")
            await tables.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)

        source = opened(postgres.dsn(database, user=role, password="old", tcp=True))
        await unavailable_between(source, "t", lambda: change("new"), lambda: change("old"))
        await source.close()


@pytest.mark.mariadb
async def test_the_password_of_our_role_is_changed_in_mariadb(mariadb, opened) -> None:
    async with mariadb_tables(mariadb) as tables:
        await tables.token("t", application_id=await tables.application())
        database = tables.dsn.rpartition("/")[2]
        await tables.execute("CREATE USER rotated@'%' IDENTIFIED BY 'old'")
        await tables.execute(f"GRANT SELECT ON {database}.* TO rotated@'%'")

        async def change(password: str) -> None:
            await tables.execute(f"ALTER USER rotated@'%' IDENTIFIED BY '{password}'")
            await tables.execute("KILL USER rotated")

        source = opened(mariadb.dsn(database, user="rotated", password="old"))
        await unavailable_between(source, "t", lambda: change("new"), lambda: change("old"))
        await source.close()
        await tables.execute("DROP USER rotated@'%'")


async def test_the_secret_of_our_client_is_changed_at_the_issuer() -> None:
    issuer = await Issuer().start()
    world = await introspection_world(issuer, straight, SHORT)

    async def change(secret: str) -> None:
        issuer.password = secret

    await unavailable_between(world.source, "alive", lambda: change("new"), lambda: change(""))
    await world.source.close()  # type: ignore[attr-defined]
    await issuer.close()


@pytest.mark.doorkeeper
async def test_the_secret_of_our_client_is_changed_at_the_real_doorkeeper(vendors) -> None:
    vendor = vendors(TOKEN_SECRETS="plain")
    world = await endpoint_world(vendor, straight)
    change = (
        "UPDATE oauth_applications SET secret = reverse(secret) WHERE id = (SELECT application_id FROM oauth_access_tokens "
    )
    change += "WHERE token = $1)"
    token = world.presented("alive")

    async def turned() -> None:
        await vendor.sql(change, token)

    await unavailable_between(world.source, token, turned, turned)
    await world.source.close()  # type: ignore[attr-defined]
