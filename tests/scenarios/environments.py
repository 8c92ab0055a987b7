"""More than one database, and more than one form of a row: copies, replicas, digests."""

from __future__ import annotations

import secrets

import asyncpg

from tests.scenarios.damage import DIGESTS
from tests.scenarios.plays import named, perhaps, plays
from tests.scenarios.sources import both, copied_to, knows_only, with_replica
from tests.scenarios.steps import ELSEWHERE, address_of, ago, at_work, tenants
from tests.scenarios.world import World, refused
from tests.sources.doorkeeper_tables import Tables, digest

# --- wrong_environment ----------------------------------------------------------------------------------------------


async def _staging(w: World) -> Tables:
    """Production and staging, both configured."""
    _, staging = await w.database()
    await w.build(source=both(staging.dsn))
    return staging


async def _put(staging: Tables, token: str, **columns: object) -> None:
    """A row of staging."""
    application, owner = await staging.application(), await staging.owner()
    await staging.token(token, application_id=application, resource_owner_id=owner, **columns)


@plays("token_revoked")
async def revoked_here_and_alive_in_a_copy(w: World) -> str:
    staging = await _staging(w)
    token, other = await w.customer(), await w.customer("globex")
    await _put(staging, token, created_at=ago("14 days"))
    await w.works(token, 2)
    await w.works(other, address=ELSEWHERE)
    await w.revoke(token)
    w.backend.script = knows_only(other)
    return await named(w, await w.until_failing(token))


async def _of_staging(w: World, **columns: object) -> str:
    """A row of staging that is dead there as well, while production's backend serves its own."""
    staging = await _staging(w)
    live, token = await w.customer(), secrets.token_urlsafe(32)
    await w.works(live, 2)
    await _put(staging, token, created_at=ago("14 days"), **columns)
    w.backend.script = knows_only(live)
    return await named(w, await w.fails(token, address=ELSEWHERE))


@plays("wrong_environment", "token_revoked")
async def of_staging_and_revoked_there(w: World) -> str:
    return await _of_staging(w, revoked_at=ago("1 day"))


@plays("wrong_environment", "token_expired")
async def of_staging_and_expired_there(w: World) -> str:
    return await _of_staging(w, expires_in=60)


@plays("token_unknown")
async def of_neither_environment(w: World) -> str:
    await _staging(w)
    await w.works(await w.customer())
    return await named(w, await w.fails(secrets.token_urlsafe(32), address=ELSEWHERE))


@perhaps("token_deleted")
async def moved_to_staging_by_a_wrong_migration(w: World) -> str:
    staging = await _staging(w)
    token, other = await w.customer(), await w.customer("globex")
    await w.works(token, 3)
    await w.works(other, address=ELSEWHERE)
    await w.stop()
    await w.delete(token)
    await _put(staging, token)
    w.backend.script = knows_only(other)
    await w.start()
    await w.works(other, address=ELSEWHERE)
    return await named(w, await w.fails(token))


@plays("token_mangled")
async def of_staging_in_quotes(w: World) -> str:
    staging = await _staging(w)
    await w.works(await w.customer())
    token = secrets.token_urlsafe(32)
    await _put(staging, token)
    return await named(w, await w.fails(authorization=f'Bearer "{token}"'))


# --- replica_lag ----------------------------------------------------------------------------------------------------


@plays("replica_lag")
async def begun_two_minutes_before_and_committed_after_the_refusal(w: World) -> str:
    await w.build()
    application, owner = await w.db.application(), await w.db.owner()
    token = secrets.token_urlsafe(32)
    async with w.db.connection.transaction():
        await w.issue(application, owner, token=token, created_at=ago("2 minutes"))
        incident = await w.fails(token)
    return await named(w, incident)


async def _replicated(w: World) -> tuple[asyncpg.Connection, str]:
    """A token at work that the replica has got."""
    replica = await with_replica(w)
    token = await w.customer()
    await copied_to(w, replica)
    await w.works(token)
    return replica, token


@plays("token_revoked")
async def revoked_in_both_one_after_the_other(w: World) -> str:
    replica, token = await _replicated(w)
    await w.revoke(token)
    await replica.execute("UPDATE oauth_access_tokens SET revoked_at = now() AT TIME ZONE 'utc'")
    return await named(w, await w.until_failing(token))


@plays("backend_disagrees")
async def alive_in_both(w: World) -> str:
    _, token = await _replicated(w)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("backend_disagrees", "replica_lag")
async def in_a_replica_that_stopped_for_good_two_weeks_ago(w: World) -> str:
    await with_replica(w)
    token = await w.customer()
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("token_superseded")
async def the_replica_lacks_the_regeneration(w: World) -> str:
    _, token = await _replicated(w)
    await w.regenerate(token)
    w.backend.script = refused(challenge='Bearer error="invalid_token", error_description="The access token was revoked"')
    return await named(w, await w.fails(token))


# --- hashing_switched -----------------------------------------------------------------------------------------------


@plays("hashing_switched")
async def all_rows_hashed_with_salt(w: World) -> str:
    tokens = await tenants(w, 4)
    salted = "'$2a$10$' || md5(token) || substr(md5(token || 'x'), 1, 21)"
    await w.db.execute(f"UPDATE oauth_access_tokens SET token = {salted}")
    for n, token in enumerate(tokens[1:], 1):
        await w.until_failing(token, address=address_of(n))
    return await named(w, await w.until_failing(tokens[0], address=address_of(0)))


@plays("hashing_switched")
async def all_rows_hashed_and_asked_for_the_first_that_failed(w: World) -> str:
    tokens = await tenants(w, 4)
    await w.db.execute("UPDATE oauth_access_tokens SET token = encode(sha512(token::bytea), 'hex')")
    incidents = [await w.until_failing(token, address=address_of(n)) for n, token in enumerate(tokens)]
    return await named(w, incidents[0], later=True)


@plays("hashing_switched")
async def one_row_hashed_at_its_use_and_the_proxy_was_not_told(w: World) -> str:
    token = await at_work(w)
    await w.db.execute("UPDATE oauth_access_tokens SET token = $2 WHERE token = $1", token, digest(token))
    return await named(w, await w.until_failing(token))


@plays("token_revoked", "hashing_switched")
async def a_plain_row_that_had_been_revoked(w: World) -> str:
    await w.build(source_more=DIGESTS)
    return await named(w, await w.fails(await w.customer(revoked_at=ago("3 days"))))


@plays("token_expired", "hashing_switched")
async def a_plain_row_that_had_expired(w: World) -> str:
    await w.build(source_more=DIGESTS)
    return await named(w, await w.fails(await w.customer(expires_in=86_400)))
