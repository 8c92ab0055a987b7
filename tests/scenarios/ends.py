"""How a token ends: deleted, superseded, rotated, revoked, expired, never there; shared; ended by a known fault."""

from __future__ import annotations

import asyncio
import secrets

from aiohttp import web

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, OKTA, World, refused, served
from tests.sources.doorkeeper_tables import NULLABLE_PREVIOUS

UTC_NOW = "clock_timestamp() AT TIME ZONE 'utc'"

# --- token_deleted --------------------------------------------------------------------------------------------------


@plays("token_deleted")
async def a_cleanup_job_deletes_tokens_of_two_tenants(w: World) -> str:
    await w.build()
    acme, globex = await w.customer("acme"), await w.customer("globex")
    await w.works(acme, 3)
    await w.works(globex, 3, address="198.51.100.9")
    await w.db.execute("DELETE FROM oauth_access_tokens WHERE created_at < (now() AT TIME ZONE 'utc') - interval '13 days'")
    await w.until_failing(globex, address="198.51.100.9")
    return await named(w, await w.until_failing(acme))


@plays("token_deleted")
async def the_application_is_destroyed(w: World) -> str:
    await w.build()
    token = await w.customer()
    application, owner = w.party(token)
    other = await w.issue(application, owner)
    await w.works(token)
    await w.works(other)
    await w.db.execute("DELETE FROM oauth_access_tokens WHERE application_id = $1", application)
    await w.db.execute("DELETE FROM oauth_applications WHERE id = $1", application)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def deleted_while_the_proxy_was_down(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.stop()
    await w.delete(token)
    await w.start()
    await w.works(await w.customer("globex"))
    await asyncio.sleep(0.5)
    return await named(w, await w.fails(token))


@nearly("token_deleted", really="token_superseded")
async def deleted_and_issued_anew_in_one_transaction(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    application, owner = w.party(token)
    async with w.db.connection.transaction():
        await w.delete(token)
        await w.issue(application, owner, created_at=f"={UTC_NOW}")
    return await named(w, await w.until_failing(token))


@nearly("token_deleted", really="token_superseded")
async def the_secret_was_replaced_in_its_row(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.db.execute("UPDATE oauth_access_tokens SET token = $2 WHERE token = $1", token, secrets.token_urlsafe(32))
    return await named(w, await w.until_failing(token))


@nearly("token_deleted", really="token_expired")
async def expired_and_then_cleaned_up(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=14 * 86_400 + 2)
    await w.works(token)
    await w.until_failing(token)
    await w.delete(token)
    await asyncio.sleep(0.5)
    return await named(w, await w.fails(token))


@nearly("token_deleted")
async def never_there_although_others_vanish(w: World) -> str:
    await w.build()
    acme = await w.customer()
    await w.works(acme)
    await w.delete(acme)
    await w.until_failing(acme)
    return await named(w, await w.fails(secrets.token_urlsafe(32), address="203.0.113.5"))


# --- token_superseded -----------------------------------------------------------------------------------------------


@plays("token_superseded")
async def regenerated_in_the_console(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.regenerate(token)
    return await named(w, await w.until_failing(token))


@plays("token_superseded")
async def regenerated_long_ago_and_the_old_one_pasted_now(w: World) -> str:
    await w.build()
    token = await w.customer(revoked_at="=(now() AT TIME ZONE 'utc') - interval '3 days'")
    application, owner = w.party(token)
    await w.works(await w.issue(application, owner, created_at="=(now() AT TIME ZONE 'utc') - interval '3 days'"))
    return await named(w, await w.fails(token))


@plays("token_superseded")
async def regenerated_twice_and_the_first_still_sent(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)
    second = await w.regenerate(token)
    await w.revoke(second)
    application, owner = w.party(token)
    await w.issue(application, owner, created_at=f"={UTC_NOW}")
    return await named(w, await w.until_failing(token))


@nearly("token_superseded", really="token_revoked")
async def revoked_and_replaced_hours_later_as_the_repair(w: World) -> str:
    await w.build()
    token = await w.customer(revoked_at="=(now() AT TIME ZONE 'utc') - interval '5 hours'")
    application, owner = w.party(token)
    await w.issue(application, owner, created_at="=(now() AT TIME ZONE 'utc') - interval '1 hour'")
    return await named(w, await w.fails(token))


@nearly("token_superseded", really="token_revoked")
async def another_owner_of_the_application_got_a_token_then(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)
    application, _ = w.party(token)
    async with w.db.connection.transaction():
        await w.revoke(token)
        await w.issue(application, await w.db.owner(account="else"), created_at=f"={UTC_NOW}")
    return await named(w, await w.until_failing(token))


# --- token_rotated --------------------------------------------------------------------------------------------------


async def _refreshed(w: World, *, use: bool) -> tuple[str, str]:
    """A token with a refresh token, and its successor; at its first use Doorkeeper ends the old one."""
    old = await w.customer(refresh_token="r-" + secrets.token_urlsafe(16), expires_in=315_360_000)
    await w.works(old, 2)
    application, owner = w.party(old)
    new = await w.issue(
        application,
        owner,
        created_at=f"={UTC_NOW}",
        refresh_token="r-" + secrets.token_urlsafe(16),
        previous_refresh_token=f"=(SELECT refresh_token FROM oauth_access_tokens WHERE token = '{old}')",
    )
    await asyncio.sleep(0.3)
    if use:
        w.backend.script = _doorkeeper(w, new)
        await w.works(new)
    return old, new


def _doorkeeper(w: World, new: str):
    """What Doorkeeper does at the first use of a refreshed token."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == f"Bearer {new}":
            await w.db.execute(
                "UPDATE oauth_access_tokens o SET revoked_at = clock_timestamp() AT TIME ZONE 'utc' FROM oauth_access_tokens n "
                "WHERE n.token = $1 AND n.previous_refresh_token <> '' AND o.refresh_token = n.previous_refresh_token",
                new,
            )
            await w.db.execute("UPDATE oauth_access_tokens SET previous_refresh_token = '' WHERE token = $1", new)
        return served(request)

    return answer


@plays("token_rotated")
async def refreshed_and_the_old_one_kept(w: World) -> str:
    await w.build()
    old, _ = await _refreshed(w, use=True)
    return await named(w, await w.until_failing(old))


@plays("token_rotated")
async def refreshed_and_first_used_past_us(w: World) -> str:
    await w.build()
    old, new = await _refreshed(w, use=False)
    await w.revoke(old)
    await w.db.execute("UPDATE oauth_access_tokens SET previous_refresh_token = '' WHERE token = $1", new)
    return await named(w, await w.until_failing(old, agent=ENTRA))


@nearly("token_rotated", really="token_superseded")
async def a_static_token_regenerated(w: World) -> str:
    await w.build()
    token = await w.customer(refresh_token=None)
    await w.works(token)
    new = await w.regenerate(token)
    await w.works(new)
    return await named(w, await w.until_failing(token))


@nearly("token_rotated")
async def refreshed_but_the_old_one_expired_first(w: World) -> str:
    await w.build()
    old = await w.customer(refresh_token="r-1", expires_in=14 * 86_400 + 2)
    await w.works(old)
    application, owner = w.party(old)
    await w.issue(application, owner, created_at=f"={UTC_NOW}", previous_refresh_token="r-1")
    return await named(w, await w.until_failing(old))


# --- token_revoked --------------------------------------------------------------------------------------------------


@plays("token_revoked")
async def somebody_revoked_it(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


@plays("token_revoked")
async def a_mass_revocation(w: World) -> str:
    await w.build()
    tokens = [await w.customer(f"tenant-{n}") for n in range(4)]
    for n, token in enumerate(tokens):
        await w.works(token, address=f"192.0.2.{n}")
    await w.db.execute("UPDATE oauth_access_tokens SET revoked_at = now() AT TIME ZONE 'utc'")
    return await named(w, await w.until_failing(tokens[1], address="192.0.2.1"))


@plays("token_revoked")
async def revoked_between_two_looks_and_the_backend_says_so(w: World) -> str:
    await w.build(more="")
    token = await w.customer()
    await w.works(token)

    async def answer(request: web.Request) -> web.StreamResponse:
        await w.revoke(token)
        return refused()(request)  # type: ignore[return-value]

    w.backend.script = answer
    return await named(w, await w.fails(token))


@nearly("token_revoked")
async def revoked_in_the_future_and_the_backend_refuses(w: World) -> str:
    await w.build()
    token = await w.customer(revoked_at="=(now() AT TIME ZONE 'utc') + interval '1 day'")
    await w.works(token)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@nearly("token_revoked", really="token_expired")
async def expired_and_revoked_afterwards(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=86_400, revoked_at="=(now() AT TIME ZONE 'utc') - interval '1 hour'")
    return await named(w, await w.fails(token))


# --- token_expired --------------------------------------------------------------------------------------------------


@plays("token_expired")
async def expired_yesterday(w: World) -> str:
    await w.build()
    return await named(w, await w.fails(await w.customer(expires_in=13 * 86_400)))


@plays("token_expired")
async def expires_under_our_eyes(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=14 * 86_400 + 2)
    await w.works(token)
    return await named(w, await w.until_failing(token, agent=ENTRA))


@plays("token_expired")
async def its_lifetime_was_shortened(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=315_360_000)
    await w.works(token)
    await w.db.execute("UPDATE oauth_access_tokens SET expires_in = 86400")
    return await named(w, await w.until_failing(token))


@nearly("token_expired")
async def the_backend_says_expired_years_before_the_end(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=315_360_000)
    w.backend.script = refused(challenge='Bearer error="invalid_token", error_description="The access token expired"')
    return await named(w, await w.fails(token))


# --- token_unknown --------------------------------------------------------------------------------------------------


@plays("token_unknown")
async def of_another_environment(w: World) -> str:
    await w.build()
    await w.works(await w.customer())
    return await named(w, await w.fails(secrets.token_urlsafe(32)))


@plays("token_unknown")
async def entras_own_token_for_a_blank_secret(w: World) -> str:
    await w.build()
    jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL3N0cy53aW5kb3dzLm5ldC8ifQ." + secrets.token_urlsafe(64)
    return await named(w, await w.fails(jwt, agent=ENTRA))


@nearly("token_unknown", really="token_deleted")
async def known_yesterday(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)
    await w.delete(token)
    return await named(w, await w.until_failing(token))


@nearly("token_unknown")
async def issued_right_after_the_refusal(w: World) -> str:
    await w.build()
    token = secrets.token_urlsafe(32)
    incident = await w.fails(token)
    application, owner = await w.db.application(), await w.db.owner()
    await w.issue(application, owner, token=token, created_at=f"={UTC_NOW}")
    return await named(w, incident)


# --- shared_token ---------------------------------------------------------------------------------------------------


async def _two_connections(w: World, second: str) -> str:
    await w.build()
    token = await w.customer()
    for _ in range(4):
        await w.works(token, agent=OKTA)
        await w.works(token, agent=second, address="198.51.100.20")
    await w.regenerate(token)
    return await named(w, await w.until_failing(token, agent=OKTA))


@plays("shared_token")
async def okta_and_entra_with_one_token(w: World) -> str:
    return await _two_connections(w, ENTRA)


@plays("shared_token")
async def okta_and_a_warehouse_sync_with_one_token(w: World) -> str:
    return await _two_connections(w, "HrSync/2.1")


@nearly("shared_token", really="token_superseded")
async def a_person_tried_it_with_curl(w: World) -> str:
    return await _two_connections(w, "curl/7.88.1")


@nearly("shared_token", really="token_superseded")
async def one_client_from_two_addresses(w: World) -> str:
    return await _two_connections(w, OKTA)


@nearly("shared_token", really="token_superseded")
async def moved_from_okta_to_entra_and_then_regenerated(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 4, agent=OKTA)
    await w.works(token, 4, agent=ENTRA, address="198.51.100.20")
    await w.regenerate(token)
    return await named(w, await w.until_failing(token, agent=ENTRA, address="198.51.100.20"))


# --- null_refresh_match ---------------------------------------------------------------------------------------------


def _old_doorkeeper(w: World, victim: str, stranger: str, delay: float = 0.0):
    """Doorkeeper 5.4: the first use of a token whose previous_refresh_token is NULL revokes a row without refresh token."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == f"Bearer {stranger}":
            await asyncio.sleep(delay)
            await w.revoke(victim)
        return served(request)

    return answer


async def _strangers_first_use(w: World, schema: str, **columns: object) -> str:
    await w.build(schema=schema)
    victim = await w.customer("acme", **columns)
    await w.works(victim, 2)
    stranger = await w.customer("globex", created_at=f"={UTC_NOW}")
    w.backend.script = _old_doorkeeper(w, victim, stranger)
    await w.works(stranger, address="198.51.100.9")
    incident = await w.until_failing(victim)
    return await named(w, incident, later=True)


@plays("null_refresh_match")
async def a_strangers_first_use_ends_it(w: World) -> str:
    return await _strangers_first_use(w, NULLABLE_PREVIOUS)


@plays("null_refresh_match")
async def the_same_by_entra_in_a_slow_moment(w: World) -> str:
    await w.build(schema=NULLABLE_PREVIOUS)
    victim = await w.customer("acme")
    await w.works(victim, agent=ENTRA)
    stranger = await w.customer("globex", created_at=f"={UTC_NOW}")
    w.backend.script = _old_doorkeeper(w, victim, stranger, delay=0.4)
    await w.works(stranger, agent=ENTRA, address="198.51.100.9")
    incident = await w.until_failing(victim, agent=ENTRA)
    return await named(w, incident, later=True)


@nearly("null_refresh_match", really="token_revoked")
async def the_column_is_not_nullable(w: World) -> str:
    from tests.sources.doorkeeper_tables import MODERN

    return await _strangers_first_use(w, MODERN)


@nearly("null_refresh_match")
async def the_token_has_a_refresh_token(w: World) -> str:
    return await _strangers_first_use(w, NULLABLE_PREVIOUS, refresh_token="r-1")


@nearly("null_refresh_match", really="token_revoked")
async def the_stranger_had_long_been_in_use(w: World) -> str:
    await w.build(schema=NULLABLE_PREVIOUS)
    victim, stranger = await w.customer("acme"), await w.customer("globex")
    await w.works(victim)
    await w.works(stranger, address="198.51.100.9")
    await asyncio.sleep(2.5)
    w.backend.script = _old_doorkeeper(w, victim, stranger)
    await w.works(stranger, address="198.51.100.9")
    return await named(w, await w.until_failing(victim))


# --- clock_skew -----------------------------------------------------------------------------------------------------


async def _database_ahead(w: World, seconds: int) -> None:
    """The database's clock goes ahead of ours."""
    await w.db.execute(
        "CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        f"$$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} seconds' $$; "
        f'ALTER DATABASE "{w.name}" SET search_path = ahead, pg_catalog, public;'
    )
    await w.stop()
    await w.start()


@plays("clock_skew")
async def the_databases_clock_is_ahead(w: World) -> str:
    await w.build()
    await _database_ahead(w, 90)
    return await named(w, await w.fails(await w.customer(expires_in=14 * 86_400 + 60)))


@plays("clock_skew")
async def the_backends_clock_is_ahead(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=14 * 86_400 + 60)
    await w.works(token)
    w.backend.script = refused(challenge='Bearer error="invalid_token", error_description="The access token expired"')
    return await named(w, await w.fails(token))


@nearly("clock_skew", really="token_expired")
async def expired_by_either_clock(w: World) -> str:
    await w.build()
    await _database_ahead(w, 90)
    return await named(w, await w.fails(await w.customer(expires_in=13 * 86_400)))
