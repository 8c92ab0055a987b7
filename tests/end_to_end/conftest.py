"""A backend and a running proxy in front of it."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.backend import Backend
from tests.end_to_end.running import Proxy, token_file

GOOD = "a-good-token-of-acme-0123456789abcdefghijkl"


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    """The sample SCIM backend's URL."""
    server = TestServer(Backend().app())
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}"
    await server.close()


@pytest.fixture
async def scripted() -> AsyncIterator[tuple[str, list[Callable[[web.Request], web.StreamResponse]]]]:
    """A backend that answers as the test's own function says (the last one appended)."""
    script: list[Callable[[web.Request], web.StreamResponse]] = [lambda _: web.json_response({"ok": True})]

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        return script[-1](request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}", script
    await server.close()


@pytest.fixture
def deploy(tmp_path: pathlib.Path) -> Iterator[Callable[..., Proxy]]:
    """Make deployments; whatever runs is ended with the test."""
    made: list[Proxy] = []

    def build(upstream: str, source: str = "", more: str = "", top: str = "") -> Proxy:
        directory = tmp_path / f"d{len(made)}"
        directory.mkdir()
        made.append(Proxy(directory, upstream, source or token_file(directory, {GOOD: "acme"}), more, top))
        return made[-1]

    yield build
    for proxy in made:
        with contextlib.suppress(Exception):
            proxy.stop()
