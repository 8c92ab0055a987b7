"""Somebody else had a part in it: a second connection, a known fault of Doorkeeper, a clock."""

from __future__ import annotations

import time

from aiohttp import web

from proxy.evidence.dossier import NEAR_SECONDS
from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, OKTA, Answer, World, refused, served, until
from tests.sources.doorkeeper_tables import MODERN, NULLABLE_PREVIOUS

UTC_NOW = "clock_timestamp() AT TIME ZONE 'utc'"

# --- shared_token ---------------------------------------------------------------------------------------------------


async def _two_connections(w: World, second: str) -> str:
    await w.build()
    token = await w.customer()
    for _ in range(4):
        await w.works(token, agent=OKTA)
        await w.works(token, agent=second, address="198.51.100.20")
    await w.regenerate(token)
    return await named(w, await w.until_failing(token, agent=OKTA))


@plays("shared_token")
async def okta_and_entra_with_one_token(w: World) -> str:
    return await _two_connections(w, ENTRA)


@plays("shared_token")
async def okta_and_a_warehouse_sync_with_one_token(w: World) -> str:
    return await _two_connections(w, "HrSync/2.1")


@nearly("shared_token", really="token_superseded")
async def a_person_tried_it_with_curl(w: World) -> str:
    return await _two_connections(w, "curl/7.88.1")


@nearly("shared_token", really="token_superseded")
async def one_client_from_two_addresses(w: World) -> str:
    return await _two_connections(w, OKTA)


@nearly("shared_token")
async def moved_from_okta_to_entra_and_then_regenerated(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 4, agent=OKTA)
    await w.works(token, 4, agent=ENTRA, address="198.51.100.20")
    await w.regenerate(token)
    return await named(w, await w.until_failing(token, agent=ENTRA, address="198.51.100.20"))


# --- null_refresh_match ---------------------------------------------------------------------------------------------


def _old_doorkeeper(w: World, victim: str, stranger: str, *, slow: float = 0.1) -> Answer:
    """Doorkeeper 5.4: the first use of a token whose previous_refresh_token is NULL revokes a row without refresh token, then
    the request goes on: `slow` seconds of work in the database."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == f"Bearer {stranger}":
            await w.revoke(victim)
            await w.db.execute("UPDATE oauth_access_tokens SET previous_refresh_token = '' WHERE token = $1", stranger)
            await w.db.execute(f"SELECT pg_sleep({slow})")
        return served(request)

    return answer


async def _strangers_first_use(w: World, schema: str, slow: float = 0.1, **columns: object) -> str:
    await w.build(schema=schema)
    victim = await w.customer("acme", **columns)
    await w.works(victim, 2)
    stranger = await w.customer("globex", created_at=f"={UTC_NOW}")
    w.backend.script = _old_doorkeeper(w, victim, stranger, slow=slow)
    await w.works(stranger, address="198.51.100.9")
    return await w.until_failing(victim)


@plays("null_refresh_match")
async def a_strangers_first_use_ends_it(w: World) -> str:
    return await named(w, await _strangers_first_use(w, NULLABLE_PREVIOUS))


@plays("null_refresh_match")
async def the_same_in_a_slow_moment_asked_later(w: World) -> str:
    return await named(w, await _strangers_first_use(w, NULLABLE_PREVIOUS, slow=0.8), later=True)


async def _by_hand_beside_a_first_use(w: World, **columns: object) -> str:
    await w.build(schema=NULLABLE_PREVIOUS)
    token = await w.customer("acme")
    await w.works(token, 2)
    stranger = await w.customer("globex", created_at=f"={UTC_NOW}", **columns)
    await w.works(stranger, address="198.51.100.9")
    await w.revoke(token)
    return await named(w, await w.until_failing(token, "revoked"), later=True)


@nearly("null_refresh_match")
async def revoked_by_hand_just_after_a_strangers_first_use(w: World) -> str:
    return await _by_hand_beside_a_first_use(w)


@nearly("null_refresh_match", really="token_revoked")
async def the_strangers_token_came_from_a_refresh(w: World) -> str:
    return await _by_hand_beside_a_first_use(w, refresh_token="r-10", previous_refresh_token="r-9")


async def _first_use_of_a_token_issued_before_us(w: World) -> str:
    """Whether it was the first use anywhere, nobody here can know."""
    await w.build(schema=NULLABLE_PREVIOUS)
    victim, stranger = await w.customer("acme"), await w.customer("globex")
    await w.works(victim, 2)
    w.backend.script = _old_doorkeeper(w, victim, stranger)
    await w.works(stranger, address="198.51.100.9")
    return await named(w, await w.until_failing(victim), later=True)


@nearly("null_refresh_match")
async def perhaps_a_strangers_first_use(w: World) -> str:
    return await _first_use_of_a_token_issued_before_us(w)


@nearly("token_revoked")
async def perhaps_ended_by_a_stranger(w: World) -> str:
    return await _first_use_of_a_token_issued_before_us(w)


@nearly("null_refresh_match", really="token_revoked")
async def the_column_is_not_nullable(w: World) -> str:
    return await named(w, await _strangers_first_use(w, MODERN))


@nearly("null_refresh_match")
async def the_token_has_a_refresh_token(w: World) -> str:
    return await named(w, await _strangers_first_use(w, NULLABLE_PREVIOUS, refresh_token="r-1"))


@nearly("null_refresh_match", really="token_revoked")
async def the_stranger_had_long_been_in_use(w: World) -> str:
    await w.build(schema=NULLABLE_PREVIOUS)
    victim, stranger = await w.customer("acme"), await w.customer("globex")
    await w.works(victim)
    first = time.time()
    await w.works(stranger, address="198.51.100.9")

    async def past_its_first_use() -> bool:
        return time.time() > first + NEAR_SECONDS + 0.5

    await until(past_its_first_use)
    w.backend.script = _old_doorkeeper(w, victim, stranger)
    await w.works(stranger, address="198.51.100.9")
    return await named(w, await w.until_failing(victim))


# --- clock_skew -----------------------------------------------------------------------------------------------------


async def _database_ahead(w: World, seconds: int) -> None:
    """The database's clock goes ahead of ours."""
    await w.db.execute(
        "CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
        f"$$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} seconds' $$; "
        f'ALTER DATABASE "{w.name}" SET search_path = ahead, pg_catalog, public;'
    )
    await w.stop()
    await w.start()


@plays("clock_skew")
async def the_databases_clock_is_ahead(w: World) -> str:
    await w.build()
    await _database_ahead(w, 4)  # further apart, what holds by one clock alone is a 503
    return await named(w, await w.fails(await w.customer(expires_in=14 * 86_400 + 3)))


@plays("clock_skew")
async def the_backends_clock_is_ahead(w: World) -> str:
    await w.build()
    token = await w.customer(expires_in=14 * 86_400 + 60)
    await w.works(token)
    w.backend.script = refused(challenge='Bearer error="invalid_token", error_description="The access token expired"')
    return await named(w, await w.fails(token))


@nearly("clock_skew", really="token_expired")
async def expired_by_either_clock(w: World) -> str:
    await w.build()
    await _database_ahead(w, 90)
    return await named(w, await w.fails(await w.customer(expires_in=13 * 86_400)))
