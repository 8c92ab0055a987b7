"""A backend, and deployments that end with their test."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.supervise.deployment import Deployment


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    """A backend that says who it is: the URL of one that answers `one`."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"backend": "one"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}"
    await server.close()


@pytest.fixture
def deploy() -> Iterator[Callable[..., Deployment]]:
    """Make deployments, in folders with short names: a unix socket's path must be short."""
    made: list[Deployment] = []
    with tempfile.TemporaryDirectory(prefix="sw-") as folder:

        def build(upstream: str, **more: Any) -> Deployment:
            directory = pathlib.Path(folder) / str(len(made))
            directory.mkdir()
            made.append(Deployment(directory, upstream, **more))
            return made[-1]

        yield build
        for deployment in made:
            deployment.destroy()
