"""The sources themselves: away, lagging, of another environment, holding another form; and what nobody can decide."""

from __future__ import annotations

import hashlib
import json
import secrets

import asyncpg
from aiohttp import web

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, SOURCE, World, refused, until

UTC_NOW = "clock_timestamp() AT TIME ZONE 'utc'"

# --- source_unavailable: a 503 is no refusal, so there is no incident; the log names the reason -----------------------


async def _reason_of_the_503(w: World, token: str) -> str:
    """What the log says of a request that nobody could judge. There is no incident, for nothing was refused."""
    status = 0

    async def unjudged() -> bool:
        nonlocal status
        status, incident = await w.call(token)
        assert status != 401
        return status == 503 and not incident

    await until(unjudged)
    lines = []

    async def logged() -> bool:
        nonlocal lines
        text = (w.directory / "proxy.log").read_text()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return any(line.get("status") == 503 for line in lines)

    await until(logged)
    found = await w.command("incidents", "list")
    assert [] == found["incidents"]
    return next(str(line["reason"]) for line in lines if line.get("status") == 503)


@plays("source_unavailable")
async def the_table_is_gone(w: World) -> str:
    await w.build(more="")
    token = await w.customer()
    await w.db.execute("ALTER TABLE oauth_access_tokens RENAME TO elsewhere")
    return await _reason_of_the_503(w, token)


@plays("source_unavailable")
async def nobody_listens_at_the_databases_address(w: World) -> str:
    dsn = "postgresql://postgres@127.0.0.1:9/none"
    await w.build(source=SOURCE.format(dsn=dsn, more=""))
    return await _reason_of_the_503(w, secrets.token_urlsafe(32))


@nearly("source_unavailable")
async def the_backend_refuses_while_the_source_is_away(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)

    async def answer(request: web.Request) -> web.StreamResponse:
        await w.db.execute("ALTER TABLE oauth_access_tokens RENAME TO elsewhere")
        return refused()(request)  # type: ignore[return-value]

    w.backend.script = answer
    return str((await w.command("incidents", "show", await w.fails(token)))["cause"]["code"])


# --- undetermined ---------------------------------------------------------------------------------------------------


@plays("undetermined")
async def a_stranger_without_credential(w: World) -> str:
    await w.build()
    return await named(w, await w.fails(agent="python-requests/2.31"))


@plays("undetermined")
async def gone_in_the_second_in_which_the_backend_refuses(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)

    def answer(request: web.Request) -> web.StreamResponse:
        return refused()(request)  # type: ignore[return-value]

    w.backend.script = answer
    incident = await w.fails(token)
    await w.delete(token)
    return await named(w, incident)


@nearly("undetermined", really="token_revoked")
async def all_is_clear(w: World) -> str:
    await w.build()
    return await named(w, await w.fails(await w.customer(revoked_at="=(now() AT TIME ZONE 'utc') - interval '1 hour'")))


# --- replica_lag ----------------------------------------------------------------------------------------------------


@plays("replica_lag")
async def the_replica_lacks_a_new_row_and_so_does_the_backends(w: World) -> str:
    await with_replica(w)
    token = await w.customer(created_at=f"={UTC_NOW}")
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("replica_lag")
async def the_row_is_committed_a_moment_after(w: World) -> str:
    await w.build()
    application, owner = await w.db.application(), await w.db.owner()
    token = secrets.token_urlsafe(32)
    async with w.db.connection.transaction():
        await w.issue(application, owner, token=token, created_at=f"={UTC_NOW}")
        incident = await w.fails(token)
    return await named(w, incident)


@nearly("replica_lag")
async def inserted_by_hand_as_the_repair(w: World) -> str:
    await w.build()
    token = secrets.token_urlsafe(32)
    incident = await w.fails(token)
    await w.issue(await w.db.application(), await w.db.owner(), token=token, created_at=f"={UTC_NOW}")
    return await named(w, incident)


@nearly("replica_lag")
async def deleted_and_put_back_within_a_second(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.delete(token)
    incident = await w.until_failing(token)
    await w.issue(*w.party(token), token=token)
    return await named(w, incident)


@nearly("replica_lag")
async def a_young_one_that_worked_deleted_and_put_back_within_a_second(w: World) -> str:
    await w.build()
    token = await w.customer(created_at=f"={UTC_NOW} - interval '20 seconds'")
    await w.works(token, 2)
    await w.delete(token)
    incident = await w.until_failing(token)
    await w.issue(*w.party(token), token=token, created_at=f"={UTC_NOW} - interval '21 seconds'")
    return await named(w, incident)


@nearly("replica_lag")
async def an_old_row_copied_in_after_the_refusal(w: World) -> str:
    await w.build()
    token = secrets.token_urlsafe(32)
    incident = await w.fails(token)
    await w.issue(await w.db.application(), await w.db.owner(), token=token)
    return await named(w, incident)


@nearly("replica_lag")
async def a_row_of_twenty_minutes_put_back_after_the_refusal(w: World) -> str:
    await w.build()
    token = secrets.token_urlsafe(32)
    incident = await w.fails(token)
    before = f"={UTC_NOW} - interval '20 minutes'"
    await w.issue(await w.db.application(), await w.db.owner(), token=token, created_at=before)
    return await named(w, incident)


@plays("replica_lag")
async def a_transaction_of_two_minutes_is_committed_a_moment_after(w: World) -> str:
    await w.build()
    application, owner = await w.db.application(), await w.db.owner()
    token = secrets.token_urlsafe(32)
    async with w.db.connection.transaction():
        await w.issue(application, owner, token=token, created_at=f"={UTC_NOW} - interval '2 minutes'")
        incident = await w.fails(token)
    return await named(w, incident)


@nearly("replica_lag", really="token_deleted")
async def deleted_on_both(w: World) -> str:
    replica = await with_replica(w)
    token = await w.customer()
    await w.works(token, 2)
    await w.delete(token)
    await replica.execute("DELETE FROM oauth_access_tokens")
    return await named(w, await w.until_failing(token))


@nearly("replica_lag", really="token_revoked")
async def the_replica_lacks_the_revocation(w: World) -> str:
    replica = await with_replica(w)
    token = await w.customer()
    await copied_to(w, replica)
    await w.revoke(token)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


async def with_replica(w: World) -> asyncpg.Connection:
    """Two databases, of which the second is read first and gets nothing by itself."""
    _, replica = await w.database()
    await w.build(source_more=f'replica_dsn = "{replica.dsn}"')
    return replica.connection


async def copied_to(w: World, replica: asyncpg.Connection) -> None:
    for table in ("oauth_applications", "users", "oauth_access_tokens"):
        for row in await w.db.connection.fetch(f"SELECT * FROM {table}"):
            places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
            await replica.execute(f"INSERT INTO {table} ({', '.join(row.keys())}) VALUES ({places})", *row.values())


# --- hashing_switched -----------------------------------------------------------------------------------------------


@plays("hashing_switched")
async def switched_on_without_fallback(w: World) -> str:
    await w.build(source_more='hashing = "sha256"')
    return await named(w, await w.fails(await w.customer()))


@plays("hashing_switched")
async def all_rows_hashed_in_place_under_our_eyes(w: World) -> str:
    await w.build()
    tokens = [await w.customer(f"tenant-{n}") for n in range(4)]
    for n, token in enumerate(tokens):
        await w.works(token, 2, address=f"198.51.{n}.7")
    await w.db.execute("UPDATE oauth_access_tokens SET token = encode(sha256(token::bytea), 'hex')")
    for n, token in enumerate(tokens[1:], 1):
        await w.until_failing(token, address=f"198.51.{n}.7")
    return await named(w, await w.until_failing(tokens[0], address="198.51.0.7"))


@plays("hashing_switched")
async def new_rows_are_digests_and_the_proxy_was_not_told(w: World) -> str:
    await w.build()
    token = secrets.token_urlsafe(32)
    await w.customer(token=hashlib.sha256(token.encode()).hexdigest())
    return await named(w, await w.fails(token, agent=ENTRA))


@plays("hashing_switched")
async def the_form_was_changed_in_the_settings_of_the_proxy(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.stop()
    w.config.write_text(w.config.read_text().replace("surroundings_timeout", 'hashing = "sha256"\nsurroundings_timeout'))
    await w.start()
    return await named(w, await w.fails(token))


async def _rewritten(w: World, tenants: int, expression: str) -> str:
    """What the rows hold is replaced in place; returns the cause of the first one's refusal."""
    await w.build()
    tokens = [await w.customer(f"tenant-{n}") for n in range(tenants)]
    for n, token in enumerate(tokens):
        await w.works(token, 2, address=f"198.51.{n}.7")
    await w.db.execute(f"UPDATE oauth_access_tokens SET token = {expression}")
    for n, token in enumerate(tokens[1:], 1):
        await w.until_failing(token, address=f"198.51.{n}.7")
    return await named(w, await w.until_failing(tokens[0], address="198.51.0.7"))


@plays("hashing_switched")
async def all_rows_hashed_by_another_strategy(w: World) -> str:
    return await _rewritten(w, 4, "encode(sha512(token::bytea), 'hex')")


@plays("hashing_switched")
async def all_rows_encrypted(w: World) -> str:
    cipher = "encode(sha256((token || random())::bytea), 'base64')"
    return await _rewritten(w, 4, f"""'{{"p":"' || {cipher} || '"}}'""")


@nearly("token_superseded")
async def one_row_hashed_by_another_strategy(w: World) -> str:
    return await _rewritten(w, 1, "encode(sha512(token::bytea), 'hex')")


@nearly("hashing_switched", really="token_superseded")
async def all_rows_given_new_tokens(w: World) -> str:
    return await _rewritten(w, 4, "translate(substr(encode(sha256((token || random())::bytea), 'base64'), 1, 43), '+/', '-_')")


@nearly("hashing_switched")
async def many_tenants_deleted_in_one_minute(w: World) -> str:
    await w.build()
    tokens = [await w.customer(f"tenant-{n}") for n in range(4)]
    for n, token in enumerate(tokens):
        await w.works(token, 2, address=f"198.51.{n}.7")
    await w.db.execute("DELETE FROM oauth_access_tokens")
    for n, token in enumerate(tokens[1:], 1):
        await w.until_failing(token, address=f"198.51.{n}.7")
    return await named(w, await w.until_failing(tokens[0], address="198.51.0.7"))


@nearly("hashing_switched", really="token_revoked")
async def revoked_and_refused_before_all_rows_were_hashed(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    await w.revoke(token)
    await w.shown(await w.until_failing(token))
    await w.db.execute("UPDATE oauth_access_tokens SET token = encode(sha256(token::bytea), 'hex')")
    return await named(w, await w.until_failing(token, "unknown"))


@nearly("hashing_switched")
async def with_fallback_and_the_backend_refuses(w: World) -> str:
    await w.build(source_more='hashing = "sha256_fallback_plain"')
    token = await w.customer()
    w.backend.script = refused()
    return await named(w, await w.fails(token))


# --- wrong_environment ----------------------------------------------------------------------------------------------


async def _two_environments(w: World) -> tuple[str, str]:
    """Production and staging are both configured, and the backend is production's. Returns a token of each."""
    _, staging = await w.database()
    await w.build(source=both(staging.dsn))
    live = await w.customer()
    application = await staging.application("acme")
    test = secrets.token_urlsafe(32)
    await staging.token(test, application_id=application, resource_owner_id=await staging.owner())
    return live, test


def both(staging: str) -> str:
    return "\n".join(
        f'[[source]]\nkind = "doorkeeper_postgres"\nname = "{name}"\ndsn = "{dsn}"\nsurroundings_timeout = 5\nquery_timeout = 5'
        for name, dsn in (("production", "@production@"), ("staging", staging))
    )


def knows_only(live: str):
    def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == f"Bearer {live}":
            return web.json_response({"totalResults": 0})
        return refused()(request)  # type: ignore[return-value]

    return answer


@plays("wrong_environment")
async def a_token_of_staging(w: World) -> str:
    live, test = await _two_environments(w)
    w.backend.script = knows_only(live)
    await w.works(live, 3)
    return await named(w, await w.fails(test, address="198.51.100.9"))


@plays("wrong_environment")
async def a_token_of_staging_by_entra_while_others_work(w: World) -> str:
    live, test = await _two_environments(w)
    w.backend.script = knows_only(live)
    await w.works(live, 3, agent=ENTRA)
    return await named(w, await w.fails(test, agent=ENTRA, address="198.51.100.9"))


@nearly("wrong_environment")
async def the_backend_refuses_both(w: World) -> str:
    live, test = await _two_environments(w)
    w.backend.script = refused()
    await w.fails(live)
    return await named(w, await w.fails(test, address="198.51.100.9"))


@nearly("wrong_environment")
async def the_second_source_is_as_good_as_the_first(w: World) -> str:
    live, test = await _two_environments(w)
    await w.works(live, 2)
    await w.works(test, 2)
    w.backend.script = knows_only(live)
    return await named(w, await w.fails(test))


@nearly("backend_disagrees", really="token_deleted")
async def deleted_here_and_alive_in_a_copy(w: World) -> str:
    _, staging = await w.database()
    await w.build(source=both(staging.dsn))
    token, other = await w.customer(), await w.customer("globex")
    await copied_to(w, staging.connection)
    await w.works(token, 2)
    await w.works(other, address="198.51.100.9")
    await w.delete(token)
    w.backend.script = knows_only(other)
    return await named(w, await w.until_failing(token))


@nearly("backend_disagrees")
async def deleted_before_there_was_a_proxy_and_alive_in_a_copy(w: World) -> str:
    _, staging = await w.database()
    await w.build(source=both(staging.dsn))
    token, other = await w.customer(), await w.customer("globex")
    await copied_to(w, staging.connection)
    await w.delete(token)
    await w.works(other, address="198.51.100.9")
    w.backend.script = knows_only(other)
    return await named(w, await w.fails(token))
