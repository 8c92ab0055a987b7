"""How a token ends: deleted, superseded, revoked, expired, never there."""

from __future__ import annotations

import secrets
import time

from aiohttp import web

from proxy.core.diagnosis.superseded import REPAIR
from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, World, refused, until
from tests.sources.doorkeeper_tables import digest

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
    return await named(w, await w.fails(token))


@plays("token_deleted")
async def deleted_while_the_table_could_not_be_read(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    async with w.db.connection.transaction():
        await w.db.execute("LOCK TABLE oauth_access_tokens IN ACCESS EXCLUSIVE MODE")
        await w.delete(token)
        await w.unanswered()
    return await named(w, await w.until_failing(token))


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
    return await named(w, await w.until_failing(token, because="unknown"))


@nearly("token_deleted")
async def never_there_although_others_vanish(w: World) -> str:
    await w.build()
    acme = await w.customer()
    await w.works(acme)
    await w.delete(acme)
    await w.until_failing(acme)
    return await named(w, await w.fails(secrets.token_urlsafe(32), address="203.0.113.5"))


@plays("token_deleted")
async def after_the_key_of_fingerprints_was_changed(w: World) -> str:
    first, second = (f"{name:x<32}" for name in ("first", "second"))
    await w.build(top=f'fingerprint_key = "{first}"')
    token = await w.customer()
    await w.works(token, 2)
    await w.stop()
    changed = f'fingerprint_key = "{second}"\nfingerprint_previous = "{first}"'
    w.config.write_text(w.config.read_text().replace(f'fingerprint_key = "{first}"', changed))
    await w.delete(token)
    await w.start()
    return await named(w, await w.fails(token))


@nearly("token_superseded", really="token_deleted")
async def deleted_and_issued_anew_after_the_first_refusal(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.delete(token)
    await w.until_failing(token)
    await _repaired(w, token)
    return await named(w, await w.fails(token))


@nearly("token_superseded")
async def revoked_and_issued_anew_after_the_first_refusal(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.revoke(token)
    await w.until_failing(token)
    await _repaired(w, token)
    return await named(w, await w.fails(token))


async def _repaired(w: World, token: str) -> None:
    """Somebody hears of the refusal and issues a new token; the proxy is started anew, so that the next refusal is an incident
    of its own."""
    refused_at = time.time()

    async def heard() -> bool:
        return time.time() > refused_at + REPAIR + 0.5

    await until(heard)
    application, owner = w.party(token)
    await w.issue(application, owner, created_at=f"={UTC_NOW}")
    await w.stop()
    await w.start()


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


@plays("token_superseded")
async def regenerated_where_only_digests_are_stored(w: World) -> str:
    await w.build(source_more='hashing = "sha256"')
    token = secrets.token_urlsafe(32)
    stored = await w.customer(token=digest(token))
    await w.works(token, 2)
    await w.regenerate(stored)
    return await named(w, await w.until_failing(token))


@plays("token_superseded")
async def regenerated_without_owner_and_erased_while_the_proxy_was_down(w: World) -> str:
    await w.build()
    token = await w.issue(await w.db.application(), None)
    await w.works(token, 2)
    await w.stop()
    await w.regenerate(token)
    await w.delete(token)
    await w.start()
    return await named(w, await w.until_failing(token))


@plays("token_superseded")
async def regenerated_in_the_second_in_which_the_backend_refuses(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)

    async def answer(request: web.Request) -> web.StreamResponse:
        await w.regenerate(token)
        return refused()(request)  # type: ignore[return-value]

    w.backend.script = answer
    return await named(w, await w.fails(token))


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


@nearly("token_revoked", really="token_deleted")
async def deleted_while_another_tenants_was_revoked(w: World) -> str:
    await w.build()
    token, other = await w.customer("acme"), await w.customer("globex")
    await w.works(token, 2)
    await w.works(other, 2, address="198.51.100.9")
    await w.revoke(other)
    await w.delete(token)
    await w.until_failing(other, address="198.51.100.9")
    return await named(w, await w.until_failing(token))


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
