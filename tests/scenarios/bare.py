"""No credential where one is expected: whose request it was, and where the token went instead."""

from __future__ import annotations

from tests.scenarios.plays import named, perhaps, plays
from tests.scenarios.steps import ELSEWHERE, at_work, each_named
from tests.scenarios.world import World


@plays("undetermined")
async def somebody_else_behind_the_same_address(w: World) -> str:
    await at_work(w, 3)
    agents = ("python-requests/2.31", "ELB-HealthChecker/2.0", "Mozilla/5.0 (X11)", "")
    return await each_named(w, [await w.fails(agent=agent) for agent in agents])


@plays("undetermined")
async def a_client_that_looks_in_without_one_between_its_calls(w: World) -> str:
    await w.build()
    token = await w.customer()
    for _ in range(4):
        await w.fails(path="/scim/v2/ServiceProviderConfig")
        await w.works(token)
    return await named(w, await w.fails(path="/scim/v2/ServiceProviderConfig"))


@perhaps("header_missing")
async def the_same_product_from_another_address(w: World) -> str:
    await at_work(w, 3)
    return await named(w, await w.fails(address=ELSEWHERE))


@plays("header_missing", "token_mangled")
async def now_in_the_query_or_in_a_header_of_its_own(w: World) -> str:
    await at_work(w, 3)
    query = await w.fails(path="/scim/v2/Users?access_token=whatever")
    return await each_named(w, [query, await w.fails(headers={"X-Api-Key": "whatever"})])


@perhaps("token_mangled")
async def a_ticket_of_the_domain_instead(w: World) -> str:
    await at_work(w, 3)
    return await named(w, await w.fails(authorization="Negotiate YII="))


@plays("header_missing")
async def and_the_token_deleted_in_the_same_minute(w: World) -> str:
    token = await at_work(w, 3)
    await w.delete(token)
    return await named(w, await w.fails())


@perhaps("header_missing")
async def for_three_requests_and_then_there_again(w: World) -> str:
    token = await at_work(w, 3)
    incident = await w.fails()
    await w.fails()
    await w.fails()
    await w.works(token, 2)
    return await named(w, incident, later=True)
