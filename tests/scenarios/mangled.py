"""More of what people and products make of a token, several of a kind in one world; of one that is dead as well, or another's;
and other secrets in its place."""

from __future__ import annotations

import base64
import secrets
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Final

from tests.scenarios.damage import DIGESTS
from tests.scenarios.plays import named, perhaps, plays
from tests.scenarios.steps import ELSEWHERE, NOW, ROUTE, at_work, change, grant, refused_as
from tests.scenarios.world import ENTRA, World
from tests.sources.doorkeeper_tables import digest

TOKEN = "qW3-eR5_tY7uI9oP1aS2dF4gH6jK8lZ0xC-vB3nM5Qw"
COMMON = "vendor-production-scim-2026-key-abcdef-"


async def _sent(w: World, *secrets_: str) -> str:
    """The cause that each of these bearer tokens is given beside one that works."""
    await at_work(w, 1, token=TOKEN)
    return await refused_as(w, *(f"Bearer {sent}" for sent in secrets_))


async def _header(w: World, *values: str) -> str:
    """The same of whole headers."""
    await at_work(w, 1, token=TOKEN)
    return await refused_as(w, *values)


@plays("token_mangled")
async def as_a_page_shows_it_shortened(w: World) -> str:
    return await _sent(w, f"{TOKEN[:24]}...", f"{TOKEN[:30]}...{TOKEN[-4:]}")


# --- around and inside ----------------------------------------------------------------------------------------------


@plays("token_mangled")
async def with_characters_that_nobody_sees(w: World) -> str:
    return await _sent(w, f"{TOKEN}\u00a0", f"\u200b{TOKEN}", f"\ufeff{TOKEN}")


@plays("token_mangled")
async def as_a_word_processor_wrote_it(w: World) -> str:
    return await _sent(w, f"\u201c{TOKEN}\u201d", TOKEN.replace("-", "\u2013"), f"`{TOKEN}`", f"{TOKEN[:30]}\u2026")


@plays("token_mangled")
async def with_the_punctuation_of_a_sentence(w: World) -> str:
    return await _sent(w, f"{TOKEN}.", f"{TOKEN};", f"{TOKEN}#", f"{TOKEN}/")


@plays("token_mangled")
async def broken_by_a_line_end(w: World) -> str:
    return await _sent(w, f"{TOKEN[:20]} {TOKEN[20:]}", f"{TOKEN}%0A")


@plays("token_mangled")
async def percent_encoded_twice(w: World) -> str:
    return await _sent(w, urllib.parse.quote(urllib.parse.quote(f"{TOKEN}=", safe=""), safe=""))


@plays("token_mangled")
async def with_the_name_of_its_field(w: World) -> str:
    return await _sent(
        w,
        f"token:{TOKEN}",
        f"apikey={TOKEN}",
        f"{TOKEN}&scope=scim",
        f"scim_{TOKEN}",
        f"https://vendor.example/scim?access_token={TOKEN}",
    )


@plays("token_mangled")
async def one_character_lost(w: World) -> str:
    return await _sent(w, TOKEN[:-1], TOKEN[1:])


@plays("token_mangled")
async def with_its_own_end_or_a_word_after_it(w: World) -> str:
    return await _sent(w, TOKEN + TOKEN[-8:], f"{TOKEN} acme", f"{TOKEN} {TOKEN}")


@plays("token_mangled")
async def with_a_user_in_base64(w: World) -> str:
    return await _sent(w, base64.b64encode(f"scim:{TOKEN}".encode()).decode())


@plays("token_mangled", "token_unknown")
async def typed_by_hand(w: World) -> str:
    other, swapped = f"{TOKEN[:10]}X{TOKEN[11:]}", TOKEN[:10] + TOKEN[11] + TOKEN[10] + TOKEN[12:]
    return await _sent(w, other, swapped, TOKEN.replace("0", "O"))


# --- the whole header -----------------------------------------------------------------------------------------------


@plays("token_mangled")
async def under_another_scheme(w: World) -> str:
    schemes = ("Basic", "Token", "ApiKey", "SSWS", "OAuth")
    return await _header(w, *(f"{scheme} {TOKEN}" for scheme in schemes), f'Digest username="{TOKEN}"')


@plays("token_mangled")
async def with_the_word_bearer_written_otherwise(w: World) -> str:
    return await _header(w, f"Bearer: {TOKEN}", f"Bearer={TOKEN}", f"Bearer{TOKEN}", f"Bearer\t{TOKEN}", f'"Bearer {TOKEN}"')


@plays("token_mangled")
async def with_the_name_of_the_header(w: World) -> str:
    return await _header(w, f"Authorization: Bearer {TOKEN}", f"Bearer Authorization: Bearer {TOKEN}")


@plays("token_mangled")
async def the_header_twice_in_one(w: World) -> str:
    return await _header(w, f"Bearer {TOKEN}, Bearer {TOKEN}")


# --- of a token that is dead as well --------------------------------------------------------------------------------


async def _dead(w: World, sent: str, *ends: str) -> str:
    """Tokens that worked and came to these ends, and are sent changed; the cause that is named for each."""
    await w.build()
    authorizations = []
    for n, end in enumerate(ends):
        token = await w.customer(f"tenant-{n}")
        await w.works(token, 2)
        await _END[end](w, token)
        await w.until_failing(token)
        authorizations.append(sent.format(token=token, cut=token[:38]))
    return await refused_as(w, *authorizations)


_END: Final[dict[str, Callable[[World, str], Awaitable[object]]]] = {
    "revoked": World.revoke,
    "deleted": World.delete,
    "replaced": World.regenerate,
    "expired": lambda w, token: change(w, token, expires_in=86_400),
}


@plays("token_mangled")
async def in_quotes_and_revoked_expired_or_replaced(w: World) -> str:
    return await _dead(w, 'Bearer "{token}"', "revoked", "expired", "replaced")


@perhaps("token_mangled", "token_deleted")
async def in_quotes_and_deleted(w: World) -> str:
    return await _dead(w, 'Bearer "{token}"', "deleted")


@plays("token_mangled", "token_revoked", "token_unknown")
async def cut_off_and_revoked(w: World) -> str:
    return await _dead(w, "Bearer {cut}", "revoked")


@plays("token_unknown", "token_mangled", "token_deleted")
async def cut_off_and_deleted(w: World) -> str:
    return await _dead(w, "Bearer {cut}", "deleted")


@plays("token_mangled", "token_expired", "token_unknown")
async def cut_off_and_expired_unseen(w: World) -> str:
    await w.build()
    await w.customer(token=TOKEN, expires_in=86_400)
    return await named(w, await w.fails(TOKEN[:38]))


@plays("token_mangled", "token_deleted")
async def in_quotes_here_while_it_works_elsewhere(w: World) -> str:
    await w.build()
    token = await w.customer(token=TOKEN)
    await w.works(token, 2, agent=ENTRA, address=ELSEWHERE)
    incident = await w.fails(authorization=f'Bearer "{token}"')
    await w.works(token, agent=ENTRA, address=ELSEWHERE)
    return await named(w, incident)


@plays("token_mangled")
async def in_quotes_put_right_and_deleted_after_that(w: World) -> str:
    token = await at_work(w, token=TOKEN)
    incident = await w.fails(authorization=f'Bearer "{token}"')
    await w.works(token)
    await w.shown(incident)
    await w.delete(token)
    await w.until_failing(token)
    return await named(w, incident)


# --- whose ----------------------------------------------------------------------------------------------------------


@plays("token_mangled")
async def another_tenants_in_quotes(w: World) -> str:
    await w.build(more=ROUTE)
    acme, globex = await w.customer("acme"), await w.customer("globex", token=TOKEN)
    await w.works(acme, path="/t/acme/scim/v2/Users")
    await w.works(globex, path="/t/globex/scim/v2/Users", address=ELSEWHERE)
    return await named(w, await w.fails(authorization=f'Bearer "{TOKEN}"', path="/t/acme/scim/v2/Users"))


@plays("token_mangled")
async def the_beginning_alone_as_a_page_shows_it(w: World) -> str:
    token = await at_work(w, 1)
    await w.customer("globex")
    return await named(w, await w.fails(token[:16]))


@plays("token_mangled", "token_unknown")
async def cut_off_where_two_customers_begin_alike(w: World) -> str:
    await at_work(w, 1, token=TOKEN)
    await w.customer("globex", token=TOKEN[:30] + "0" * 13)
    return await named(w, await w.fails(TOKEN[:30]))


@plays("token_mangled")
async def two_customers_in_one(w: World) -> str:
    acme = await at_work(w, 1)
    return await named(w, await w.fails(acme + await w.customer("globex")))


@plays("token_unknown")
async def with_a_long_beginning_that_the_vendor_gives_to_all(w: World) -> str:
    await at_work(w, 1, token=COMMON + secrets.token_hex(4))
    return await named(w, await w.fails(COMMON + secrets.token_hex(4)))


@plays("token_unknown", "token_mangled")
async def only_what_all_customers_tokens_begin_with(w: World) -> str:
    await at_work(w, 1, token=COMMON + secrets.token_hex(6))
    await w.customer("globex", token=COMMON + secrets.token_hex(6))
    return await named(w, await w.fails(COMMON))


# --- something else -------------------------------------------------------------------------------------------------


@plays("token_unknown", "token_mangled")
async def the_example_of_a_page_or_what_a_program_writes_for_nothing(w: World) -> str:
    await at_work(w, 1)
    nothing = ("undefined", "null", "YOUR_TOKEN_HERE", "xxxxxxxx", "secret", "0", "550e8400-e29b-41d4-a716-446655440000")
    return await refused_as(w, *(f"Bearer {sent}" for sent in nothing))


@plays("token_unknown", "token_mangled")
async def a_place_that_was_not_filled_in(w: World) -> str:
    await at_work(w, 1)
    return await refused_as(w, "Bearer {{scim_token}}", "Bearer <token>", f"Bearer {'*' * 43}")


@perhaps("token_unknown", "token_mangled")
async def the_dots_that_hide_a_saved_secret(w: World) -> str:
    await at_work(w, 1)
    return await refused_as(w, "Bearer \u2022\u2022\u2022\u2022\u2022\u2022\u2022\u2022")


@plays("header_missing", "token_unknown", "token_mangled")
async def the_word_bearer_alone(w: World) -> str:
    await at_work(w, 1)
    return await named(w, await w.fails(authorization="Bearer Bearer"))


@plays("wrong_secret_kind", "token_mangled")
async def the_refresh_token_in_quotes(w: World) -> str:
    await at_work(w, 1, refresh_token=TOKEN)
    return await named(w, await w.fails(authorization=f'Bearer "{TOKEN}"'))


@plays("wrong_secret_kind", "token_revoked")
async def the_refresh_token_of_a_row_that_was_revoked(w: World) -> str:
    token = await at_work(w, refresh_token=TOKEN)
    await w.revoke(token)
    await w.until_failing(token)
    return await named(w, await w.fails(TOKEN))


@plays("wrong_secret_kind", "token_unknown")
async def a_code_that_was_exchanged_long_ago(w: World) -> str:
    await w.build()
    await grant(w, await w.db.application(), await w.db.owner(), TOKEN, revoked_at=NOW)
    return await named(w, await w.fails(TOKEN))


@plays("wrong_secret_kind", "token_unknown")
async def the_digest_of_a_refresh_token(w: World) -> str:
    await w.build(source_more=DIGESTS)
    await w.customer(token=digest("another"), refresh_token=digest(TOKEN))
    return await named(w, await w.fails(digest(TOKEN)))


@plays("wrong_secret_kind", "token_unknown")
async def the_digest_in_capitals(w: World) -> str:
    await w.build(source_more=DIGESTS)
    await w.customer(token=digest(TOKEN))
    await w.works(TOKEN)
    return await named(w, await w.fails(digest(TOKEN).upper()))
