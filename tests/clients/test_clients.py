"""Real clients get the same through the proxy as directly, from servers of three kinds.

A step is `METHOD path body framing`, an answer `status content-type location etag base64(body)`, both with tabs. `{id}` is the
id that the last POST returned. What differs from run to run (ids, times, versions, the authority) is evened out.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.edge.world import GOOD, World
from tests.servers.process import free_port, missing

PROGRAMS = Path(__file__).parent / "programs"
ROOT = Path(__file__).parents[2]
USER = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "zoë@example.com", "active": True}
PATCH = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "path": "active", "value": False}],
}


def steps(*, chunked: bool, expect: bool, head: bool) -> str:
    user, replaced = json.dumps(USER, ensure_ascii=False), json.dumps({**USER, "displayName": "x" * 3_000})
    lines = [
        ("GET", "/ServiceProviderConfig", "", ""),
        ("POST", "/Users", user, "expect" if expect else ""),
        ("POST", "/Users", user, ""),
        ("GET", "/Users?filter=userName%20eq%20%22zo%C3%AB@example.com%22&count=2", "", ""),
        ("GET", "/Users/{id}", "", ""),
        *([("HEAD", "/Users/{id}", "", "")] if head else []),
        ("PUT", "/Users/{id}", replaced, "chunked" if chunked else ""),
        ("PATCH", "/Users/{id}", json.dumps(PATCH), ""),
        ("POST", "/Users/.search", '{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"count":1}', ""),
        ("GET", "/Users?filter=nonsense%20(", "", ""),
        ("GET", "/a//b/../%2F?", "", ""),
        ("DELETE", "/Users/{id}", "", ""),
        ("GET", "/Users/{id}", "", ""),
    ]
    return "".join("\t".join(line) + "\n" for line in lines)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, "the server has ended"
        try:
            urllib.request.urlopen(url, timeout=1)  # noqa: S310 - a loopback address of the test
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


def _serve(command: Sequence[str], port: int, env: dict[str, str] | None = None) -> Iterator[int]:
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/v2/Users", process)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _gunicorn(port: int) -> list[str]:
    options = [
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        "1",
        "--threads",
        "4",
        "--keep-alive",
        "5",
        "--log-level",
        "critical",
    ]
    return [sys.executable, "-m", "gunicorn", *options, "tests.clients.scim_app:application"]


@pytest.fixture(scope="module", params=["gunicorn", "gunicorn-gzip", "wsgiref"])
def server(request) -> Iterator[tuple[str, int]]:
    """A SCIM server: HTTP/1.1 with chunked answers, the same gzipped, or HTTP/1.0 that closes and gives HEAD a body."""
    port = free_port()
    if request.param == "wsgiref":
        command = [str(Path(sys.executable).with_name("scim2-server")), "--port", str(port), "--bearer-token", GOOD.decode()]
        served = _serve(command, port)
    else:
        served = _serve(_gunicorn(port), port, {"SQUEEZE": "1"} if "gzip" in request.param else {})
    for ready in served:
        yield request.param, ready


@pytest.fixture(scope="session")
def java_class(tmp_path_factory) -> Path:
    """The compiled Java client."""
    if shutil.which("javac") is None:
        missing("javac is not on PATH")
    room: Path = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-d", str(room), str(PROGRAMS / "Client.java")], check=True)
    return room


CLIENTS = ["curl", "node", "java", "perl", "httpx", "requests", "urllib", "aiohttp"]
PROGRAM = {"curl": ("bash", "curl_client.sh"), "node": ("node", "client.mjs"), "perl": ("perl", "client.pl")}


@pytest.fixture
def command(request) -> list[str]:
    """How the client is started."""
    name = request.param
    if name == "java":
        if shutil.which("java") is None:
            missing("java is not on PATH")
        return ["java", "-Xshare:auto", "-cp", str(request.getfixturevalue("java_class")), "Client"]
    if name in PROGRAM:
        if shutil.which(name) is None:
            missing(f"{name} is not on PATH")
        return [PROGRAM[name][0], str(PROGRAMS / PROGRAM[name][1])]
    return [sys.executable, str(PROGRAMS / "python_client.py"), name]


def _even(text: str, port: int) -> str:
    text = text.replace(f"127.0.0.1:{port}", "AUTHORITY")
    text = re.sub(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[0-9.]*(Z|\+00:00)?", "TIME", text)
    return re.sub(r'W/\\?"[^"]*"', "VERSION", text)


async def _run(command: list[str], port: int, script: Path) -> list[tuple[str, ...]]:
    process = await asyncio.create_subprocess_exec(
        *command,
        f"http://127.0.0.1:{port}/v2",
        GOOD.decode(),
        str(script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await asyncio.wait_for(process.communicate(), 100)
    assert process.returncode == 0, complaint.decode()
    answers = []
    for line in said.decode().splitlines():
        *fields, body = line.split("\t")
        answers.append((*(_even(field, port) for field in fields), _even(base64.b64decode(body).decode(), port)))
    return answers


@pytest.mark.parametrize("command", CLIENTS, indirect=True, ids=CLIENTS)
async def test_the_same_through_the_proxy_as_directly(server: tuple[str, int], command: list[str], tmp_path: Path):
    kind, port = server
    script = tmp_path / "steps"
    # wsgiref knows no chunked requests, and curl would wait a second for its 100; aiohttp's client takes no body after HEAD
    wsgiref = kind == "wsgiref"
    head = not (wsgiref and "aiohttp" in command)
    script.write_text(steps(chunked=not wsgiref, expect=not wsgiref, head=head))
    direct = await _run(command, port, script)
    async with World.open(upstream={"port": port}) as world:
        through = await _run(command, world.port, script)
        assert direct == through
        expected = "200 201 409 200 200 405 200 204 200 400 404 204 404"
        assert expected.replace(" 405", " 405" if head else "").split() == [answer[0] for answer in through]
        assert [] == world.failures
        assert {""} == {exchange.fault for exchange in world.witness.exchanges}
        assert GOOD.decode() not in world.witness.written()


async def test_java_offers_h2c_and_is_served_in_http11(java_class: Path, tmp_path: Path):
    script = tmp_path / "steps"
    script.write_text("GET\t/Users\t\t\nGET\t/Users\t\t\n")
    async with World.open() as world:
        answers = await _run(["java", "-cp", str(java_class), "Client"], world.port, script)
        assert ["200", "200"] == [answer[0] for answer in answers]
        assert b"h2c" not in world.backend.raw
        assert b"HTTP2-Settings" not in world.backend.raw
        world.check()
