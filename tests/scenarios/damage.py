"""What products and people make of a credential on its way into the header, several of a kind in one world; and another secret
in its place."""

from __future__ import annotations

import base64
import hashlib
import secrets

from tests.oauth.vendor import SWITCHED_ON, Connection, Vendor
from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.steps import refused_as
from tests.scenarios.world import World
from tests.sources.doorkeeper_tables import digest

TOKEN = "aB3-_dEfGhIjKlMnOpQrStUvWxYz0123456789aBcDe"
DIGESTS = 'hashing = "sha256"'


async def _plain(w: World) -> None:
    await w.build()
    await w.works(await w.customer(token=TOKEN))


async def _digests(w: World) -> None:
    await w.build(source_more=DIGESTS)
    await w.customer(token=digest(TOKEN))


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


# --- token_mangled --------------------------------------------------------------------------------------------------


@plays("token_mangled")
async def as_user_or_password_and_in_base64(w: World) -> str:
    await _plain(w)
    return await refused_as(
        w, _basic(f"okta:{TOKEN}"), _basic(f"{TOKEN}:"), f"Bearer {base64.b64encode(TOKEN.encode()).decode()}"
    )


@plays("token_mangled")
async def pasted_with_something_around_it(w: World) -> str:
    await _plain(w)
    around = (f'{{"access_token":"{TOKEN}"}}', f"access_token={TOKEN}", f"[{TOKEN}]", f"{{{TOKEN}}}", f"<{TOKEN}>", f"{TOKEN},")
    return await refused_as(w, *(f"Bearer {sent}" for sent in around))


@plays("token_mangled")
async def glued_to_something_of_its_own_characters(w: World) -> str:
    await _plain(w)
    glued = (TOKEN + secrets.token_urlsafe(32), secrets.token_urlsafe(32) + TOKEN, f"scim-token-of-acme-{TOKEN}")
    return await refused_as(w, *(f"Bearer {sent}" for sent in glued))


@plays("token_mangled")
async def escaped_as_in_json(w: World) -> str:
    await _plain(w)
    escaped = (TOKEN.replace("-", "\\u002d"), TOKEN.replace("_", "\\_"))
    return await refused_as(w, *(f"Bearer {sent}" for sent in escaped))


@plays("token_mangled")
async def quoted_by_a_program(w: World) -> str:
    await _plain(w)
    quoted = (f'\\"{TOKEN}\\"', f"&quot;{TOKEN}&quot;", f"%22{TOKEN}%22", f'"{TOKEN[:-3]}"')
    return await refused_as(w, *(f"Bearer {sent}" for sent in quoted))


@plays("token_mangled")
async def pasted_twice_or_without_its_ends(w: World) -> str:
    await _plain(w)
    changed = (TOKEN * 2, f"{TOKEN},{TOKEN}", TOKEN[4:-4], TOKEN.replace("-", "+").replace("_", "/"))
    return await refused_as(w, *(f"Bearer {sent}" for sent in changed))


@plays("token_mangled")
async def of_which_half_was_copied(w: World) -> str:
    await _plain(w)
    return await refused_as(w, *(f"Bearer {sent}" for sent in (TOKEN[:32], TOKEN[:21], TOKEN[11:], TOKEN[-21:])))


@plays("token_mangled")
async def among_digests(w: World) -> str:
    await _digests(w)
    return await refused_as(w, f'Bearer "{TOKEN}"', f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN[1:]}", f"Bearer {TOKEN}xyz")


@nearly("token_mangled")
async def a_token_of_nobody_in_quotes(w: World) -> str:
    await _plain(w)
    return await refused_as(w, f'Bearer "{secrets.token_urlsafe(32)}"', f"Bearer Bearer {secrets.token_urlsafe(32)}")


@nearly("token_unknown")
async def cut_or_in_capitals_where_only_digests_are_stored(w: World) -> str:
    await _digests(w)
    cut = (TOKEN[:-5], TOKEN[:32], TOKEN[:21], TOKEN.upper())
    return await refused_as(w, *(f"Bearer {sent}" for sent in cut), f'Bearer "{TOKEN.lower()}"')


@nearly("token_mangled", really="token_unknown")
async def of_nobody_where_only_digests_are_stored(w: World) -> str:
    await _digests(w)
    return await refused_as(w, f"Bearer {secrets.token_urlsafe(32)}", f"Bearer {secrets.token_hex(32)}")


# --- wrong_secret_kind ----------------------------------------------------------------------------------------------


@plays("wrong_secret_kind")
async def the_clients_own_credentials(w: World) -> str:
    await w.build()
    secret = secrets.token_hex(32)
    await w.db.application("initech", uid="client-of-initech", secret=secret)
    return await refused_as(
        w, _basic(f"client-of-initech:{secret}"), f"Bearer client-of-initech:{secret}", f'Bearer "{secret}"'
    )


@plays("wrong_secret_kind")
async def the_digest_of_a_token_that_is_stored_plain(w: World) -> str:
    await _plain(w)
    return await refused_as(w, f"Bearer {hashlib.sha256(TOKEN.encode()).hexdigest()}")


@plays("wrong_secret_kind")
async def a_refresh_token_whose_row_is_long_gone(w: World) -> str:
    await w.build(more=SWITCHED_ON)
    vendor = Vendor(w)
    okta = await Connection.of(vendor)
    await w.works(okta.access)
    first, refresh = okta.access, okta.refresh_token
    assert (await okta.refresh())[0] == 200
    await w.works(okta.access)
    await w.delete(first)
    incident = await w.fails(refresh)
    return await named(w, incident, later=True)


@nearly("wrong_secret_kind", really="token_unknown")
async def the_clients_name(w: World) -> str:
    await w.build()
    await w.db.application("initech", uid="client-of-initech")
    return await refused_as(w, "Bearer client-of-initech")
