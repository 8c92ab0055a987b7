"""Rows that are gone: by whom else it might have been, what came before, what came after."""

from __future__ import annotations

import secrets

from tests.oauth.vendor import Connection
from tests.scenarios.plays import named, plays
from tests.scenarios.steps import (
    ELSEWHERE,
    NOW,
    OBSERVE,
    REFUSE_OWNER,
    TWO_WEEKS,
    address_of,
    ago,
    at_work,
    change,
    forget,
    passed,
    reconfigure,
    sibling,
    tenants,
    until_recorded,
    until_served,
    with_oauth,
)
from tests.scenarios.world import World

KEY = "first-key-of-32-bytes-0123456789"
NEXT_KEY = "second-key-of-32-bytes-012345678"

# --- erased after another end ---------------------------------------------------------------------------------------


@plays("token_revoked")
async def refused_as_revoked_and_then_cleaned_up(w: World) -> str:
    token = await at_work(w)
    await w.revoke(token)
    await w.until_failing(token, "revoked")
    await w.delete(token)
    return await named(w, await w.until_failing(token, "unknown"))


@plays("token_superseded")
async def regenerated_refused_and_then_cleaned_up(w: World) -> str:
    token = await at_work(w)
    await w.regenerate(token)
    await w.until_failing(token, "revoked")
    await w.delete(token)
    return await named(w, await w.until_failing(token, "unknown"))


@plays("token_deleted", "token_revoked")
async def revoked_and_erased_while_the_proxy_was_down(w: World) -> str:
    token = await at_work(w)
    await w.stop()
    await w.revoke(token)
    await w.delete(token)
    await w.start()
    return await named(w, await w.fails(token))


@plays("token_expired", "token_deleted")
async def expired_and_erased_while_the_proxy_was_down(w: World) -> str:
    token = await at_work(w, expires_in=TWO_WEEKS + 2)
    await w.stop()
    await passed(2)
    await w.delete(token)
    await w.start()
    return await named(w, await w.fails(token))


@plays("token_deleted", "token_expired")
async def cleaned_up_an_hour_before_its_end(w: World) -> str:
    token = await at_work(w, expires_in=TWO_WEEKS + 3_600)
    await w.delete(token)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def revoked_by_mistake_put_right_and_later_deleted(w: World) -> str:
    token = await at_work(w)
    await w.revoke(token)
    await w.until_failing(token, "revoked")
    await change(w, token, revoked_at=None)
    await until_served(w, token)
    await w.works(token, 2)
    await passed(0.5)
    await w.delete(token)
    return await named(w, await w.until_failing(token, "unknown"))


# --- restored -------------------------------------------------------------------------------------------------------


@plays("token_deleted")
async def deleted_restored_from_a_backup_and_deleted_again(w: World) -> str:
    token = await at_work(w)
    await w.db.execute("CREATE TABLE backup AS SELECT * FROM oauth_access_tokens")
    await w.delete(token)
    await w.until_failing(token)
    await w.db.execute("INSERT INTO oauth_access_tokens SELECT * FROM backup")
    await until_served(w, token)
    await w.delete(token)
    return await named(w, await w.until_failing(token))


@plays("token_revoked")
async def deleted_restored_as_a_new_row_and_revoked(w: World) -> str:
    token = await at_work(w)
    await w.delete(token)
    await w.until_failing(token)
    await w.issue(*w.party(token), token=token)
    await until_served(w, token)
    await w.revoke(token)
    return await named(w, await w.until_failing(token, "revoked"))


@plays("token_deleted")
async def a_backup_older_than_most_tokens_is_restored(w: World) -> str:
    kept, first, *others = await tenants(w, 5)
    await w.db.execute("DELETE FROM oauth_access_tokens WHERE token <> $1", kept)
    for n, token in enumerate(others, 2):
        await w.until_failing(token, address=address_of(n))
    return await named(w, await w.until_failing(first, address=address_of(1)))


@plays("token_deleted")
async def the_repair_came_seconds_after_the_refusal(w: World) -> str:
    token = await at_work(w)
    await w.delete(token)
    incident = await w.until_failing(token)
    await passed(1.5)
    await w.works(await sibling(w, token))
    await w.fails(token)
    return await named(w, incident)


# --- what else happened in that second ------------------------------------------------------------------------------


@plays("token_deleted")
async def a_second_integration_has_had_its_own_for_two_hours(w: World) -> str:
    token = await at_work(w)
    await w.works(await sibling(w, token, created_at=ago("2 hours")), address=ELSEWHERE)
    await w.works(token, 3)
    await w.delete(token)
    return await named(w, await w.until_failing(token))


@plays("token_deleted", "token_superseded")
async def another_integration_signs_in_in_that_second(w: World) -> str:
    vendor = await with_oauth(w)
    token = await w.customer()
    await w.works(token, 2)
    await Connection(vendor, *w.party(token), "uid-acme").authorize()
    await w.delete(token)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def another_owner_of_the_application_gets_one_in_that_second(w: World) -> str:
    token = await at_work(w)
    application, _ = w.party(token)
    async with w.db.connection.transaction():
        await w.delete(token)
        await w.issue(application, await w.db.owner(account="else"), created_at=NOW)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def the_owner_gets_one_of_another_application_in_that_second(w: World) -> str:
    token = await at_work(w)
    _, owner = w.party(token)
    async with w.db.connection.transaction():
        await w.delete(token)
        await w.issue(await w.db.application("sso"), owner, created_at=NOW)
    return await named(w, await w.until_failing(token))


@plays("token_superseded", "token_deleted")
async def gone_and_issued_anew_in_an_hour_without_a_call(w: World) -> str:
    token = await at_work(w)
    await w.stop()
    await w.delete(token)
    await passed(1)
    await sibling(w, token)
    await w.start()
    return await named(w, await w.fails(token))


@plays("token_deleted")
async def the_owner_is_destroyed_with_the_tokens(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer()
    _, owner = w.party(token)
    await w.works(token, 2)
    await w.db.execute("DELETE FROM oauth_access_tokens WHERE resource_owner_id = $1", owner)
    await w.db.execute("DELETE FROM users WHERE id = $1", owner)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def two_of_three_of_an_application(w: World) -> str:
    token = await at_work(w)
    second = await sibling(w, token, created_at=ago("20 days"))
    third = await sibling(w, token, created_at=ago("10 days"))
    await w.works(second)
    await w.works(third)
    await w.db.execute("DELETE FROM oauth_access_tokens WHERE token = ANY($1)", [token, second])
    await w.works(third)
    return await named(w, await w.until_failing(token))


@plays("token_deleted")
async def a_stranger_tries_from_the_same_client_afterwards(w: World) -> str:
    token = await at_work(w)
    await w.delete(token)
    incident = await w.until_failing(token)
    await w.fails(secrets.token_urlsafe(32))
    return await named(w, incident)


@plays("token_unknown")
async def another_secret_from_the_client_whose_token_was_deleted(w: World) -> str:
    token = await at_work(w)
    await w.delete(token)
    await w.until_failing(token)
    return await named(w, await w.fails(secrets.token_urlsafe(32)))


@plays("token_deleted")
async def while_the_proxy_only_observes_and_the_backend_still_serves(w: World) -> str:
    await w.build(more=OBSERVE)
    token = await w.customer()
    await w.works(token, 2)
    await w.delete(token)
    return await named(w, await until_recorded(w, token))


# --- what the proxy remembers ---------------------------------------------------------------------------------------


@plays("token_unknown")
async def deleted_before_there_was_a_proxy(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.delete(token)
    return await named(w, await w.fails(token))


@plays("token_deleted", "token_unknown")
async def after_the_store_was_lost_while_the_proxy_was_down(w: World) -> str:
    token = await at_work(w)
    await w.stop()
    await forget(w)
    await w.delete(token)
    await w.start()
    return await named(w, await w.fails(token))


@plays("token_deleted")
async def after_the_store_was_lost_while_the_proxy_served(w: World) -> str:
    token = await at_work(w)
    await passed(1)
    await forget(w)
    await w.works(token, 2)
    await w.delete(token)
    return await named(w, await w.until_failing(token))


async def _other_keys(w: World, *, previous: bool) -> str:
    """A customer at work, and a proxy that is started anew with another key of fingerprints, which may know the one before."""
    await w.build(top=f'fingerprint_key = "{KEY}"')
    token = await w.customer()
    await w.works(token, 2)
    await w.stop()
    known = f'\nfingerprint_previous = "{KEY}"' if previous else ""
    await reconfigure(w, f'fingerprint_key = "{KEY}"', f'fingerprint_key = "{NEXT_KEY}"{known}')
    return token


@plays("token_deleted", "token_unknown")
async def after_the_key_was_changed_without_keeping_the_one_before(w: World) -> str:
    token = await _other_keys(w, previous=False)
    await w.delete(token)
    await w.start()
    return await named(w, await w.fails(token))


@plays("token_revoked", "token_superseded")
async def regenerated_while_the_key_was_changed(w: World) -> str:
    token = await _other_keys(w, previous=True)
    await w.regenerate(token)
    await w.start()
    return await named(w, await w.fails(token))


@plays("token_deleted")
async def last_seen_by_another_instance(w: World) -> str:
    await w.build(top=f'fingerprint_key = "{KEY}"')
    token = await w.customer()
    await w.works(token, 2)
    await w.stop()
    await reconfigure(w, '/state"', '/state2"')
    await w.delete(token)
    await w.start()
    return await named(w, await w.fails(token))
