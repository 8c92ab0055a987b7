"""What stands in front: each snippet by its own program's checker, and all but Traefik run before the wired proxy.

End to end this is about trust: the address in the record is the one that the front saw, never the one a client claims.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from typing import Any, Final

import aiohttp
import pytest
import yaml
from aiohttp import web
from yarl import URL

from tests.deploy.running import DEPLOY, program, run, until
from tests.end_to_end.running import Proxy, token_file
from tests.servers.process import free_port

FRONT: Final = DEPLOY / "front"
GOOD: Final = "a-good-token-of-acme-0123456789abcdefghijkl"
TARGET: Final = "/scim/v2/Users?filter=userName%20eq%20%22a%2Fb%22&x=//y"
CLAIMED: Final = "203.0.113.9"


@pytest.fixture
def certificate(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with scim.example.com.{pem,key,both.pem}."""
    pem, key = tmp_path / "scim.example.com.pem", tmp_path / "scim.example.com.key"
    done = run(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=scim.example.com", "-addext", "subjectAltName=DNS:scim.example.com,IP:127.0.0.1"),
        *("-keyout", key, "-out", pem, "-days", "2"),
    )
    assert 0 == done.returncode, done.stdout
    (tmp_path / "scim.example.com.both.pem").write_text(pem.read_text() + key.read_text())
    return tmp_path


def localized(name: str, folder: pathlib.Path, port: int, data: str = "127.0.0.1:8080", ops: str = "127.0.0.1:9090") -> str:
    """The snippet with this test's ports and certificate in place of the ones that it names."""
    mine = f"{folder}/scim.example.com"
    text = (FRONT / name).read_text().replace("/etc/ssl/", f"{folder}/")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("bind :443", f"bind 127.0.0.1:{port}")
    text = text.replace("scim.example.com {", f"https://127.0.0.1:{port} {{\n\ttls {mine}.pem {mine}.key")
    text = text.replace("address: 0.0.0.0, port_value: 443", f"address: 127.0.0.1, port_value: {port}")
    text = text.replace("port_value: 8080", f"port_value: {data.rpartition(':')[2]}")
    return text.replace("127.0.0.1:8080", data).replace("check port 9090", f"check port {ops.rpartition(':')[2]}")


def nginx(folder: pathlib.Path, text: str) -> list[str]:
    (folder / "nginx.conf").write_text(
        "daemon off;\nmaster_process off;\nerror_log stderr;\n"
        f"pid {folder}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n"
        + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        + text
        + "}\n"
    )
    return [program("nginx"), "-c", str(folder / "nginx.conf"), "-p", str(folder)]


def haproxy(folder: pathlib.Path, text: str) -> list[str]:
    (folder / "haproxy.cfg").write_text(text)
    return [program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def caddy(folder: pathlib.Path, text: str) -> list[str]:
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text)
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def envoy(folder: pathlib.Path, text: str) -> list[str]:
    (folder / "envoy.yaml").write_text(text)
    more = ("--concurrency", "1", "--base-id", str(os.getpid()), "--log-level", "warning")
    return [program("envoy"), "-c", str(folder / "envoy.yaml"), *more]


FRONTS: Final = {"nginx.conf": nginx, "haproxy.cfg": haproxy, "Caddyfile": caddy, "envoy.yaml": envoy}
CHECKS: Final[dict[str, Callable[[list[str]], list[str]]]] = {
    "nginx.conf": lambda command: [*command, "-t"],
    "haproxy.cfg": lambda command: [*command, "-c"],
    "Caddyfile": lambda command: [command[0], "validate", *command[2:]],
    "envoy.yaml": lambda command: [*command, "--mode", "validate"],
}


@pytest.mark.deploy
@pytest.mark.parametrize("name", FRONTS)
def test_the_front_takes_its_configuration(name: str, certificate: pathlib.Path) -> None:
    command = FRONTS[name](certificate, localized(name, certificate, free_port()))
    done = run(*CHECKS[name](command), env={**os.environ, "HOME": str(certificate)})
    assert 0 == done.returncode, done.stdout
    assert "warn" not in done.stdout.lower().replace('"level":"warn","ts"', ""), done.stdout


def test_what_cannot_be_run_is_yaml_at_least_and_says_so() -> None:
    text = (FRONT / "traefik.yaml").read_text()
    assert yaml.safe_load(text)
    assert "Not run by us" in text


@contextlib.contextmanager
def running(command: list[str], folder: pathlib.Path) -> Iterator[None]:
    with (folder / "front.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
    try:
        yield
        assert process.poll() is None, (folder / "front.log").read_text()
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.deploy
@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FRONTS)
async def test_through_the_front_the_record_has_the_address_that_it_saw(
    name: str, certificate: pathlib.Path, aiohttp_server: Any, tmp_path: pathlib.Path
) -> None:
    seen: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        seen.append(request)
        return web.json_response({"raw": request.raw_path})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    upstream = await aiohttp_server(app)
    state = tmp_path / "proxy"
    state.mkdir()
    proxy = Proxy(
        state,
        f"http://127.0.0.1:{upstream.port}",
        token_file(state, {GOOD: "acme"}),
    )
    proxy.start({"SCIM_WITNESS_LISTEN__TRUSTED_PROXIES": "127.0.0.1/32"})
    port = free_port()
    text = localized(name, certificate, port, proxy.data.removeprefix("http://"), proxy.ops.removeprefix("http://"))
    trust = ssl.create_default_context(cafile=certificate / "scim.example.com.pem")
    try:
        with running(FRONTS[name](certificate, text), certificate):
            async with aiohttp.ClientSession(f"https://127.0.0.1:{port}") as session:

                async def ask(token: str) -> tuple[int, Any]:
                    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": CLAIMED}
                    async with session.get(_as_it_is(TARGET), headers=headers, ssl=trust) as got:
                        await got.read()
                        return got.status, got.headers

                await _until_it_answers(ask, certificate)
                seen.clear()
                assert 200 == (await ask(GOOD))[0]
                status, headers = await ask("a-token-that-nobody-has-issued-000000000000")
        assert TARGET == seen[-1].raw_path
        assert CLAIMED not in seen[-1].headers["X-Forwarded-For"]
        assert "https" == seen[-1].headers["X-Forwarded-Proto"]
        assert 401 == status
        incident = headers["X-Incident-Id"]
        shown = until(lambda: proxy.shown(incident), "the incident")
        assert "127.0.0.1" in str(shown)
        assert CLAIMED not in str(shown)
    finally:
        proxy.stop()


def _as_it_is(target: str) -> Any:
    return URL(target, encoded=True)


async def _until_it_answers(ask: Callable[[str], Any], folder: pathlib.Path) -> None:
    """The front listens, and has seen that the proxy is ready."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                if (await ask(GOOD))[0] == 200:
                    return
            await asyncio.sleep(0.1)
