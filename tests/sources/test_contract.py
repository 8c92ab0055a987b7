"""What every TokenSource owes the rest: each test runs against each of them, with the same tokens in its own technology."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.core.token import Known, OwnerState, TokenSource, Unknown
from proxy.sources.doorkeeper.options import Hashing, Owner
from proxy.sources.first_match import FirstMatch
from proxy.sources.token_file import TokenFile
from tests.sources.conftest import FINGERPRINTER, secret
from tests.sources.doorkeeper_tables import digest

CREATED = dt.datetime(2026, 5, 3, 10, tzinfo=dt.UTC)
REVOKED = dt.datetime(2026, 6, 1, 10, tzinfo=dt.UTC)


class World:
    """A source and the ways to change what is behind it."""

    def __init__(
        self,
        source: TokenSource,
        revoke: Callable[[str], Awaitable[None]],
        delete: Callable[[str], Awaitable[None]],
        replace: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self.source = source
        self.revoke = revoke
        self.delete = delete
        self.replace = replace


class FileWorld:
    def __init__(self, path: Path) -> None:
        self.path = path
        common = {"tenant": "acme", "created_at": CREATED.isoformat(), "application": "okta"}
        owner = {"id": "1", "active": True}
        self.entries: dict[str, dict[str, Any]] = {
            "alive": {"scopes": ["scim", "Other"], "expires_in": 60, "owner": owner} | common,
            "other": {"scopes": ["scim"], "owner": owner} | common | {"created_at": REVOKED.isoformat()},
        }
        for name, entry in self.entries.items():
            entry |= {"name": name, "digest": digest(name)}
        self.write()
        self.source = TokenFile(path, fingerprinter=FINGERPRINTER, report=lambda faults: pytest.fail(str(faults)))

    def write(self) -> None:
        self.path.write_text(json.dumps({"token": list(self.entries.values())}))

    async def changed(self) -> None:
        self.write()
        await self.source.poll()

    async def revoke(self, token: str) -> None:
        self.entries[token]["revoked_at"] = REVOKED.isoformat()
        await self.changed()

    async def delete(self, token: str) -> None:
        del self.entries[token]
        await self.changed()

    async def replace(self, token: str, by: str) -> None:
        self.entries[token]["digest"] = digest(by)
        await self.changed()


async def doorkeeper_world(tables, opened, hashing: Hashing) -> World:
    stored = digest if hashing is Hashing.SHA256 else str
    application, owner = await tables.application("acme"), await tables.owner()
    common = {"application_id": application, "resource_owner_id": owner}
    naive = CREATED.replace(tzinfo=None)
    await tables.token(stored("alive"), scopes="scim Other", expires_in=60, **(common | {"created_at": naive}))
    await tables.token(stored("other"), scopes="scim", **(common | {"created_at": REVOKED.replace(tzinfo=None)}))
    change = "UPDATE oauth_access_tokens SET "

    async def revoke(token: str) -> None:
        await tables.execute(change + "revoked_at = $2 WHERE token = $1", stored(token), REVOKED.replace(tzinfo=None))

    async def delete(token: str) -> None:
        await tables.execute("DELETE FROM oauth_access_tokens WHERE token = $1", stored(token))

    async def replace(token: str, by: str) -> None:
        await tables.execute(change + "token = $2 WHERE token = $1", stored(token), stored(by))

    return World(opened(tables.dsn, hashing=hashing, owner=Owner("users", active="active")), revoke, delete, replace)


KINDS = ["token_file", "postgres_plain", "postgres_sha256", "first_match"]


@pytest.fixture(params=KINDS)
async def world(request, tmp_path, tables, opened) -> World:
    if request.param == "token_file":
        file = FileWorld(tmp_path / "tokens.json")
        return World(file.source, file.revoke, file.delete, file.replace)
    hashing = Hashing.SHA256 if request.param == "postgres_sha256" else Hashing.PLAIN
    world = await doorkeeper_world(tables, opened, hashing)
    if request.param == "first_match":
        empty = tmp_path / "empty.toml"
        empty.write_text("")
        nothing = TokenFile(empty, fingerprinter=FINGERPRINTER, report=lambda faults: pytest.fail(str(faults)))
        world.source = FirstMatch([nothing, world.source])
    return world


async def known(source: TokenSource, token: str = "alive") -> Known:
    state = (await source.read(secret(token))).state
    assert isinstance(state, Known), state
    return state


async def test_a_token_is_known_with_its_facts_however_it_is_asked_for(world):
    row = await known(world.source)
    assert (row.tenant, row.created_at, row.expires_in, row.revoked_at) == ("acme", CREATED.timestamp(), 60, None)
    assert (row.scopes, row.owner, row.owner_state) == (("scim", "Other"), "1", OwnerState.ACTIVE)
    assert (await world.source.second_look(secret("alive"))).state == row
    assert (await world.source.reread([row]))[row.row].state == row


async def test_another_token_is_unknown(world):
    for token in ("ALIVE", "alive ", "aliv", "alive\0", "", "\u00e4", "x" * 8_192):
        assert (await world.source.read(secret(token))).state == Unknown()
        assert (await world.source.second_look(secret(token))).state == Unknown()


async def test_a_reading_says_who_where_and_when(world):
    reading = await world.source.read(secret("alive"))
    assert reading.source in {"token_file", "doorkeeper"}
    assert reading.via in {"file", "primary"}
    assert reading.read_at > CREATED.timestamp()


async def test_a_revocation_is_seen_by_every_way_of_asking(world):
    row = await known(world.source)
    await world.revoke("alive")
    for reading in (await world.source.read(secret("alive")), (await world.source.reread([row]))[row.row]):
        assert isinstance(reading.state, Known)
        assert reading.state.revoked_at == REVOKED.timestamp()


async def test_a_row_that_is_gone_is_unknown_when_read_again(world):
    row, other = await known(world.source), await known(world.source, "other")
    await world.delete("alive")
    again = await world.source.reread([row, other])
    assert (again[row.row].state, again[other.row].state) == (Unknown(), other)


async def test_a_row_that_holds_another_secret_now_is_left_out(world):
    row, other = await known(world.source), await known(world.source, "other")
    await world.replace("alive", "new")
    assert list(await world.source.reread([row, other])) == [other.row]
    assert (await world.source.read(secret("alive"))).state == Unknown()


async def test_reading_nothing_again_is_nothing(world):
    assert dict(await world.source.reread([])) == {}


async def test_surroundings_name_the_newer_sibling(world):
    around = await world.source.surroundings(secret("alive"), await known(world.source))
    assert around.error is None
    assert [(sibling.relation, sibling.created_at) for sibling in around.siblings] == [("newer", REVOKED.timestamp())]


async def test_surroundings_find_what_a_mangled_token_nearly_is(world):
    around = await world.source.surroundings(secret("Bearer Bearer alive"), Unknown())
    assert around.error is None
    assert [(m.change, m.column, m.fingerprint) for m in around.near_misses] == [
        ("scheme_doubled", "token", secret("alive").fingerprint)
    ]


async def test_nothing_that_is_told_holds_the_token(world):
    long = "a-token-that-nobody-has-written-down"
    await world.replace("alive", long)
    row = await known(world.source, long)
    reading = await world.source.read(secret(long))
    around = await world.source.surroundings(secret(long), row)
    text = msgspec.json.encode([reading, around]).decode()
    assert long not in text
    assert digest(long)[:12] not in text
