"""Alive, but not allowed: owner, scopes, another tenant's address."""

from __future__ import annotations

from aiohttp import web

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, World, refused, until

REFUSE_OWNER = "[policy]\nrefuse_inactive_owner = true"
ROUTE = "[tenant_route]\npath = '^/t/(?P<tenant>[^/]+)/scim'"


@plays("owner_inactive")
async def the_customer_deactivates_the_tokens_owner_by_scim(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer()
    _, owner = w.party(token)
    await w.works(token)
    patch = {"Operations": [{"op": "replace", "value": {"active": False}}]}
    await w.works(token, method="PATCH", path=f"/scim/v2/Users/{owner}", json_body=patch)
    await w.db.execute("UPDATE users SET active = false WHERE id = $1", owner)
    return await named(w, await w.until_failing(token))


@plays("owner_inactive")
async def the_vendors_own_code_refuses_for_a_deleted_owner(w: World) -> str:
    await w.build()
    token = await w.customer()
    _, owner = w.party(token)
    await w.works(token)
    await w.db.execute("DELETE FROM users WHERE id = $1", owner)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@nearly("owner_inactive", really="token_revoked")
async def revoked_and_the_owner_gone_as_well(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer(revoked_at="=now() AT TIME ZONE 'utc'")
    await w.db.execute("UPDATE users SET active = false")
    return await named(w, await w.fails(token))


@nearly("owner_inactive")
async def it_worked_with_that_owner_until_now(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.db.execute("UPDATE users SET active = false")
    await w.works(token, 3)

    async def noticed() -> bool:
        told = await w.command("token", w.fingerprint(token))
        return told is not None and told["history"]["last_reading"]["state"]["owner_state"] == "inactive"

    await until(noticed)
    await w.works(token, 3)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@nearly("owner_inactive")
async def the_backend_refuses_everybody_in_that_minute(w: World) -> str:
    await w.build()
    token, other = await w.customer(), await w.customer("globex")
    await w.db.execute("UPDATE users SET active = false WHERE account = 'acme'")
    w.backend.script = refused()
    await w.fails(other, address="198.51.100.9")
    return await named(w, await w.fails(token))


@nearly("owner_inactive", really="backend_disagrees")
async def the_page_of_a_tier_before_the_backend(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.db.execute("UPDATE users SET active = false")
    w.backend.script = lambda _: web.Response(status=403, text="<html>Access denied</html>", content_type="text/html")
    return await named(w, await w.fails(token))


# --- scope_missing --------------------------------------------------------------------------------------------------

SCOPES = '[policy]\nread_scopes = ["scim", "scim:read"]\nwrite_scopes = ["scim"]'


@plays("scope_missing")
async def a_reading_token_writes(w: World) -> str:
    await w.build(more=SCOPES)
    token = await w.customer(scopes="scim:read")
    await w.works(token)
    return await named(w, await w.fails(token, method="POST", path="/scim/v2/Users", json_body={"userName": "a"}))


@plays("scope_missing")
async def a_tenant_that_may_only_read_writes(w: World) -> str:
    await w.build(more='[policy]\nread_only_tenants = ["acme"]')
    token = await w.customer()
    await w.works(token)
    return await named(w, await w.fails(token, method="POST", path="/scim/v2/Users", json_body={"userName": "a"}))


@plays("scope_missing")
async def the_backend_wants_another_scope(w: World) -> str:
    await w.build()
    token = await w.customer(scopes="profile")
    w.backend.script = refused(403, 'Bearer error="insufficient_scope", scope="scim"')
    return await named(w, await w.fails(token, agent=ENTRA))


@nearly("scope_missing", really="backend_disagrees")
async def the_backend_asks_for_a_scope_that_the_token_has(w: World) -> str:
    await w.build()
    token = await w.customer(scopes="scim profile")
    w.backend.script = refused(403, 'Bearer error="insufficient_scope", scope="scim"')
    return await named(w, await w.fails(token))


@nearly("scope_missing")
async def the_backend_forbids_for_a_rule_of_its_own(w: World) -> str:
    await w.build(more=SCOPES)
    token = await w.customer(scopes="scim")
    w.backend.script = refused(403, "", body={"detail": "SCIM is not part of your plan"})
    return await named(w, await w.fails(token))


# --- wrong_tenant ---------------------------------------------------------------------------------------------------


@plays("wrong_tenant")
async def acmes_token_at_globexs_address(w: World) -> str:
    await w.build(more=ROUTE)
    acme, globex = await w.customer("acme"), await w.customer("globex")
    await w.works(acme, path="/t/acme/scim/v2/Users")
    await w.works(globex, path="/t/globex/scim/v2/Users", address="198.51.100.9")
    w.backend.script = refused()
    return await named(w, await w.fails(acme, path="/t/globex/scim/v2/Users"), later=True)


@plays("wrong_tenant")
async def a_new_connection_with_the_address_of_another(w: World) -> str:
    await w.build(more=ROUTE)
    acme, globex = await w.customer("acme"), await w.customer("globex")
    await w.works(globex, 2, path="/t/globex/scim/v2/Users", address="198.51.100.9")
    w.backend.script = refused(403, "")
    return await named(w, await w.fails(acme, agent=ENTRA, path="/t/globex/scim/v2/Users"), later=True)


@nearly("wrong_tenant")
async def the_address_names_tenants_otherwise_than_the_rows(w: World) -> str:
    await w.build(more=ROUTE)
    token = await w.customer("Acme Incorporated")
    await w.works(token, 2, path="/t/a-4711/scim/v2/Users")
    w.backend.script = refused()
    return await named(w, await w.fails(token, path="/t/a-4711/scim/v2/Users"), later=True)


@nearly("wrong_tenant")
async def one_of_two_addresses_of_its_own(w: World) -> str:
    await w.build(more=ROUTE)
    token = await w.customer("acme")
    await w.works(token, 2, path="/t/acme-eu/scim/v2/Users")
    await w.works(token, 2, path="/t/acme/scim/v2/Users")
    w.backend.script = refused()
    return await named(w, await w.fails(token, path="/t/acme-eu/scim/v2/Users"))


@nearly("wrong_tenant", really="backend_disagrees")
async def its_own_address(w: World) -> str:
    await w.build(more=ROUTE)
    token = await w.customer("acme")
    w.backend.script = refused()
    return await named(w, await w.fails(token, path="/t/acme/scim/v2/Users"))
