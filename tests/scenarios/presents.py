"""What the client presents: mangled, of another kind, or nothing."""

from __future__ import annotations

import hashlib
import secrets
import urllib.parse

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, OKTA, World


async def _mangled(w: World, authorization: str, *, worked: bool = False) -> str:
    await w.build()
    token = await w.customer(token="Zt9" + secrets.token_urlsafe(32))
    if worked:
        await w.works(token)
    percent = urllib.parse.quote(f"{token}+/=", safe="")
    sent = authorization.format(token=token, cut=token[:-5], head=token[4:], upper=token.upper(), percent=percent)
    return await named(w, await w.fails(authorization=sent))


@plays("token_mangled")
async def bearer_twice(w: World) -> str:
    return await _mangled(w, "Bearer Bearer {token}", worked=True)


@plays("token_mangled")
async def in_quotes(w: World) -> str:
    return await _mangled(w, 'Bearer "{token}"')


@plays("token_mangled")
async def the_end_cut_off(w: World) -> str:
    return await _mangled(w, "Bearer {cut}", worked=True)


@plays("token_mangled")
async def the_beginning_cut_off(w: World) -> str:
    return await _mangled(w, "Bearer {head}")


@plays("token_mangled")
async def in_capitals(w: World) -> str:
    return await _mangled(w, "Bearer {upper}")


@plays("token_mangled")
async def without_the_word_bearer(w: World) -> str:
    return await _mangled(w, "{token}", worked=True)


@plays("token_mangled")
async def two_spaces_after_bearer(w: World) -> str:
    return await _mangled(w, "Bearer  {token}")


@plays("token_mangled")
async def percent_encoded(w: World) -> str:
    await w.build()
    token = "ab+cd/" + secrets.token_hex(16) + "=="
    await w.customer(token=token)
    return await named(w, await w.fails(urllib.parse.quote(token, safe="")))


@nearly("token_mangled")
async def user_and_password(w: World) -> str:
    await w.build()
    await w.customer()
    return await named(w, await w.fails(authorization="Basic c2NpbTpzZWNyZXQ="))


@nearly("token_mangled", really="token_unknown")
async def another_token_with_the_same_beginning(w: World) -> str:
    await w.build()
    await w.customer(token="vendor_live_" + "a" * 32)
    return await named(w, await w.fails("vendor_live_" + "b" * 32))


@nearly("token_mangled", really="token_unknown")
async def a_quarter_of_a_token(w: World) -> str:
    await w.build()
    token = await w.customer()
    return await named(w, await w.fails(token[:11]))


# --- wrong_secret_kind ----------------------------------------------------------------------------------------------


@plays("wrong_secret_kind")
async def the_refresh_token(w: World) -> str:
    await w.build()
    refresh = secrets.token_urlsafe(32)
    await w.works(await w.customer(refresh_token=refresh))
    return await named(w, await w.fails(refresh))


@plays("wrong_secret_kind")
async def the_client_secret(w: World) -> str:
    await w.build()
    secret = secrets.token_urlsafe(32)
    await w.db.application("initech", secret=secret)
    await w.works(await w.customer())
    return await named(w, await w.fails(secret, agent=ENTRA))


@plays("wrong_secret_kind")
async def the_digest_out_of_the_table(w: World) -> str:
    await w.build(source_more='hashing = "sha256"')
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    await w.customer(token=digest)
    await w.works(token)
    return await named(w, await w.fails(digest))


@plays("wrong_secret_kind")
async def the_authorization_code(w: World) -> str:
    await w.build()
    application, owner = await w.db.application(), await w.db.owner()
    code = secrets.token_urlsafe(32)
    await w.db.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) VALUES ($1, $2, $3, 600)",
        owner,
        application,
        code,
    )
    return await named(w, await w.fails(code))


@nearly("wrong_secret_kind", really="token_unknown")
async def a_refresh_token_of_nobody(w: World) -> str:
    await w.build()
    await w.works(await w.customer(refresh_token=secrets.token_urlsafe(32)))
    return await named(w, await w.fails(secrets.token_urlsafe(32)))


# --- header_missing -------------------------------------------------------------------------------------------------


@plays("header_missing")
async def a_tier_strips_it_from_one_client(w: World) -> str:
    await w.build()
    await w.works(await w.customer(), 3)
    return await named(w, await w.fails())


@plays("header_missing")
async def the_field_was_emptied(w: World) -> str:
    await w.build()
    await w.works(await w.customer(), 3, agent=ENTRA)
    return await named(w, await w.fails(authorization="Bearer", agent=ENTRA))


@plays("header_missing")
async def a_tier_strips_it_since_a_restart(w: World) -> str:
    await w.build()
    await w.works(await w.customer(), 3)
    await w.stop()
    await w.start()
    await w.works(await w.customer("globex"), address="198.51.100.9")
    return await named(w, await w.fails())


@plays("header_missing")
async def stripped_on_one_tenants_url_behind_a_shared_egress(w: World) -> str:
    await w.build(more="[tenant_route]\npath = '^/t/(?P<tenant>[^/]+)/scim'")
    for name in ("acme", "globex", "initech"):
        await w.works(await w.customer(name), 2, path=f"/t/{name}{'/scim/v2/Users'}")
    return await named(w, await w.fails(path="/t/globex/scim/v2/Users"))


@nearly("header_missing")
async def a_browser_that_never_had_one(w: World) -> str:
    await w.build()
    await w.works(await w.customer(), 2)
    return await named(w, await w.fails(agent="Mozilla/5.0", address="203.0.113.77"))


@nearly("header_missing")
async def a_client_that_waits_to_be_asked(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2, agent="JavaHttp/11")
    incident = await w.fails(agent="JavaHttp/11")
    await w.works(token, 2, agent="JavaHttp/11")
    return await named(w, incident)


@nearly("header_missing")
async def a_new_customer_behind_an_egress_that_many_share(w: World) -> str:
    await w.build()
    for name in ("acme", "globex", "initech"):
        await w.works(await w.customer(name), 2, agent=OKTA)
    return await named(w, await w.fails(agent=OKTA))
