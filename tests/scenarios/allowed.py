"""Alive and not allowed, further: owners that come and go, scopes of odd forms."""

from __future__ import annotations

from typing import Any, Final

from tests.scenarios.plays import named, plays
from tests.scenarios.rights import SCOPES
from tests.scenarios.steps import ELSEWHERE, REFUSE_OWNER, TWO_WEEKS, at_work, change, each_named, passed
from tests.scenarios.world import World, refused, served

DEACTIVATE: Final = {"Operations": [{"op": "replace", "value": {"active": False}}]}
CREATE: Final[dict[str, Any]] = {"method": "POST", "path": "/scim/v2/Users", "json_body": {"userName": "a"}}

# --- owner_inactive -------------------------------------------------------------------------------------------------


async def _owned(w: World) -> tuple[str, Any]:
    """A token at work, and its owner, where inactive owners are refused."""
    await w.build(more=REFUSE_OWNER)
    token = await w.customer()
    await w.works(token)
    return token, w.party(token)[1]


@plays("owner_inactive")
async def active_again_before_anybody_asked(w: World) -> str:
    token, _ = await _owned(w)
    await w.db.execute("UPDATE users SET active = false")
    incident = await w.until_failing(token)
    await w.shown(incident)
    await w.db.execute("UPDATE users SET active = true")
    await passed(0.5)
    return await named(w, incident)


@plays("owner_inactive")
async def deactivated_by_hand_after_the_backend_had_refused_that_by_scim(w: World) -> str:
    token, owner = await _owned(w)
    w.backend.script = refused(400, "")
    await w.call(token, method="PATCH", path=f"/scim/v2/Users/{owner}", json_body=DEACTIVATE)
    w.backend.script = served
    await w.db.execute("UPDATE users SET active = false")
    return await named(w, await w.until_failing(token))


@plays("owner_inactive")
async def deleted_by_the_customers_own_scim(w: World) -> str:
    token, owner = await _owned(w)
    await w.works(token, method="DELETE", path=f"/scim/v2/Users/{owner}")
    await w.db.execute("DELETE FROM users WHERE id = $1", owner)
    return await named(w, await w.until_failing(token))


@plays("backend_disagrees")
async def a_deployment_refuses_all_and_the_owner_had_long_been_inactive(w: World) -> str:
    await w.build()
    token, other = await w.customer(), await w.customer("globex")
    await w.works(token)
    await w.works(other, address=ELSEWHERE)
    await w.db.execute("UPDATE users SET active = false WHERE account = 'acme'")
    await passed(1)
    await w.works(token, 3)
    w.backend.script = refused()
    await w.fails(other, address=ELSEWHERE)
    return await named(w, await w.fails(token))


@plays("backend_disagrees")
async def scim_deactivated_another_person_of_the_owners_number(w: World) -> str:
    token = await at_work(w, 1)
    _, owner = w.party(token)
    await w.works(token, method="PATCH", path=f"/scim/v2/Users/{owner}", json_body=DEACTIVATE)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("backend_disagrees")
async def the_owner_had_come_back_just_before(w: World) -> str:
    token = await at_work(w, 1)
    await w.db.execute("UPDATE users SET active = false")
    await passed(0.7)
    await w.db.execute("UPDATE users SET active = true")
    await passed(0.7)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("backend_disagrees")
async def the_owner_was_deactivated_after_the_refusal(w: World) -> str:
    token = await at_work(w, 1)
    w.backend.script = refused()
    incident = await w.fails(token)
    await w.db.execute("UPDATE users SET active = false")
    return await named(w, incident)


@plays("backend_disagrees")
async def of_a_token_without_an_owner(w: World) -> str:
    await w.build()
    token = await w.issue(await w.db.application(), None)
    await w.works(token)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


# --- scope_missing --------------------------------------------------------------------------------------------------


@plays("scope_missing")
async def in_a_form_that_nobody_knows_or_none_at_all(w: World) -> str:
    await w.build(more=SCOPES)
    tokens = [await w.customer(f"tenant-{n}", scopes=scopes) for n, scopes in enumerate(("scim,scim:read", "SCIM", None, ""))]
    return await each_named(w, [await w.fails(token, **CREATE) for token in tokens])


@plays("scope_missing")
async def taken_away_and_given_back_before_anybody_asked(w: World) -> str:
    await w.build(more=SCOPES)
    token = await w.customer()
    await w.works(token)
    await change(w, token, scopes="scim:read")
    incident = await w.until_failing(token, **CREATE)
    await w.shown(incident)
    await change(w, token, scopes="scim")
    await passed(0.5)
    return await named(w, incident)


@plays("scope_missing", "backend_disagrees")
async def the_backend_names_one_that_it_has_and_one_that_it_lacks(w: World) -> str:
    await w.build()
    token = await w.customer(scopes="scim")
    w.backend.script = refused(403, 'Bearer error="insufficient_scope", scope="admin scim"')
    return await named(w, await w.fails(token))


@plays("scope_missing")
async def the_backend_wants_another_and_the_owner_is_inactive(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.db.execute("UPDATE users SET active = false")
    w.backend.script = refused(403, 'Bearer error="insufficient_scope", scope="admin"')
    return await named(w, await w.fails(token))


@plays("backend_disagrees", "scope_missing")
async def the_backend_names_none_and_means_a_suspended_account(w: World) -> str:
    token = await at_work(w, 1)
    w.backend.script = refused(403, 'Bearer error="insufficient_scope"', body={"detail": "account suspended"})
    return await named(w, await w.fails(token))


@plays("token_expired")
async def expired_and_without_the_scope(w: World) -> str:
    await w.build(more=SCOPES)
    token = await w.customer(scopes="profile", expires_in=TWO_WEEKS - 86_400)
    return await named(w, await w.fails(token, **CREATE))
