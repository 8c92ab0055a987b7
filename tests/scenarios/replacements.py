"""Another token took its place: once or twice, for one of two clients, for all the others but this."""

from __future__ import annotations

from tests.oauth.vendor import Connection
from tests.scenarios.plays import named, plays
from tests.scenarios.steps import ELSEWHERE, NOW, at_work, with_oauth
from tests.scenarios.world import OKTA, World

HR = "HrSync/2.1"


async def _two_clients(w: World, first: str = OKTA, second: str = HR) -> str:
    """A token that two clients use in turns."""
    await w.build()
    token = await w.customer()
    for _ in range(4):
        await w.works(token, agent=first)
        await w.works(token, agent=second, address=ELSEWHERE)
    return token


@plays("token_superseded")
async def one_client_in_two_versions_during_its_roll_out(w: World) -> str:
    token = await _two_clients(w, "HrSync/2.1", "HrSync/2.2")
    await w.regenerate(token)
    return await named(w, await w.until_failing(token, agent="HrSync/2.2"))


@plays("shared_token", "token_superseded")
async def for_the_other_of_two_clients(w: World) -> str:
    token = await _two_clients(w)
    await w.regenerate(token)
    return await named(w, await w.until_failing(token, agent=HR, address=ELSEWHERE))


@plays("token_superseded", "shared_token")
async def one_of_two_clients_does_not_say_what_it_is(w: World) -> str:
    token = await _two_clients(w, second="")
    await w.regenerate(token)
    return await named(w, await w.until_failing(token))


@plays("token_superseded", "token_revoked")
async def and_the_new_one_was_deleted_by_mistake(w: World) -> str:
    token = await at_work(w)
    new = await w.regenerate(token)
    await w.works(new)
    await w.delete(new)
    return await named(w, await w.until_failing(token))


@plays("token_superseded")
async def the_second_of_three(w: World) -> str:
    token = await at_work(w)
    second = await w.regenerate(token)
    await w.works(second)
    await w.regenerate(second)
    return await named(w, await w.until_failing(second))


@plays("token_superseded", "token_revoked")
async def by_hand_after_the_new_one_was_tried(w: World) -> str:
    await w.build()
    token = await w.customer(refresh_token="r-1")
    await w.works(token, 2)
    new = await w.issue(*w.party(token), refresh_token="r-2", created_at=NOW)
    await w.works(new, agent="curl/8.5.0", address=ELSEWHERE)
    await w.revoke(token)
    return await named(w, await w.until_failing(token))


@plays("token_superseded")
async def by_hand_while_another_customers_is_refreshed(w: World) -> str:
    okta = await Connection.of(await with_oauth(w), "globex")
    token = await w.customer()
    await w.works(token)
    await w.works(okta.access, address=ELSEWHERE)
    await okta.refresh()
    await w.regenerate(token)
    await w.works(okta.access, address=ELSEWHERE)
    return await named(w, await w.until_failing(token))
