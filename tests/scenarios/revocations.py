"""Rows that were revoked: by whom, when, beside what, and put right again."""

from __future__ import annotations

from tests.oauth.vendor import Connection
from tests.scenarios.plays import named, plays
from tests.scenarios.steps import (
    ELSEWHERE,
    NOW,
    REFUSE_OWNER,
    ago,
    ahead,
    at_work,
    change,
    passed,
    sibling,
    tenants,
    with_oauth,
)
from tests.scenarios.world import OKTA, World
from tests.sources.doorkeeper_tables import NULLABLE_PREVIOUS

# --- by whom --------------------------------------------------------------------------------------------------------


async def _revoke_call(w: World, okta: Connection) -> None:
    """A client gives its token back."""
    form = {"token": okta.access, "client_id": okta.uid, "client_secret": okta.secret}
    async with w.session.post(f"{w.url}/oauth/revoke", data=form, headers={"User-Agent": OKTA}) as answer:
        assert answer.status == 200


@plays("token_revoked")
async def okta_gave_it_back(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    await w.works(okta.access)
    await _revoke_call(w, okta)
    return await named(w, await w.until_failing(okta.access))


@plays("token_revoked")
async def by_hand_in_the_second_in_which_another_customer_gives_its_own_back(w: World) -> str:
    vendor = await with_oauth(w)
    acme, globex = await Connection.of(vendor), await Connection.of(vendor, "globex")
    await w.works(acme.access)
    await _revoke_call(w, globex)
    await w.revoke(acme.access)
    return await named(w, await w.until_failing(acme.access, "revoked"))


@plays("token_revoked")
async def all_of_an_account_in_its_connected_apps(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    await w.works(okta.access)
    await okta.refresh()
    await w.works(okta.access)
    await w.db.execute(
        "UPDATE oauth_access_tokens SET revoked_at = clock_timestamp() AT TIME ZONE 'utc' WHERE revoked_at IS NULL"
    )
    return await named(w, await w.until_failing(okta.access))


@plays("token_revoked", "token_superseded")
async def by_an_authorization_that_clears_what_was_there(w: World) -> str:
    vendor = await with_oauth(w)
    vendor.clear = True
    okta = await Connection.of(vendor)
    old = okta.access
    await w.works(old)
    await okta.authorize()
    return await named(w, await w.until_failing(old))


async def _all_revoked(w: World, renewed: int) -> str:
    """Four tenants' tokens are revoked in one transaction, and one of them is given a new one in it; the first one's cause."""
    tokens = await tenants(w, 4)
    async with w.db.connection.transaction():
        await w.db.execute("UPDATE oauth_access_tokens SET revoked_at = now() AT TIME ZONE 'utc'")
        await sibling(w, tokens[renewed], created_at="=now() AT TIME ZONE 'utc'")
    return await named(w, await w.until_failing(tokens[0]))


@plays("token_revoked", "token_superseded")
async def with_all_others_while_it_alone_is_issued_anew(w: World) -> str:
    return await _all_revoked(w, 0)


@plays("token_revoked")
async def with_all_others_while_another_is_issued_anew(w: World) -> str:
    return await _all_revoked(w, 1)


@plays("token_superseded")
async def regenerated_where_the_column_is_nullable_and_used_at_once(w: World) -> str:
    await w.build(schema=NULLABLE_PREVIOUS)
    token = await w.customer()
    await w.works(token, 3)
    await w.works(await w.regenerate(token))
    return await named(w, await w.until_failing(token))


@plays("token_revoked")
async def which_two_clients_shared(w: World) -> str:
    await w.build()
    token = await w.customer()
    for _ in range(4):
        await w.works(token)
        await w.works(token, agent="HrSync/2.1", address=ELSEWHERE)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


# --- when -----------------------------------------------------------------------------------------------------------


@plays("token_revoked")
async def at_a_time_to_come_that_comes(w: World) -> str:
    token = await at_work(w, 1, revoked_at=ahead("2 seconds"))
    return await named(w, await w.until_failing(token))


@plays("token_revoked")
async def by_a_restore_and_dated_three_days_back(w: World) -> str:
    token = await at_work(w, 3)
    await change(w, token, revoked_at=ago("3 days"))
    return await named(w, await w.until_failing(token))


@plays("token_revoked", "token_superseded")
async def dated_back_to_the_making_of_another(w: World) -> str:
    await w.build()
    token = await w.customer()
    await sibling(w, token, created_at=ago("3 days"))
    await w.works(token, 3)
    await change(w, token, revoked_at=ago("3 days"))
    return await named(w, await w.until_failing(token))


# --- put right, or repaired -----------------------------------------------------------------------------------------


@plays("token_revoked")
async def put_right_before_anybody_asked(w: World) -> str:
    token = await at_work(w)
    await w.revoke(token)
    incident = await w.until_failing(token)
    await w.shown(incident)
    await change(w, token, revoked_at=None)
    await passed(0.5)
    return await named(w, incident)


@plays("token_revoked")
async def repaired_seconds_after_the_refusal(w: World) -> str:
    token = await at_work(w)
    await w.revoke(token)
    incident = await w.until_failing(token)
    await passed(1.5)
    await w.works(await sibling(w, token))
    await w.fails(token)
    return await named(w, incident)


@plays("token_revoked")
async def repaired_before_the_client_called_again(w: World) -> str:
    token = await at_work(w)
    await w.stop()
    await w.revoke(token)
    await passed(5.5)
    await sibling(w, token)
    await w.start()
    return await named(w, await w.fails(token))


# --- beside other rows ----------------------------------------------------------------------------------------------


@plays("token_revoked")
async def while_the_owner_gets_one_of_another_application(w: World) -> str:
    token = await at_work(w)
    _, owner = w.party(token)
    other = await w.db.application("sso")
    async with w.db.connection.transaction():
        await w.revoke(token)
        await w.issue(other, owner, created_at=NOW)
    return await named(w, await w.until_failing(token))


@plays("token_revoked", "token_superseded")
async def at_the_end_of_a_roll_over(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(await sibling(w, token, created_at=ago("1 hour")))
    await w.works(token, 2)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


@plays("token_superseded", "token_revoked")
async def an_hour_after_it_was_replaced_as_planned(w: World) -> str:
    await w.build()
    token = await w.customer(revoked_at=ago("1 hour"))
    await sibling(w, token, created_at=ago("2 hours"))
    return await named(w, await w.fails(token))


@plays("token_revoked")
async def beside_a_newer_one_that_died_long_ago(w: World) -> str:
    await w.build()
    token = await w.customer()
    await sibling(w, token, created_at=ago("10 days"), revoked_at=ago("5 days"))
    await w.works(token, 2)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


@plays("token_revoked")
async def and_the_others_of_its_application_deleted(w: World) -> str:
    token = await at_work(w)
    other = await sibling(w, token, created_at=ago("20 days"))
    await w.works(other)
    await w.revoke(token)
    await w.delete(other)
    return await named(w, await w.until_failing(token))


# --- and the owner --------------------------------------------------------------------------------------------------


@plays("token_revoked")
async def and_then_the_owner_deactivated(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer()
    _, owner = w.party(token)
    await w.works(token)
    await w.revoke(token)
    await w.until_failing(token, "revoked")
    await w.db.execute("UPDATE users SET active = false WHERE id = $1", owner)
    await passed(0.5)
    return await named(w, await w.fails(token))


@plays("owner_inactive")
async def the_owner_deactivated_and_then_the_token_revoked(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer()
    _, owner = w.party(token)
    await w.works(token)
    await w.db.execute("UPDATE users SET active = false WHERE id = $1", owner)
    incident = await w.until_failing(token, "owner_inactive")
    await w.revoke(token)
    await w.until_failing(token, "revoked")
    return await named(w, incident)


@plays("token_revoked")
async def an_owner_of_another_type_with_the_same_number_gets_a_token(w: World) -> str:
    """Polymorphic owners: User 1 is not Machine 1."""
    await w.build()
    await w.db.execute("ALTER TABLE oauth_access_tokens ADD COLUMN resource_owner_type varchar")
    token = await w.customer(resource_owner_type="User")
    await w.works(token)
    await w.revoke(token)
    await w.issue(*w.party(token), created_at=NOW, resource_owner_type="Machine")
    return await named(w, await w.until_failing(token))


@plays("owner_inactive", "token_revoked")
async def owner_and_token_in_one_second(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer()
    await w.works(token)
    await w.db.execute("UPDATE users SET active = false")
    await w.revoke(token)
    return await named(w, await w.until_failing(token))
