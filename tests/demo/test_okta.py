"""The simulated Okta sends what Okta sends, and falls silent after a failure."""

from __future__ import annotations

import pytest
from aiohttp import web

from proxy.demo.backend import BASE, Backend
from proxy.demo.okta import OktaApp, ProvisioningError


@pytest.fixture
async def heard():
    return []


@pytest.fixture
async def server(aiohttp_server, heard):
    """The sample backend, which notes what it hears and refuses the token `dead`."""
    app = Backend().app()

    @web.middleware
    async def listen(request, handler):
        heard.append(request)
        if request.headers.get("Authorization") == "Bearer dead":
            return web.json_response({"detail": "revoked"}, status=401, headers={"X-Incident-Id": "01ABC"})
        return await handler(request)

    app.middlewares.insert(0, listen)
    return await aiohttp_server(app)


@pytest.fixture
async def session():
    import aiohttp

    async with aiohttp.ClientSession() as session:
        yield session


def lines(heard):
    return [f"{request.method} {request.rel_url.path.removeprefix(BASE)}" for request in heard]


async def test_what_is_sent(session, server, heard):
    okta = OktaApp(session, str(server.make_url(BASE)), "Bearer alive")
    assert await okta.test_connection() == 0
    ada = await okta.create("ada@acme.example", "Ada", "Lovelace")
    await okta.update(ada, {"title": "Countess"})
    await okta.deactivate(ada)

    expected = ["GET /Users", "GET /Users", "POST /Users"]
    expected += [f"GET /Users/{ada}", f"PUT /Users/{ada}", f"GET /Users/{ada}", f"PATCH /Users/{ada}"]
    assert expected == lines(heard)
    assert f"{BASE}/Users?startIndex=1&count=2" == heard[0].raw_path
    assert heard[1].raw_path.startswith(f"{BASE}/Users?filter=userName%20eq%20%22ada%40acme.example%22")
    for request in heard:
        assert request.headers["User-Agent"] == "Okta SCIM Client 1.0.0"
        assert request.headers["Accept"] == "application/scim+json"
        assert request.headers["Accept-Encoding"] == "gzip,deflate"
        assert request.headers["Authorization"] == "Bearer alive"


async def test_a_user_that_exists_is_not_created_again(session, server, heard):
    okta = OktaApp(session, str(server.make_url(BASE)), "Bearer alive")
    first = await okta.create("ada@acme.example", "Ada", "Lovelace")
    assert first == await okta.create("ada@acme.example", "Ada", "Lovelace")
    assert lines(heard) == ["GET /Users", "POST /Users", "GET /Users"]


async def test_silence_after_a_failure(session, server, heard):
    okta = OktaApp(session, str(server.make_url(BASE)), "Bearer dead")
    for _ in range(3):
        with pytest.raises(ProvisioningError) as caught:
            await okta.test_connection()
    assert (caught.value.status, caught.value.detail, caught.value.incident) == (401, "revoked", "01ABC")
    assert lines(heard) == ["GET /Users"]


async def test_nobody_there_is_a_failure_without_status(session, unused_tcp_port):
    okta = OktaApp(session, f"http://127.0.0.1:{unused_tcp_port}{BASE}", None)
    with pytest.raises(ProvisioningError) as caught:
        await okta.test_connection()
    assert caught.value.status == 0
