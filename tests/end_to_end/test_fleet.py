"""Two replicas on one store: what one sees of a token, the other acts upon at once."""

from __future__ import annotations

import asyncio

from aiohttp import web

from tests.end_to_end.running import get
from tests.sources.conftest import tables_in

KEY = "one key for all replicas"
SLOW = "[fresh]\nrefresh_every = 60\nfresh_for = 120\n"
"""So slow that only the other replica's word can be the reason."""


async def test_a_revocation_seen_by_one_replica_is_acted_upon_by_the_other(deploy, scripted, postgres, own_store):
    url, script = scripted
    name = await postgres.create_database()
    async with tables_in(postgres.dsn(name)) as tables:
        await tables.token("t", application_id=await tables.application())
        source = f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{postgres.dsn(name, tcp=True)}"'
        store = f'{SLOW}[store]\nurl = "{own_store.url}"'
        one, other = (deploy(url, source, store, f'fingerprint_key = "{KEY}"') for _ in range(2))
        for proxy in (one, other):
            await asyncio.to_thread(proxy.start)
            assert (await get(f"{proxy.data}/scim/v2/Users", "t"))[0] == 200
        await tables.execute("UPDATE oauth_access_tokens SET revoked_at = clock_timestamp() AT TIME ZONE 'utc'")
        assert (await get(f"{other.data}/scim/v2/Users", "t"))[0] == 200, "nobody has seen it yet"
        script.append(lambda _: web.json_response({}, status=401, headers={"WWW-Authenticate": "Bearer"}))
        assert (await get(f"{one.data}/scim/v2/Users", "t"))[0] == 401
        script.append(lambda _: web.json_response({}))
        async with asyncio.timeout(60):
            while (await get(f"{other.data}/scim/v2/Users", "t"))[0] != 401:
                await asyncio.sleep(0.05)
        _, _, metrics = await get(f"{other.ops}/metrics")
        assert b'scim_witness_fleet_changes_total{event="heard"} 1.0' in metrics
        for proxy in (one, other):
            await asyncio.to_thread(proxy.stop)
    await postgres.drop_database(name)
