"""The authorization-code set-up, further: what else the old token, the new one and the refresh token can meet. Asked for later,
when what passed at the token endpoint is on record."""

from __future__ import annotations

import secrets

from aiohttp import web

from tests.oauth.vendor import CALLBACK, Connection
from tests.scenarios.plays import named, perhaps, plays
from tests.scenarios.steps import ELSEWHERE, NOW, ago, change, grant, passed, sibling, with_oauth
from tests.scenarios.world import World

# --- the old one ----------------------------------------------------------------------------------------------------


@plays("token_rotated", "shared_token", "token_superseded")
async def another_integration_goes_on_with_what_okta_refreshed(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    old = okta.access
    for _ in range(4):
        await w.works(old)
        await w.works(old, agent="HrSync/2.1", address=ELSEWHERE)
    await okta.refresh()
    await w.works(okta.access)
    return await named(w, await w.until_failing(old, agent="HrSync/2.1", address=ELSEWHERE), later=True)


@plays("token_rotated", "token_expired")
async def the_answer_was_lost_and_the_new_one_is_used_elsewhere(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    old = okta.access
    await w.works(old)
    await okta.refresh(lost=True)
    new = await w.db.connection.fetchval(
        "SELECT token FROM oauth_access_tokens WHERE previous_refresh_token = $1", okta.refresh_token
    )
    await w.works(new, address=ELSEWHERE)
    return await named(w, await w.until_failing(old), later=True)


@plays("token_rotated", "token_superseded")
async def refreshed_three_times_and_the_oldest_sent(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    old = okta.access
    await w.works(old)
    for _ in range(3):
        await okta.refresh()
        await w.works(okta.access)
    return await named(w, await w.until_failing(old), later=True)


@plays("token_rotated")
async def after_a_refusal_that_was_put_right(w: World) -> str:
    vendor = await with_oauth(w)
    okta = await Connection.of(vendor)
    old = okta.access
    await w.works(old)
    vendor.refuse = "invalid_client"
    await okta.refresh()
    vendor.refuse = ""
    await okta.refresh()
    await w.works(okta.access)
    return await named(w, await w.until_failing(old), later=True)


@plays("token_rotated", "token_revoked")
async def refreshed_and_the_old_one_put_right_by_hand(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    old = okta.access
    await w.works(old)
    await okta.refresh()
    await w.works(okta.access)
    incident = await w.until_failing(old)
    await w.shown(incident)
    await change(w, old, revoked_at=None)
    await passed(0.5)
    return await named(w, incident, later=True)


@plays("wrong_secret_kind")
async def a_refresh_token_that_was_already_used(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    refresh = okta.refresh_token
    await w.works(okta.access)
    await okta.refresh()
    await w.works(okta.access)
    return await named(w, await w.fails(refresh), later=True)


# --- the new one ----------------------------------------------------------------------------------------------------


@plays("token_revoked")
async def the_new_one_revoked_by_hand_after_a_refusal_that_was_put_right(w: World) -> str:
    vendor = await with_oauth(w)
    okta = await Connection.of(vendor)
    await w.works(okta.access)
    vendor.refuse = "invalid_client"
    await okta.refresh()
    vendor.refuse = ""
    await okta.refresh()
    await w.works(okta.access, 2)
    await passed(1.5)
    await w.revoke(okta.access)
    return await named(w, await w.until_failing(okta.access), later=True)


@plays("token_revoked")
async def revoked_by_hand_and_the_refresh_refused_afterwards(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    await w.works(okta.access)
    await w.revoke(okta.access)
    incident = await w.until_failing(okta.access, "revoked")
    await okta.refresh()
    return await named(w, incident, later=True)


# --- another connection of the pair ---------------------------------------------------------------------------------


@perhaps("token_revoked")
async def revoked_in_the_second_of_anothers_rotation_that_went_past_us(w: World) -> str:
    await w.build()
    token = await w.customer(refresh_token="r-a")
    other = await sibling(w, token, refresh_token="r-b", created_at=ago("3 days"))
    await w.works(token, 2)
    await w.works(other, 2, address=ELSEWHERE)
    new = await sibling(w, token, refresh_token="r-n", previous_refresh_token="r-b")
    await w.works(new, address=ELSEWHERE)
    await w.revoke(other)
    await change(w, new, previous_refresh_token="")
    await w.revoke(token)
    return await named(w, await w.until_failing(token), later=True)


@plays("token_superseded", "token_revoked")
async def a_pasted_one_revoked_after_a_connection_of_the_pair_refreshed(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    pasted = await w.issue(okta.application, okta.owner, created_at=ago("9 days"))
    await w.works(pasted, 2)
    await w.works(okta.access, address=ELSEWHERE)
    await okta.refresh()
    await w.works(okta.access, address=ELSEWHERE)
    await passed(2)
    await w.revoke(pasted)
    return await named(w, await w.until_failing(pasted), later=True)


@plays("token_expired")
async def it_ran_out_and_the_refused_refresh_was_the_other_connections(w: World) -> str:
    vendor = await with_oauth(w)
    vendor.lifetime = 3
    okta = await Connection.of(vendor)
    other = Connection(vendor, okta.application, okta.owner, okta.uid)
    await other.authorize()
    await w.works(okta.access)
    await w.works(other.access, address=ELSEWHERE)
    vendor.refuse = "invalid_grant"
    await other.refresh()
    return await named(w, await w.until_failing(okta.access), later=True)


# --- it ran out -----------------------------------------------------------------------------------------------------


@plays("token_expired")
async def nobody_ever_refreshed(w: World) -> str:
    vendor = await with_oauth(w)
    vendor.lifetime = 2
    okta = await Connection.of(vendor)
    await w.works(okta.access)
    return await named(w, await w.until_failing(okta.access), later=True)


@plays("token_expired", "refresh_failed")
async def the_answer_was_lost_and_the_old_one_ran_out(w: World) -> str:
    vendor = await with_oauth(w)
    vendor.lifetime = 3
    okta = await Connection.of(vendor)
    await w.works(okta.access)
    await okta.refresh(lost=True)
    await w.works(okta.access)
    return await named(w, await w.until_failing(okta.access), later=True)


@plays("token_expired", "refresh_failed")
async def the_token_endpoint_broke_once_and_it_ran_out(w: World) -> str:
    vendor = await with_oauth(w)
    vendor.lifetime = 3
    okta = await Connection.of(vendor)
    await w.works(okta.access)

    async def broken(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500) if request.path == "/oauth/token" else await vendor.answer(request)

    w.backend.script = broken
    form = {"grant_type": "refresh_token", "refresh_token": okta.refresh_token, "client_id": okta.uid}
    async with w.session.post(f"{w.url}/oauth/token", data=form | {"client_secret": okta.secret}) as answer:
        assert answer.status == 500
    return await named(w, await w.until_failing(okta.access), later=True)


@plays("token_expired")
async def the_second_one_after_a_refusal_and_consent_anew(w: World) -> str:
    vendor = await with_oauth(w)
    okta = await Connection.of(vendor)
    await w.works(okta.access)
    vendor.refuse = "invalid_grant"
    await okta.refresh()
    vendor.refuse, vendor.lifetime = "", 2
    await okta.authorize()
    await w.works(okta.access)
    return await named(w, await w.until_failing(okta.access), later=True)


@plays("token_expired")
async def a_pasted_one_of_an_application_of_which_another_owner_signed_in(w: World) -> str:
    await with_oauth(w)
    application, owner = await w.db.application(), await w.db.owner()
    token = await w.issue(application, owner, expires_in=2, created_at=NOW)
    await grant(w, application, await w.db.owner(account="else"))
    await w.works(token)
    return await named(w, await w.until_failing(token), later=True)


# --- the token endpoint refuses -------------------------------------------------------------------------------------


@plays("refresh_failed", "token_deleted")
async def a_refresh_of_a_row_that_was_deleted(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    await w.works(okta.access, 2)
    await w.delete(okta.access)
    status, incident = await okta.refresh()
    assert status == 400
    return await named(w, incident, later=True)


@plays("refresh_failed")
async def a_refresh_with_a_secret_of_nobody(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    await w.works(okta.access)
    okta.refresh_token = secrets.token_urlsafe(32)
    status, incident = await okta.refresh()
    assert status == 400
    return await named(w, incident, later=True)


@perhaps("refresh_failed")
async def a_code_that_was_already_exchanged(w: World) -> str:
    okta = await Connection.of(await with_oauth(w))
    status, incident = await okta.ask(grant_type="authorization_code", code="already-used", redirect_uri=CALLBACK)
    assert status == 400
    return await named(w, incident, later=True)
