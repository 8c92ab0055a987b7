"""What a page of the list costs the store does not depend on how many incidents there are."""

from __future__ import annotations

import msgspec
import pytest

from proxy.core.incident import new_id, time_of
from proxy.evidence import keys
from proxy.evidence.shipper import Shipper
from proxy.evidence.writes import Keep
from tests.pages.world import incident_at


async def cost(world, path: str) -> int:
    """Commands that one request of the page sends to the store."""
    run, sent = world.store.run, [0]

    async def counted(commands):
        commands = list(commands)
        sent[0] += len(commands)
        return await run(commands)

    world.store.run = counted
    async with world.client.get(path) as answer:
        assert 200 == answer.status
        await answer.read()
    world.store.run = run
    return sent[0]


async def test_the_list_costs_the_same_with_ten_times_the_incidents(world):
    shipper = Shipper(world.spool, world.store, Keep())
    costs = []
    for total in (300, 3000):
        for number in range(total):
            world.witness.record(incident_at(world.incident.at - 1 - number - total, fingerprint=f"{number % 50:032x}"))
        assert await shipper.flush(30)
        costs.append([await cost(world, path) for path in ("/incidents", "/incidents?tenant=acme", "/api/v1/incidents")])
    assert costs[0] == costs[1]
    assert max(costs[0]) <= 1 + 2 * 200


MILLION = 1_000_000
AT_ONCE = 10_000
"""Members of one ZADD: half a megabyte, a few milliseconds of the server's time."""
BOUND = 1 + 2 * 200
"""Commands of one page: its place in the list, then a pointer and a record for each of 200 incidents."""


async def fill_lists(world, total):
    """As many older incidents in the lists of all and of the tenant, each under an id of its own; nothing else is needed for
    finding a page. Returns ids from the middle and the end, newest first."""
    end = world.incident.at - 100
    ids = [new_id(end - number, "acme") for number in range(total)]
    for start in range(0, total, AT_ONCE):
        members = [part for one in ids[start : start + AT_ONCE] for part in (round(time_of(one) * 1000), one)]
        await world.store.run([("ZADD", key, *members) for key in (keys.RECENT, keys.by_tenant("acme"))])
    return ids


@pytest.mark.timeout(240)
@pytest.mark.parametrize("store_engine", [pytest.param("debian", marks=pytest.mark.redis_server)], indirect=True)
async def test_the_list_costs_the_same_with_a_million_incidents(world, store_engine):
    shipper = Shipper(world.spool, world.store, Keep())
    for number in range(250):
        world.witness.record(incident_at(world.incident.at - 1 - number / 10, fingerprint=f"{number % 50:032x}"))
    assert await shipper.flush(30)
    paths = ["/incidents", "/incidents?tenant=acme", "/incidents?reason=expired", "/api/v1/incidents?limit=50"]
    before = [await cost(world, path) for path in paths]
    ids = await fill_lists(world, MILLION)
    (held,) = await world.store.run([("ZCARD", keys.RECENT)])
    assert MILLION < held
    assert before == [await cost(world, path) for path in paths]
    # far down there are the names alone, as after the retention took the records: a page looks at eight times its size at most
    for cursor in (ids[MILLION // 2], ids[-300]):
        for path in ("/incidents?", "/incidents?tenant=acme&"):
            assert await cost(world, f"{path}before={cursor}") <= 8 * BOUND
    # what fills them is there in its place again
    deep = incident_at(time_of(ids[MILLION // 2]) - 0.5)
    await world.store.run([
        ("XADD", keys.stream(deep.id), "*", "i", deep.id, "c", "x 1 y", "d", msgspec.json.encode(deep)),
        ("ZADD", keys.RECENT, round(deep.at * 1000), deep.id),
    ])  # fmt: skip
    ((newest, _),) = (await world.store.run([("XREVRANGE", keys.stream(deep.id), "+", "-", "COUNT", 1)]))[0]
    await world.store.run([("SET", keys.pointer(deep.id), newest)])
    async with world.client.get(f"/api/v1/incidents?limit=1&before={ids[MILLION // 2]}") as answer:
        assert [deep.id] == [incident["id"] for incident in (await answer.json())["incidents"]]
