"""What a page of the list costs the store does not depend on how many incidents there are."""

from __future__ import annotations

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
