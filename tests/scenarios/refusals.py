"""What else the backend answers to a token that lives: in which form, to whom, what was done to the row around it; and at which
tenant's address."""

from __future__ import annotations

import secrets
from typing import Any, Final

from aiohttp import web

from tests.scenarios.plays import named, perhaps, plays
from tests.scenarios.steps import ELSEWHERE, ROUTE, address_of, at_work, change, each_named, passed, tenants
from tests.scenarios.world import Answer, World, refused, served

INVALID: Final = 'Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token is invalid"'
REVOKED: Final = 'Bearer error="invalid_token", error_description="The access token was revoked"'
ACME: Final = "/t/acme/scim/v2/Users"
GLOBEX: Final = "/t/globex/scim/v2/Users"
WRITE: Final[dict[str, Any]] = {"method": "POST", "path": "/scim/v2/Users", "json_body": {}}

# --- in which form --------------------------------------------------------------------------------------------------


async def _answered(w: World, answer: Answer, **how: Any) -> str:
    """What is named when a backend that served begins to answer like that."""
    token = await at_work(w)
    w.backend.script = answer
    return await named(w, await w.fails(token, **how))


def _no_writes(request: web.Request) -> web.StreamResponse:
    return refused()(request) if request.method == "POST" else served(request)  # type: ignore[return-value]


@plays("backend_disagrees")
async def without_a_word_of_the_token(w: World) -> str:
    body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "401"}
    password, bare, forbidden = refused(challenge='Basic realm="staging"'), refused(challenge=""), refused(403, "")
    tokens = await tenants(w, 4)
    incidents = []
    for token, answer in zip(tokens, (password, bare, forbidden, refused(401, INVALID, body=body)), strict=True):
        w.backend.script = answer
        incidents.append(await w.fails(token))
    return await each_named(w, incidents)


@plays("backend_disagrees")
async def of_one_protected_user(w: World) -> str:
    answer = refused(403, "", body={"detail": "protected"})
    return await _answered(w, answer, method="PATCH", path="/scim/v2/Users/7", json_body={})


@plays("backend_disagrees")
async def of_writes_alone(w: World) -> str:
    return await _answered(w, _no_writes, **WRITE)


@plays("backend_disagrees")
async def of_writes_in_turns_with_reads_that_are_served(w: World) -> str:
    await w.build()
    token = await w.customer()
    w.backend.script = _no_writes
    incidents = []
    for _ in range(4):
        await w.works(token)
        incidents.append(await w.fails(token, **WRITE))
    return await named(w, incidents[0])


@plays("backend_disagrees")
async def of_every_second_request(w: World) -> str:
    await w.build()
    token = await w.customer()
    seen = 0

    def answer(request: web.Request) -> web.StreamResponse:
        nonlocal seen
        seen += 1
        return refused()(request) if seen % 2 else served(request)  # type: ignore[return-value]

    w.backend.script = answer
    incidents = []
    for _ in range(4):
        incidents.append(await w.fails(token))
        await w.works(token)
    return await named(w, incidents[0])


@plays("backend_disagrees")
async def to_all_tenants_since_a_deployment(w: World) -> str:
    tokens = await tenants(w, 4)
    w.backend.script = refused(challenge=INVALID)
    for n, token in enumerate(tokens[1:], 1):
        await w.fails(token, address=address_of(n))
    return await named(w, await w.fails(tokens[0], address=address_of(0)))


# --- what was done to the row around it -----------------------------------------------------------------------------


async def _refused_alive(w: World) -> tuple[str, str]:
    """A token that lives when the backend refuses it, and the incident."""
    token = await at_work(w, 1)
    w.backend.script = refused(challenge=INVALID)
    return token, await w.fails(token)


@perhaps("backend_disagrees")
async def revoked_by_support_at_the_refusal(w: World) -> str:
    token, incident = await _refused_alive(w)
    await w.revoke(token)
    return await named(w, incident)


@perhaps("backend_disagrees")
async def regenerated_by_support_at_the_refusal(w: World) -> str:
    token, incident = await _refused_alive(w)
    await w.regenerate(token)
    return await named(w, incident)


@plays("backend_disagrees")
async def deleted_seconds_after_the_refusal(w: World) -> str:
    token, incident = await _refused_alive(w)
    await passed(2.5)
    await w.delete(token)
    return await named(w, incident)


@plays("backend_disagrees")
async def its_lifetime_shortened_after_the_refusal(w: World) -> str:
    token, incident = await _refused_alive(w)
    await change(w, token, expires_in=60)
    return await named(w, incident)


@plays("token_superseded")
async def regenerated_a_moment_before_and_let_through(w: World) -> str:
    token = await at_work(w, 1)
    w.backend.script = refused(challenge=REVOKED)
    await w.regenerate(token)
    return await named(w, await w.fails(token))


@plays("token_deleted")
async def deleted_a_moment_before_and_let_through(w: World) -> str:
    token = await at_work(w)
    w.backend.script = refused(challenge=INVALID)
    await w.delete(token)
    return await named(w, await w.fails(token))


# --- whose address --------------------------------------------------------------------------------------------------


@plays("token_revoked")
async def at_anothers_address_and_revoked_too(w: World) -> str:
    await w.build(more=ROUTE)
    acme, globex = await w.customer("acme"), await w.customer("globex")
    await w.works(acme, path=ACME)
    await w.works(globex, path=GLOBEX, address=ELSEWHERE)
    await w.revoke(acme)
    await w.until_failing(acme, path=ACME)
    return await named(w, await w.fails(acme, path=GLOBEX))


@plays("token_unknown")
async def of_nobody_at_a_known_tenants_address(w: World) -> str:
    await w.build(more=ROUTE)
    await w.works(await w.customer(), path=ACME)
    return await named(w, await w.fails(secrets.token_urlsafe(32), path=ACME))


@plays("backend_disagrees")
async def at_its_own_address_in_capitals(w: World) -> str:
    await w.build(more=ROUTE)
    token = await w.customer()
    await w.works(token, path=ACME.replace("acme", "ACME"))
    w.backend.script = refused()
    return await named(w, await w.fails(token, path=ACME.replace("acme", "ACME")))


@perhaps("backend_disagrees")
async def at_its_own_address_in_capitals_from_the_first_request_on(w: World) -> str:
    await w.build(more=ROUTE)
    token = await w.customer()
    await w.works(await w.customer("globex"), path=GLOBEX, address=ELSEWHERE)
    w.backend.script = refused()
    return await named(w, await w.fails(token, path=ACME.replace("acme", "ACME")))


@perhaps("backend_disagrees")
async def where_the_rule_for_addresses_finds_no_tenant(w: World) -> str:
    await w.build(more="[tenant_route]\npath = '^/scim/(?P<tenant>[^/]+)/'")
    token = await w.customer()
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@perhaps("wrong_tenant", "backend_disagrees")
async def at_anothers_address_where_its_own_is_refused_too(w: World) -> str:
    await w.build(more=ROUTE)
    acme, globex = await w.customer("acme"), await w.customer("globex")
    await w.works(globex, path=GLOBEX, address=ELSEWHERE)
    w.backend.script = refused()
    await w.fails(globex, path=GLOBEX, address=ELSEWHERE)
    return await named(w, await w.fails(acme, path=GLOBEX))


@plays("backend_disagrees")
async def of_an_owner_of_another_account(w: World) -> str:
    await w.build(more=ROUTE)
    token = await w.issue(await w.db.application("acme"), await w.db.owner(account="globex"))
    w.backend.script = refused()
    return await named(w, await w.fails(token, path=ACME))
