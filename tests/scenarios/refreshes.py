"""The authorization-code set-up: rotated, refused, impossible. By rows alone, and with the token endpoint behind the proxy."""

from __future__ import annotations

import datetime as dt
import secrets
import time

from aiohttp import web

from tests.oauth.vendor import SWITCHED_ON, Connection, Vendor
from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, Answer, World, served, until
from tests.sources.doorkeeper_tables import digest

UTC_NOW = "clock_timestamp() AT TIME ZONE 'utc'"


async def _vendor(w: World) -> Vendor:
    await w.build(more=SWITCHED_ON)
    return Vendor(w)


async def kept(w: World, token: str, calls: int) -> None:
    """Wait until the ledger of a token holds so many calls."""

    async def there() -> bool:
        said = await w.command("token", w.fingerprint(token))
        return said is not None and len(said["oauth"]) >= calls

    await until(there)


async def _restart(w: World) -> None:
    await w.stop()
    await w.start()


# --- token_rotated --------------------------------------------------------------------------------------------------


async def _refreshed(w: World, *, use: bool) -> tuple[str, str]:
    """A token with a refresh token, and its successor; at its first use Doorkeeper ends the old one."""
    old = await w.customer(refresh_token="r-" + secrets.token_urlsafe(16), expires_in=315_360_000)
    await w.works(old, 2)
    application, owner = w.party(old)
    new = await w.issue(
        application,
        owner,
        created_at=f"=({UTC_NOW}) - interval '1 second'",
        refresh_token="r-" + secrets.token_urlsafe(16),
        previous_refresh_token=f"=(SELECT refresh_token FROM oauth_access_tokens WHERE token = '{old}')",
    )
    if use:
        w.backend.script = _doorkeeper(w, new)
        await w.works(new)
    return old, new


def _doorkeeper(w: World, new: str) -> Answer:
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


@plays("token_rotated")
async def where_only_digests_are_stored_and_within_milliseconds(w: World) -> str:
    await w.build(source_more='hashing = "sha256"')
    old, new, refresh = (secrets.token_urlsafe(32) for _ in range(3))
    stored = await w.customer(token=digest(old), refresh_token=digest(refresh), created_at=f"={UTC_NOW}", expires_in=7200)
    await w.works(old, 2)
    application, owner = w.party(stored)
    await w.issue(
        application, owner, token=digest(new), created_at=f"={UTC_NOW}", expires_in=7200,
        refresh_token=digest(secrets.token_urlsafe(32)), previous_refresh_token=digest(refresh),
    )  # fmt: skip
    await w.works(new)
    await w.revoke(stored)
    await w.db.execute("UPDATE oauth_access_tokens SET previous_refresh_token = '' WHERE token = $1", digest(new))
    return await named(w, await w.until_failing(old), later=True)


async def _revoked_after_a_refresh_that_nobody_used(w: World) -> str:
    await w.build()
    old, _ = await _refreshed(w, use=False)
    await w.revoke(old)
    return await named(w, await w.until_failing(old))


@nearly("token_rotated")
async def refreshed_and_revoked_before_the_new_one_was_used(w: World) -> str:
    return await _revoked_after_a_refresh_that_nobody_used(w)


@nearly("token_revoked")
async def revoked_after_a_refresh_which_may_have_done_it(w: World) -> str:
    return await _revoked_after_a_refresh_that_nobody_used(w)


async def _another_signed_in(w: World) -> str:
    """Two hours before, past us; then the first connection is ended by hand."""
    await w.build()
    token = await w.customer(refresh_token="r-1", expires_in=315_360_000)
    await w.works(token, 2)
    application, owner = w.party(token)
    made = f"=({UTC_NOW}) - interval '2 hours'"
    await w.issue(application, owner, created_at=made, refresh_token="r-2", expires_in=315_360_000)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


@nearly("token_rotated")
async def another_connection_signed_in_two_hours_before(w: World) -> str:
    return await _another_signed_in(w)


@nearly("token_rotated", really="token_revoked")
async def another_connection_refreshes_in_the_second_of_the_revocation(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    other = Connection(v, okta.application, okta.owner, okta.uid)
    await other.authorize()
    await w.works(okta.access)
    await w.works(other.access, address="198.51.100.9")
    assert (await other.refresh())[0] == 200
    await w.works(other.access, address="198.51.100.9")
    await w.revoke(okta.access)
    return await named(w, await w.until_failing(okta.access))


@plays("token_rotated")
async def cleaned_up_after_the_refresh(w: World) -> str:
    okta = await Connection.of(await _vendor(w))
    old = okta.access
    await w.works(old)
    assert (await okta.refresh())[0] == 200
    await w.works(okta.access)
    await w.delete(old)
    return await named(w, await w.until_failing(old))


@nearly("refresh_impossible", really="token_expired")
async def a_pasted_token_with_an_end_and_an_old_grant(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=14 * 86_400 + 2)
    application, owner = w.party(token)
    await w.db.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in, created_at) "
        "VALUES ($1, $2, 'g', 600, (now() AT TIME ZONE 'utc') - interval '1 year')",
        owner,
        application,
    )
    await w.works(token)
    return await named(w, await w.until_failing(token))


@nearly("token_rotated", really="token_superseded")
async def regenerated_with_refresh_tokens_and_used_at_once(w: World) -> str:
    await w.build()
    token = await w.customer(refresh_token=secrets.token_urlsafe(24))
    await w.works(token, 2)
    application, owner = w.party(token)
    await w.revoke(token)
    new = await w.issue(application, owner, created_at=f"={UTC_NOW}", refresh_token=secrets.token_urlsafe(24))
    await w.works(new)
    return await named(w, await w.until_failing(token), later=True)


# --- refresh_failed ---------------------------------------------------------------------------------------------------


@plays("refresh_failed")
async def the_refresh_token_was_revoked_in_the_console(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    await w.works(okta.access)
    await w.revoke(okta.access)
    status, incident = await okta.refresh()
    assert status == 400
    return await named(w, incident)


@nearly("token_rotated")
async def refreshed_through_us_and_revoked_before_anybody_used_the_new_one(w: World) -> str:
    okta = await Connection.of(await _vendor(w))
    old = okta.access
    await w.works(old)
    status, _ = await okta.refresh()
    assert status == 200
    await w.revoke(old)
    return await named(w, await w.until_failing(old, "revoked"))


@plays("refresh_failed")
async def the_client_secret_was_changed(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    v.refuse = "invalid_client"
    status, incident = await okta.refresh()
    assert status == 401
    return await named(w, incident)


@plays("refresh_failed")
async def the_access_token_ran_out_after_the_refusal(w: World) -> str:
    v = await _vendor(w)
    v.lifetime = 2
    okta = await Connection.of(v)
    await w.works(okta.access)
    v.refuse = "invalid_grant"
    await okta.refresh()
    return await named(w, await w.until_failing(okta.access))


@plays("refresh_failed")
async def refused_after_a_restart_of_the_proxy(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    await w.works(okta.access)
    await kept(w, okta.access, 1)
    await _restart(w)
    await w.revoke(okta.access)
    _, incident = await okta.refresh()
    return await named(w, incident)


@plays("refresh_failed")
async def nothing_has_arrived_since_the_refusal(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    await w.works(okta.access)
    await kept(w, okta.access, 1)
    v.refuse = "invalid_grant"
    await okta.refresh()
    await kept(w, okta.access, 2)
    row = await w.command("token", w.fingerprint(okta.access))
    tenant = row["history"]["tenant"]
    start = dt.datetime.fromtimestamp(time.time() + 0.5, dt.UTC).isoformat()
    end = dt.datetime.fromtimestamp(time.time() + 60, dt.UTC).isoformat()
    said = await w.command("absence", "--tenant", tenant, "--from", start, "--to", end)
    code: str = said["cause"]["code"]
    return code


@nearly("refresh_failed", really="token_expired")
async def the_refusal_was_another_customers(w: World) -> str:
    v = await _vendor(w)
    v.lifetime = 2
    acme, globex = await Connection.of(v), await Connection.of(v, "globex")
    await w.works(acme.access)
    v.refuse = "invalid_grant"
    await globex.refresh()
    return await named(w, await w.until_failing(acme.access))


# --- refresh_impossible -----------------------------------------------------------------------------------------------


@plays("refresh_impossible")
async def the_vendor_issues_no_refresh_tokens(w: World) -> str:
    v = await _vendor(w)
    v.lifetime, v.refreshing = 2, False
    okta = await Connection.of(v)
    await w.works(okta.access)
    return await named(w, await w.until_failing(okta.access))


@plays("refresh_impossible")
async def it_was_issued_before_the_proxy_was_restarted(w: World) -> str:
    v = await _vendor(w)
    v.lifetime, v.refreshing = 4, False
    okta = await Connection.of(v)
    await kept(w, okta.access, 1)
    await _restart(w)
    return await named(w, await w.until_failing(okta.access))


@plays("refresh_impossible")
async def it_was_issued_before_there_was_a_proxy_and_a_grant_is_left(w: World) -> str:
    await _vendor(w)
    application, owner = await w.db.application("acme"), await w.db.owner(account="acme")
    token = await w.issue(application, owner, expires_in=2, created_at="=clock_timestamp() AT TIME ZONE 'utc'")
    await w.db.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) VALUES ($1, $2, 'g', 600)",
        owner,
        application,
    )
    await w.works(token)
    return await named(w, await w.until_failing(token))


@nearly("refresh_impossible", really="token_expired")
async def a_pasted_token_with_an_end(w: World) -> str:
    await _vendor(w)
    token = await w.customer("acme", expires_in=2, created_at="=clock_timestamp() AT TIME ZONE 'utc'")
    await w.works(token)
    return await named(w, await w.until_failing(token))


# --- token_rotated ----------------------------------------------------------------------------------------------------


@plays("token_rotated")
async def another_connection_goes_on_with_the_old_token(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    old = okta.access
    await w.works(old)
    assert (await okta.refresh())[0] == 200
    await w.works(okta.access)
    return await named(w, await w.until_failing(old))


@plays("token_rotated")
async def the_refresh_token_is_presented_once_more(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    old = okta.refresh_token
    assert (await okta.refresh())[0] == 200
    await w.works(okta.access)
    okta.refresh_token = old
    status, incident = await okta.refresh()
    assert status == 400
    await kept(w, okta.access, 1)
    return await named(w, incident)


@nearly("token_rotated", really="token_superseded")
async def a_code_flow_token_is_regenerated_by_hand(w: World) -> str:
    v = await _vendor(w)
    okta = await Connection.of(v)
    await w.works(okta.access)
    await w.regenerate(okta.access)
    return await named(w, await w.until_failing(okta.access))
