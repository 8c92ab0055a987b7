"""Memory over a real PostgreSQL: no query for a token in use, and a revocation that is enforced."""

from __future__ import annotations

import asyncio
import time

from proxy.core.token import Known, Unknown
from proxy.sources.fresh import Fresh, FreshOptions
from tests.sources.conftest import secret, tables_in

PATIENCE = 60.0


async def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_revocation_and_a_deletion_are_noticed_while_nobody_asks_the_database(tables, opened, tasks):
    application = await tables.application()
    await tables.token("t", application_id=application)
    changes: list[str] = []
    fresh = Fresh(
        opened(tables.dsn), tasks, FreshOptions(refresh_every=0.02), on_change=lambda name, change: changes.append(name)
    )
    await fresh.read(secret("t"))
    tasks.keep(fresh.run, "refresh")
    name = secret("t").fingerprint

    def state():
        held = fresh.held(name)
        assert held is not None
        return held.state

    await tables.execute("UPDATE oauth_access_tokens SET revoked_at = now() AT TIME ZONE 'utc'")
    await until(lambda: state().revoked_at is not None)
    await tables.execute("UPDATE oauth_access_tokens SET revoked_at = NULL")
    await until(lambda: state().revoked_at is None)
    await tables.execute("UPDATE oauth_applications SET name = 'renamed'")
    await until(lambda: state().tenant == "renamed")
    await tables.execute("DELETE FROM oauth_access_tokens")
    await until(lambda: state() == Unknown())
    held = fresh.held(name)
    assert held is not None
    assert isinstance(held.previous, Known)
    assert changes == [name] * 4


async def test_a_token_in_use_causes_no_query_but_the_batch(postgres_installation, opened, tasks):
    with postgres_installation.server({"log_statement": "all"}) as server:
        async with tables_in(server.dsn()) as tables:
            application = await tables.application()
            for number in range(30):
                await tables.token(f"t{number}", application_id=application)
        fresh = Fresh(opened(server.dsn()), tasks)
        names = [secret(f"t{number}") for number in range(30)]
        await asyncio.gather(*map(fresh.read, names))

        def log() -> str:
            text: str = server.log.read_text(errors="replace")
            return text

        look_ups = log().count("sw_token.token = ANY")
        for _ in range(3):
            await fresh.refresh()
            for name in names * 10:
                held = fresh.held(name.fingerprint)
                assert held is not None
                assert isinstance(held.state, Known)
        assert log().count("sw_token.token = ANY") == look_ups
        assert log().count("FROM unnest($1::int8[], $2::xid[]") == 3
