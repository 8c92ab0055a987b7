"""Sources that keep no rows: an endpoint that says inactive, a signature that does not hold. Neither tells how it ended."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import World
from tests.sources.issuer import CLIENT, PASSWORD, Issuer

ENDPOINT: Final = f"""\
[[source]]
kind = "introspection"
url = "{{url}}/introspect"
client_id = "{CLIENT}"
client_secret = "{PASSWORD}"
recheck_every = 0.3
timeout = 5
"""
BESIDE: Final = f"""\
[[source]]
kind = "doorkeeper_postgres"
dsn = "@production@"
surroundings_timeout = 5
query_timeout = 5
{ENDPOINT}cross_check = "doorkeeper"
"""
SIGNED: Final = """\
[source]
kind = "jwt"
jwks_url = "{url}/keys"
issuer = ["https://issuer.example.com"]
audience = ["scim"]
refresh_every = 1
timeout = 5
"""
KEY: Final = RSAKey.generate_key(2048, {"kid": "r1", "use": "sig"})
NEXT: Final = RSAKey.generate_key(2048, {"kid": "r2", "use": "sig"})


async def with_issuer(w: World, source: str) -> Issuer:
    issuer = await Issuer().start()
    w.also_close(issuer.close)
    issuer.keys = [KEY.as_dict(private=False)]
    await w.build(source=source.format(url=issuer.url))
    return issuer


def active(issuer: Issuer, **more: Any) -> str:
    token = secrets.token_urlsafe(32)
    issuer.tokens[token] = {"active": True, "client_id": "acme", "scope": "scim", "exp": 0} | more
    return token


def signed(**more: Any) -> str:
    now = int(time.time())
    said = {"iss": "https://issuer.example.com", "aud": "scim", "sub": "acme", "iat": now - 60, "exp": now + 600} | more
    return jwt.encode({"alg": "RS256", "kid": KEY.kid}, said, KEY, algorithms=["RS256"])


@nearly("token_deleted")
async def active_at_the_endpoint_and_then_inactive(w: World) -> str:
    issuer = await with_issuer(w, ENDPOINT)
    token = active(issuer)
    await w.works(token, 2)
    del issuer.tokens[token]
    return await named(w, await w.until_failing(token))


@nearly("token_unknown")
async def revoked_before_the_endpoint_was_first_asked(w: World) -> str:
    await with_issuer(w, ENDPOINT)
    return await named(w, await w.fails(secrets.token_urlsafe(32)))


@plays("wrong_secret_kind")
async def a_refresh_token_by_the_endpoints_own_word(w: World) -> str:
    issuer = await with_issuer(w, ENDPOINT)
    return await named(w, await w.fails(active(issuer, token_use="refresh_token")))


@nearly("wrong_environment", really="token_deleted")
async def deleted_in_the_table_and_still_active_at_its_endpoint(w: World) -> str:
    issuer = await with_issuer(w, BESIDE)
    token = await w.customer()
    issuer.tokens[token] = {"active": True, "client_id": "acme", "exp": 0}
    await w.works(token, 2)
    await w.delete(token)
    return await named(w, await w.until_failing(token))


@nearly("token_deleted")
async def the_key_that_signed_it_is_withdrawn(w: World) -> str:
    issuer = await with_issuer(w, SIGNED)
    token = signed()
    await w.works(token, 2)
    issuer.keys = [NEXT.as_dict(private=False)]
    return await named(w, await w.until_failing(token))


@nearly("token_unknown")
async def signed_to_begin_tomorrow(w: World) -> str:
    await with_issuer(w, SIGNED)
    await w.works(signed())
    return await named(w, await w.fails(signed(nbf=int(time.time()) + 86_400)))
