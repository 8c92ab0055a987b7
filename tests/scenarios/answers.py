"""What the backend answers: it disagrees, or one of its instances does."""

from __future__ import annotations

import socket
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.scenarios.plays import named, nearly, plays
from tests.scenarios.world import ENTRA, LOOKS, Answer, World, refused, served


@plays("backend_disagrees")
async def it_refuses_a_live_token(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token, 2)
    w.backend.script = refused()
    return await named(w, await w.fails(token))


@plays("backend_disagrees")
async def a_page_of_a_tier_before_it(w: World) -> str:
    await w.build()
    token = await w.customer()
    w.backend.script = lambda _: web.Response(status=403, text="<html>Access denied</html>", content_type="text/html")
    return await named(w, await w.fails(token, agent=ENTRA))


@plays("backend_disagrees")
async def for_a_new_token_of_a_database_that_it_does_not_read(w: World) -> str:
    await w.build()
    w.backend.script = refused(challenge='Bearer error="invalid_token", error_description="The access token is invalid"')
    return await named(w, await w.fails(await w.customer()))


@nearly("backend_disagrees")
async def the_row_vanishes_in_that_second(w: World) -> str:
    await w.build()
    token = await w.customer()
    await w.works(token)

    async def answer(request: web.Request) -> web.StreamResponse:
        await w.delete(token)
        return refused()(request)  # type: ignore[return-value]

    w.backend.script = answer
    return await named(w, await w.fails(token))


@nearly("backend_disagrees")
async def the_source_cannot_say_what_it_is(w: World) -> str:
    await w.build(source_more="")
    token = await w.customer()
    await w.works(token)

    async def answer(request: web.Request) -> web.StreamResponse:
        await w.db.execute("ALTER TABLE oauth_access_tokens RENAME TO elsewhere")
        return refused()(request)  # type: ignore[return-value]

    w.backend.script = answer
    return str((await w.command("incidents", "show", await w.fails(token)))["cause"]["code"])


# --- backend_instance_skew ------------------------------------------------------------------------------------------


class Turns:
    """Names that resolve to two addresses in turn, as DNS round robin does."""

    def __init__(self) -> None:
        self.turn = 0
        self.real = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *more: Any, **kw: Any) -> Any:
        if host == "backend.test":
            self.turn += 1
            host = f"127.0.0.{1 + self.turn % 2}"
        return self.real(host, port, *more, **kw)


async def _two_instances(w: World, second: Any, scenario: Any) -> str:
    """Two instances at 127.0.0.1 and 127.0.0.2: the second answers as given."""
    with socket.socket() as probe:
        probe.bind(("", 0))  # free at every address
        port = probe.getsockname()[1]
    other = TestServer(_app(lambda: second[0]), host="127.0.0.2", port=port)
    await other.start_server()
    first = TestServer(_app(lambda: w.backend.script), host="127.0.0.1", port=port)
    await first.start_server()
    turns = Turns()
    socket.getaddrinfo = turns
    try:
        w.upstream = f"http://backend.test:{other.port}"
        await w.build()
        return str(await scenario())
    finally:
        socket.getaddrinfo = turns.real
        await w.stop()
        await first.close()
        await other.close()


def _app(script: Any) -> web.Application:
    """`script` returns the answer's function as it is by then."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        said: web.StreamResponse = script()(request)
        said.headers["Connection"] = "close"
        return said

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def _refused_by_turns(w: World, token: str, rounds: int = 8) -> str:
    incident = ""
    for _ in range(rounds):
        status, found = await w.call(token)
        incident = incident or (found if status == 401 else "")
    return incident


async def _settled(w: World, incident: str) -> str:
    """The instances' verdicts go on record with the last look."""
    return await named(w, incident, f"backends+{LOOKS[-1]:g}s")


@plays("backend_instance_skew")
async def one_of_two_refuses(w: World) -> str:
    second: list[Answer] = [refused()]

    async def play() -> str:
        token = await w.customer()
        return await _settled(w, await _refused_by_turns(w, token))

    return await _two_instances(w, second, play)


@plays("backend_instance_skew")
async def one_of_two_begins_to_refuse_after_its_deployment(w: World) -> str:
    second: list[Answer] = [served]

    async def play() -> str:
        token = await w.customer()
        await w.works(token, 6)
        second[0] = refused()
        return await _settled(w, await _refused_by_turns(w, token))

    return await _two_instances(w, second, play)


@nearly("backend_instance_skew", really="backend_disagrees")
async def both_begin_to_refuse(w: World) -> str:
    second: list[Answer] = [served]

    async def play() -> str:
        token = await w.customer()
        await w.works(token, 6)
        second[0] = w.backend.script = refused()
        return await _settled(w, await _refused_by_turns(w, token))

    return await _two_instances(w, second, play)


@nearly("backend_instance_skew")
async def each_refuses_now_and_then(w: World) -> str:
    second: list[Answer] = [served]

    async def play() -> str:
        token = await w.customer()
        incident = ""
        for turn in range(8):
            second[0] = refused() if turn in (2, 3) else served
            w.backend.script = refused() if turn in (5, 6) else served
            status, found = await w.call(token)
            incident = incident or (found if status == 401 else "")
        return await _settled(w, incident)

    return await _two_instances(w, second, play)
