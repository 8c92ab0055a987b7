"""A scripted authorization server: introspection, a key set, and every way of failing."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

CLIENT, PASSWORD, BEARER = "scim-witness", "p:ss wörd", "our-own-bearer"


class Issuer:
    """Answers on /introspect and /keys. `script`, if set, answers in place of both; `password`, if set, is our client's now."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.keys: list[dict[str, Any]] = []
        self.script: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.asked: list[str] = []
        self.fetched = 0
        self.password = ""
        self.connections: set[Any] = set()
        app = web.Application()
        app.router.add_post("/introspect", self._introspect)
        app.router.add_get("/keys", self._keys)
        self._server = TestServer(app)

    async def start(self) -> Issuer:
        await self._server.start_server()
        return self

    async def close(self) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def _introspect(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        form = await request.post()
        self.asked.append(str(form.get("token", "")))
        if self.script is not None:
            return await self.script(request)
        basic = base64.b64encode(b"scim-witness:" + (self.password.encode() or b"p%3Ass+w%C3%B6rd")).decode()
        field = request.headers.get("Authorization", "")
        in_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT, PASSWORD)
        if field not in (f"Basic {basic}", f"Bearer {BEARER}") and not in_form:
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response(self.tokens.get(str(form.get("token")), {"active": False}))

    async def _keys(self, request: web.Request) -> web.StreamResponse:
        self.fetched += 1
        if self.script is not None:
            return await self.script(request)
        return web.json_response({"keys": self.keys})


def says(body: str | bytes, status: int = 200, **headers: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A script that always gives the same answer."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body if isinstance(body, bytes) else body.encode(), status=status, headers=headers)

    return answer


async def hangs(_: web.Request) -> web.StreamResponse:
    """A script that never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def half_open(request: web.Request) -> web.StreamResponse:
    """A script that begins an answer and never ends it."""
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b'{"active"')
    await asyncio.Event().wait()
    return answer


async def resets(request: web.Request) -> web.StreamResponse:
    """A script that cuts the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """A script that cuts the connection within the answer."""
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b'{"active": false}')
    assert request.transport is not None
    request.transport.abort()
    return answer
