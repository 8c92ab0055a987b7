"""The introspection endpoint calls a live token inactive: seen where the proxy observes and the backend has its own opinion."""

from __future__ import annotations

import secrets

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, OKTA, World, refused, until

OBSERVE = '[policy]\nmode = "observe"'
ENDPOINT = """\
[source]
kind = "introspection"
url = "http://127.0.0.1:{port}/introspect"
client_id = "scim-witness"
client_secret = "the-secret-of-the-client"
"""


async def _introspected(w: World, more: str = OBSERVE) -> None:
    """An endpoint whose client may not see the tokens of the application: every token is inactive (doorkeeper#1833)."""

    async def inactive(_: web.Request) -> web.Response:
        return web.json_response({"active": False})

    app = web.Application()
    app.router.add_post("/introspect", inactive)
    endpoint = TestServer(app)
    await endpoint.start_server()
    w.also_close(endpoint.close)
    await w.build(source=ENDPOINT.format(port=endpoint.port), more=more)


async def _observed(w: World, token: str, agent: str = OKTA) -> str:
    """A request that is let through; returns the incident that says what would have been refused."""
    await w.call(token, agent=agent)
    found: list[str] = []

    async def recorded() -> bool:
        listed = await w.command("incidents", "list")
        found[:] = [one["id"] for one in listed["incidents"]] if listed else []
        return bool(found)

    await until(recorded)
    return found[0]


@plays("introspection_blind")
async def the_backend_takes_what_introspection_calls_inactive(w: World) -> str:
    await _introspected(w)
    return await named(w, await _observed(w, await w.customer()), later=True)


@plays("introspection_blind")
async def the_same_by_entra_with_a_token_that_is_new(w: World) -> str:
    await _introspected(w)
    return await named(
        w, await _observed(w, await w.customer(created_at="=clock_timestamp() AT TIME ZONE 'utc'"), ENTRA), later=True
    )


@nearly("token_unknown")
async def not_in_the_table_and_served_all_the_same(w: World) -> str:
    await w.build(more=OBSERVE)
    token = secrets.token_urlsafe(32)
    await w.works(token)
    return await named(w, await _observed(w, token))


@nearly("introspection_blind")
async def the_backend_refuses_it_too(w: World) -> str:
    await _introspected(w)
    w.backend.script = refused()
    return await named(w, await _observed(w, await w.customer(revoked_at="=now() AT TIME ZONE 'utc'")))


@nearly("introspection_blind")
async def nobody_else_was_asked(w: World) -> str:
    await _introspected(w, more="")
    return await named(w, await w.fails(await w.customer()))
