"""Sources that keep no rows, further: what an endpoint says and takes back, and signatures that do not hold or no longer."""

from __future__ import annotations

import time

from tests.scenarios.issuers import BESIDE, ENDPOINT, SIGNED, active, signed, with_issuer
from tests.scenarios.plays import named, perhaps, plays
from tests.scenarios.steps import passed, refused_as
from tests.scenarios.world import World, refused

# --- an endpoint ----------------------------------------------------------------------------------------------------


@perhaps("token_expired")
async def inactive_from_the_end_on_that_the_endpoint_had_named(w: World) -> str:
    issuer = await with_issuer(w, ENDPOINT)
    token = active(issuer, exp=int(time.time()) + 2)
    await w.works(token)
    await passed(2)
    del issuer.tokens[token]
    return await named(w, await w.until_failing(token))


@plays("undetermined")
async def inactive_and_active_again_before_anybody_asked(w: World) -> str:
    issuer = await with_issuer(w, ENDPOINT)
    token = active(issuer)
    await w.works(token)
    said = issuer.tokens.pop(token)
    incident = await w.until_failing(token)
    await w.shown(incident)
    issuer.tokens[token] = said
    await passed(0.5)
    return await named(w, incident)


@plays("introspection_blind", "backend_disagrees")
async def the_table_says_alive_and_the_backend_refuses_for_itself(w: World) -> str:
    await with_issuer(w, BESIDE)
    token = await w.customer()
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("token_revoked")
async def revoked_in_the_table_and_still_active_at_its_endpoint(w: World) -> str:
    issuer = await with_issuer(w, BESIDE)
    token = await w.customer()
    issuer.tokens[token] = {"active": True, "client_id": "acme", "exp": 0}
    await w.works(token)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


# --- a signature ----------------------------------------------------------------------------------------------------


@plays("token_expired", "clock_skew")
async def signed_to_end_an_hour_ago_or_just_beyond_the_leeway(w: World) -> str:
    await with_issuer(w, SIGNED)
    now = int(time.time())
    return await refused_as(w, *(f"Bearer {signed(exp=end)}" for end in (now - 3_600, now - 31)))


@plays("token_expired")
async def signed_to_end_under_our_eyes(w: World) -> str:
    await with_issuer(w, SIGNED)
    token = signed(exp=int(time.time()) - 27)
    await w.works(token)
    return await named(w, await w.until_failing(token))


@perhaps("token_unknown", "wrong_environment")
async def signed_for_another_audience_or_by_another_issuer(w: World) -> str:
    await with_issuer(w, SIGNED)
    others = (signed(aud="graph"), signed(iss="https://staging.example.com"))
    return await refused_as(w, *(f"Bearer {token}" for token in others))


@perhaps("token_unknown")
async def signed_by_nobody(w: World) -> str:
    await with_issuer(w, SIGNED)
    _, said, _ = signed().split(".")
    return await named(w, await w.fails(f"eyJhbGciOiJub25lIn0.{said}."))


@perhaps("token_mangled", "token_unknown")
async def signed_and_cut_off(w: World) -> str:
    await with_issuer(w, SIGNED)
    token = signed()
    await w.works(token)
    return await named(w, await w.fails(token[:-20]))


@plays("token_mangled")
async def signed_and_in_quotes(w: World) -> str:
    await with_issuer(w, SIGNED)
    token = signed()
    await w.works(token)
    return await named(w, await w.fails(authorization=f'Bearer "{token}"'))


@plays("backend_disagrees")
async def signed_well_and_the_backend_refuses(w: World) -> str:
    await with_issuer(w, SIGNED)
    token = signed()
    await w.works(token)
    w.backend.script = refused()
    return await named(w, await w.fails(token))
