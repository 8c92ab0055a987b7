"""A list of digests in a file, which people write: entries are taken out, marked as revoked, or given another digest."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from typing import Any

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import World, until
from tests.sources.doorkeeper_tables import digest

Entry = dict[str, Any]


def _entry(token: str, name: str = "acme-okta", **more: object) -> Entry:
    fields = {"name": name, "digest": digest(token), "tenant": "acme", "created_at": "2026-01-01T00:00:00Z", "scopes": ["scim"]}
    return fields | more


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _today() -> str:
    return time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime())


def _write(w: World, *entries: Entry) -> None:
    (w.directory / "tokens.json").write_text(json.dumps({"token": entries}))


async def _listed(w: World, token: str, *before: Entry, more: str = "") -> None:
    """The token worked by these entries."""
    _write(w, *before)
    await w.build(source=f'[source]\nkind = "token_file"\npath = "{w.directory}/tokens.json"\n', more=more)
    await w.works(token, 2)


async def _changed(w: World, token: str, *after: Entry) -> str:
    """What is named once the file holds other entries."""
    _write(w, *after)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def an_entry_is_taken_out_of_the_file(w: World) -> str:
    token, other = secrets.token_urlsafe(32), _entry(secrets.token_urlsafe(32), "globex", tenant="globex")
    await _listed(w, token, _entry(token), other)
    return await _changed(w, token, other)


@nearly("token_deleted", really="token_superseded")
async def an_entry_is_given_another_digest(w: World) -> str:
    token = secrets.token_urlsafe(32)
    await _listed(w, token, _entry(token))
    return await _changed(w, token, _entry(secrets.token_urlsafe(32)))


@nearly("token_deleted", really="token_superseded")
async def a_new_entry_in_place_of_the_old(w: World) -> str:
    token = secrets.token_urlsafe(32)
    await _listed(w, token, _entry(token))
    return await _changed(w, token, _entry(secrets.token_urlsafe(32), "acme-okta-2", created_at=_now()))


@nearly("token_deleted")
async def a_new_entry_dated_today_in_place_of_the_old(w: World) -> str:
    token = secrets.token_urlsafe(32)
    await _listed(w, token, _entry(token))
    return await _changed(w, token, _entry(secrets.token_urlsafe(32), "acme-okta-2", created_at=_today()))


@nearly("token_deleted", really="token_superseded")
async def an_entry_is_given_another_digest_while_the_proxy_is_down(w: World) -> str:
    token = secrets.token_urlsafe(32)
    await _listed(w, token, _entry(token))
    await w.stop()
    _write(w, _entry(secrets.token_urlsafe(32)))
    await w.start()
    return await named(w, await w.fails(token))


@nearly("token_superseded")
async def the_digests_are_made_in_another_way(w: World) -> str:
    token = secrets.token_urlsafe(32)
    path = w.directory / "tokens.json"
    _write(w, _entry(token))
    await w.build(source=f'[source]\nkind = "token_file"\npath = "{path}"\ndigest_key = "{secrets.token_hex(32)}"\n')
    await w.works(token, 2)
    made_with_another_key = hmac.digest(b"another" * 5, token.encode(), "sha256").hex()
    path.write_text(json.dumps({"hash": "hmac-sha256", "token": [_entry(token, digest=made_with_another_key)]}))
    return await named(w, await w.until_failing(token))


@plays("token_revoked")
async def an_entry_is_marked_revoked(w: World) -> str:
    token = secrets.token_urlsafe(32)
    await _listed(w, token, _entry(token))
    return await _changed(w, token, _entry(token, revoked_at="2026-02-01T00:00:00Z"))


@nearly("token_revoked", really="token_superseded")
async def an_entry_is_marked_revoked_and_another_written(w: World) -> str:
    token, now = secrets.token_urlsafe(32), _now()
    await _listed(w, token, _entry(token))
    new = _entry(secrets.token_urlsafe(32), "acme-okta-2", created_at=now)
    return await _changed(w, token, _entry(token, revoked_at=now), new)


@plays("owner_inactive")
async def the_owner_of_an_entry_is_written_down_as_inactive(w: World) -> str:
    token = secrets.token_urlsafe(32)
    owner = {"id": "svc-okta", "active": True}
    await _listed(w, token, _entry(token, owner=owner), more="[policy]\nrefuse_inactive_owner = true")
    return await _changed(w, token, _entry(token, owner=owner | {"active": False}))


@nearly("token_superseded", really="token_deleted")
async def one_of_two_connections_is_taken_out(w: World) -> str:
    token = secrets.token_urlsafe(32)
    entra = _entry(secrets.token_urlsafe(32), "acme-entra", created_at="2026-01-05T00:00:00Z")
    await _listed(w, token, _entry(token), entra)
    return await _changed(w, token, entra)


@nearly("replica_lag")
async def an_entry_is_written_after_the_refusal(w: World) -> str:
    listed, token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    await _listed(w, listed, _entry(listed))
    incident = await w.fails(token)
    _write(w, _entry(listed), _entry(token, "acme-entra", created_at=_now()))

    async def read() -> bool:
        return (await w.call(token))[0] == 200

    await until(read)
    return await named(w, incident)
