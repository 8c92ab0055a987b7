"""Fronts of another kind before the wired proxy: nginx and Envoy only ask, HAProxy passes bytes on with a PROXY header."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.deploy.running import run, until
from tests.deploy.test_front import FRONT, envoy, haproxy, nginx, running
from tests.edge.certificates import Authority
from tests.end_to_end.running import Proxy, token_file
from tests.servers.process import free_port

GOOD: Final = "a-good-token-of-acme-0123456789abcdefghijkl"
BAD: Final = "a-token-that-nobody-has-issued-000000000000"
TARGET: Final = "/scim/v2/Users/a%2Fb?filter=userName%20eq%20%22a%22&x=//y"
CLIENT: Final = "127.0.0.5"
"""Another address of this machine than the front's, so that the two can be told apart."""
CLAIMS: Final = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Original-Method": "GET",
    "X-Original-URI": "/public",
    "X-Scim-Witness-Tenant": "claimed",
    "X-Scim-Witness-Token": "claimed",
    "X-Scim-Witness-Scopes": "claimed",
}


class Stage:
    """A backend that keeps what it got, the proxy, and where the front is to listen."""

    def __init__(self, tmp_path: pathlib.Path) -> None:
        self.seen: list[tuple[web.Request, bytes]] = []
        self.authority = Authority(tmp_path)
        pair = self.authority.issue("scim.example.com")
        (tmp_path / "scim.example.com.both.pem").write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
        self.folder = tmp_path
        self.port = free_port()
        self.backend = 0
        self.proxy: Proxy
        self.session: aiohttp.ClientSession

    async def answer(self, request: web.Request) -> web.Response:
        """The backend."""
        self.seen.append((request, await request.read()))
        return web.json_response({"ok": True}, status=500 if "broken" in request.path else 200)

    def localized(self, name: str) -> str:
        """The snippet with this test's ports and certificate."""
        text = (FRONT / name).read_text().replace("/etc/ssl/", f"{self.folder}/")
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl").replace(
            "bind :443", f"bind 127.0.0.1:{self.port}"
        )
        text = text.replace("address: 0.0.0.0, port_value: 443", f"address: 127.0.0.1, port_value: {self.port}")
        text = text.replace("port_value: 8080", f"port_value: {self.proxy.data.rpartition(':')[2]}")
        text = text.replace("port_value: 3000", f"port_value: {self.backend}")
        text = text.replace("127.0.0.1:8080", self.proxy.data.removeprefix("http://"))
        text = text.replace("127.0.0.1:3000", f"127.0.0.1:{self.backend}")
        return text.replace("check port 9090", f"check port {self.proxy.ops.rpartition(':')[2]}")

    async def ask(self, token: str, method: str = "GET", target: str = TARGET, **more: Any) -> tuple[int, Any, bytes]:
        """One request by the client through the front."""
        headers = {"Authorization": f"Bearer {token}", **CLAIMS}
        url = URL(f"https://127.0.0.1:{self.port}{target}", encoded=True)
        async with self.session.request(method, url, headers=headers, **more) as got:
            return got.status, got.headers, await got.read()

    async def until_it_answers(self) -> None:
        """The front listens, and has seen that the proxy is ready."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    if (await self.ask(GOOD))[0] == 200:
                        self.seen.clear()
                        return
                await asyncio.sleep(0.1)

    def incident(self, headers: Any) -> dict[str, Any]:
        """What is on record of the refusal."""
        found: dict[str, Any] = until(lambda: self.proxy.shown(headers["X-Incident-Id"]), "the incident")
        exchange: dict[str, Any] = found["incident"]["exchange"]
        return exchange


@pytest.fixture
async def stage(tmp_path: pathlib.Path, aiohttp_server: Any) -> AsyncIterator[Callable[..., Stage]]:
    """Build a stage with these settings of the proxy."""
    made: list[Stage] = []
    app = web.Application()

    def build(**settings: str) -> Stage:
        one = Stage(tmp_path)
        one.backend = upstream.port
        state = tmp_path / "proxy"
        state.mkdir()
        one.proxy = Proxy(state, f"http://127.0.0.1:{one.backend}", token_file(state, {GOOD: "acme"}))
        one.proxy.start({"SCIM_WITNESS_LISTEN__TRUSTED_PROXIES": "127.0.0.1/32", **settings})
        trust = ssl.create_default_context(cafile=str(one.authority.pair.certificate))
        one.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=(CLIENT, 0), ssl=trust))
        made.append(one)
        return one

    async def answer(request: web.Request) -> web.Response:
        return await made[0].answer(request)

    app.router.add_route("*", "/{path:.*}", answer)
    upstream = await aiohttp_server(app)
    yield build
    for one in made:
        await one.session.close()
        one.proxy.stop()


@pytest.mark.deploy
@pytest.mark.parametrize("name", ["nginx-auth.conf", "haproxy-tcp.cfg", "envoy-auth.yaml"])
def test_the_front_takes_its_configuration(name: str, tmp_path: pathlib.Path) -> None:
    Authority(tmp_path).issue("scim.example.com")
    both = tmp_path / "scim.example.com.both.pem"
    both.write_bytes((tmp_path / "scim.example.com.pem").read_bytes() + (tmp_path / "scim.example.com.key").read_bytes())
    text = (FRONT / name).read_text().replace("/etc/ssl/", f"{tmp_path}/")
    checks = {
        "nginx-auth.conf": lambda: [*nginx(tmp_path, text), "-t"],
        "haproxy-tcp.cfg": lambda: [*haproxy(tmp_path, text), "-c"],
        "envoy-auth.yaml": lambda: [*envoy(tmp_path, text), "--mode", "validate"],
    }
    done = run(*checks[name]())
    assert 0 == done.returncode, done.stdout
    assert "warn" not in done.stdout.lower(), done.stdout


@pytest.mark.deploy
@pytest.mark.timeout(240)
async def test_nginx_asks_before_it_forwards(stage: Callable[..., Stage]) -> None:
    here = stage(SCIM_WITNESS_FORWARD_AUTH__FRONT="nginx")
    with running(nginx(here.folder, here.localized("nginx-auth.conf")), here.folder):
        await here.until_it_answers()
        assert 200 == (await here.ask(GOOD))[0]
        request, _ = here.seen.pop()
        assert (TARGET, "acme", CLIENT) == (
            request.raw_path, request.headers["X-Scim-Witness-Tenant"], request.headers["X-Forwarded-For"],
        )  # fmt: skip
        assert "claimed" not in request.headers.values()

        status, headers, body = await here.ask(BAD, "DELETE")
        assert (401, 'Bearer realm="SCIM"', []) == (status, headers["WWW-Authenticate"].partition(",")[0], here.seen)
        assert headers["X-Incident-Id"].encode() in body
        exchange = here.incident(headers)
        assert ("DELETE", CLIENT) == (exchange["method"], exchange["client"])
        assert exchange["target"].startswith("/scim/v2/Users/a%2Fb")

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 1_000

        for data in (b"hello", b"x" * 300_000, chunks()):
            assert 200 == (await here.ask(GOOD, "POST", data=data))[0]
        assert [5, 300_000, 100_000] == [len(body) for _, body in here.seen]
        assert 200 == (await here.ask(GOOD, "HEAD"))[0]
        assert (401, b"") == ((refused := await here.ask(BAD, "HEAD"))[0], refused[2])
        status, _, body = await here.ask(GOOD, target="/broken")
        assert (500, b'{"ok": true}') == (status, body), "the backend's own 500 stays what it is"

        here.seen.clear()
        here.proxy.stop()
        status, headers, body = await here.ask(GOOD)
        assert (503, "10", []) == (status, headers["Retry-After"], here.seen), (
            "nobody is asked: nobody is let in, and nobody refused"
        )
        assert b'"status":"503"' in body


@pytest.mark.deploy
@pytest.mark.timeout(240)
async def test_envoy_asks_before_it_forwards(stage: Callable[..., Stage]) -> None:
    here = stage(SCIM_WITNESS_FORWARD_AUTH__FRONT="envoy")
    with running(envoy(here.folder, here.localized("envoy-auth.yaml")), here.folder):
        await here.until_it_answers()
        assert 200 == (await here.ask(GOOD, "POST", data=b"x" * 300_000))[0]
        request, body = here.seen.pop()
        assert (TARGET, "acme", 300_000) == (request.raw_path, request.headers["X-Scim-Witness-Tenant"], len(body))
        assert "claimed" not in request.headers.values()
        status, headers, body = await here.ask(BAD, "DELETE")
        assert (401, []) == (status, here.seen)
        assert headers["WWW-Authenticate"].startswith('Bearer realm="SCIM"')
        assert b'"status":"401"' in body, "Envoy passes our own words on"
        exchange = here.incident(headers)
        assert ("DELETE", CLIENT) == (exchange["method"], exchange["client"])
        assert exchange["target"].startswith("/scim/v2/Users/a%2Fb")
        here.seen.clear()
        here.proxy.stop()
        assert (503, []) == ((await here.ask(GOOD))[0], here.seen)


@pytest.mark.deploy
@pytest.mark.timeout(240)
@pytest.mark.parametrize("header", ["send-proxy-v2-ssl", "send-proxy-v2", "send-proxy"])
async def test_haproxy_passes_bytes_on_after_a_proxy_header(stage: Callable[..., Stage], header: str) -> None:
    here = stage(SCIM_WITNESS_LISTEN__PROXY_PROTOCOL="true")
    text = here.localized("haproxy-tcp.cfg").replace("send-proxy-v2-ssl", header)
    with running(haproxy(here.folder, text), here.folder):
        await here.until_it_answers()
        assert 200 == (await here.ask(GOOD, "POST", data=b"x" * 300_000))[0]
        request, body = here.seen.pop()
        assert (TARGET, 300_000, CLIENT) == (request.raw_path, len(body), request.headers["X-Forwarded-For"])
        assert ("https" if "ssl" in header else "http") == request.headers["X-Forwarded-Proto"]
        status, headers, _ = await here.ask(BAD)
        assert (401, CLIENT, []) == (status, here.incident(headers)["client"], here.seen)
    assert not [line for line in here.proxy.lines() if line.get("event") == "failed"], "health checks are no faults"
