"""Lifetimes: odd ones, changed ones, replaced in time, and what the backend says of them."""

from __future__ import annotations

from tests.scenarios.plays import named, plays
from tests.scenarios.steps import (
    ELSEWHERE,
    OBSERVE,
    REFUSE_OWNER,
    TWO_WEEKS,
    ago,
    ahead,
    at_work,
    change,
    each_named,
    passed,
    refused_as,
    sibling,
    until_recorded,
)
from tests.scenarios.world import World, refused, served

TEN_YEARS = 315_360_000
EXPIRED = 'Bearer error="invalid_token", error_description="The access token expired"'
REVOKED = 'Bearer error="invalid_token", error_description="The access token was revoked"'
INVALID = 'Bearer error="invalid_token", error_description="The access token is invalid"'

# --- by the row -----------------------------------------------------------------------------------------------------


@plays("token_expired")
async def with_a_lifetime_of_nothing_or_less(w: World) -> str:
    await w.build()
    tokens = [await w.customer("acme", expires_in=0), await w.customer("globex", expires_in=-5)]
    return await refused_as(w, *(f"Bearer {token}" for token in tokens))


@plays("token_expired", "clock_skew")
async def a_second_ago(w: World) -> str:
    await w.build()
    return await named(w, await w.fails(await w.customer(expires_in=TWO_WEEKS - 1)))


@plays("token_expired", "clock_skew")
async def before_a_beginning_that_is_yet_to_come(w: World) -> str:
    await w.build()
    return await named(w, await w.fails(await w.customer(created_at=ahead("5 seconds"), expires_in=-10)))


@plays("token_expired")
async def its_beginning_moved_by_a_restore_in_another_zone(w: World) -> str:
    token = await at_work(w, expires_in=TWO_WEEKS + 7_200)
    await w.db.execute("UPDATE oauth_access_tokens SET created_at = created_at - interval '5 hours'")
    return await named(w, await w.until_failing(token))


@plays("token_expired")
async def shortened_and_put_back_before_anybody_asked(w: World) -> str:
    token = await at_work(w, expires_in=TEN_YEARS)
    await change(w, token, expires_in=86_400)
    incident = await w.until_failing(token)
    await w.shown(incident)
    await change(w, token, expires_in=TEN_YEARS)
    await passed(0.5)
    return await named(w, incident)


@plays("token_expired")
async def lengthened_by_support_after_the_refusal(w: World) -> str:
    token = await at_work(w, expires_in=TWO_WEEKS + 2)
    incident = await w.until_failing(token)
    await change(w, token, expires_in=TEN_YEARS)
    return await named(w, incident)


@plays("token_expired")
async def a_week_ago_and_issued_anew_since(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=7 * 86_400)
    await w.works(await sibling(w, token, created_at=ago("2 days")))
    return await named(w, await w.fails(token))


@plays("token_expired", "token_superseded")
async def renewed_in_time_and_never_pasted(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=TWO_WEEKS - 400)
    await w.works(await sibling(w, token, created_at=ago("1 day")), address=ELSEWHERE)
    return await named(w, await w.fails(token))


@plays("token_expired")
async def while_the_table_was_away(w: World) -> str:
    token = await at_work(w, expires_in=TWO_WEEKS + 2)
    await w.db.execute("ALTER TABLE oauth_access_tokens RENAME TO away")
    await passed(2.5)
    await w.call(token)
    await w.db.execute("ALTER TABLE away RENAME TO oauth_access_tokens")
    return await named(w, await w.until_failing(token))


@plays("token_expired")
async def and_the_owner_inactive_too(w: World) -> str:
    await w.build(more=REFUSE_OWNER)
    token = await w.customer(expires_in=86_400)
    await w.db.execute("UPDATE users SET active = false")
    return await named(w, await w.fails(token))


@plays("token_expired")
async def while_the_proxy_only_observes(w: World) -> str:
    await w.build(more=OBSERVE)
    return await named(w, await until_recorded(w, await w.customer(expires_in=86_400)))


# --- by the backend's word ------------------------------------------------------------------------------------------


@plays("backend_disagrees")
async def what_the_row_contradicts(w: World) -> str:
    await w.build()
    incidents: list[str] = []
    for said, lifetime in ((EXPIRED, None), (REVOKED, None), (INVALID, TWO_WEEKS + 60)):
        token = await w.customer(f"tenant-{len(incidents)}", expires_in=lifetime)
        await w.works(token)
        w.backend.script = refused(challenge=said)
        incidents.append(await w.fails(token))
        w.backend.script = served
    return await each_named(w, incidents)


@plays("backend_disagrees", "clock_skew")
async def expired_four_hours_before_the_end_in_another_zone(w: World) -> str:
    token = await at_work(w, expires_in=TWO_WEEKS + 4 * 3_600)
    w.backend.script = refused(challenge=EXPIRED)
    return await named(w, await w.fails(token))


@plays("backend_disagrees", "clock_skew")
async def expired_by_a_lifetime_that_was_lengthened_since(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=TWO_WEEKS - 40)
    await change(w, token, expires_in=TEN_YEARS)
    await w.works(token)
    w.backend.script = refused(challenge=EXPIRED)
    return await named(w, await w.fails(token))


@plays("token_expired", "clock_skew")
async def expired_in_the_very_second(w: World) -> str:
    token = await at_work(w, 1, expires_in=TWO_WEEKS + 2)
    w.backend.script = refused(challenge=EXPIRED)
    await passed(1.5)
    return await named(w, await w.until_failing(token))
