"""What stands in front, on the wired program: PROXY header and TLS before HTTP, fronts that only ask, limits."""

from __future__ import annotations

import asyncio
import json
import pathlib
import ssl
import time

import pytest

from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.heartbeat import read_spans
from proxy.evidence.redis_store import RedisStore
from proxy.settings import load
from proxy.wire.data_plane import listener_options
from proxy.wire.state import StartFault
from tests.edge.certificates import Authority
from tests.end_to_end.conftest import GOOD
from tests.end_to_end.running import Proxy, get, token_file, until
from tests.servers.valkey import StoreServer

pytestmark = pytest.mark.heavy

BAD = "a-token-that-nobody-has-issued-000000000000"
HERE = {"SCIM_WITNESS_LISTEN__TRUSTED_PROXIES": "127.0.0.1/32"}


async def speak(proxy: Proxy, header: bytes, token: str, tls: ssl.SSLContext | None = None) -> bytes:
    """One request on a connection of its own, after `header`; what came back."""
    host, port = proxy.data.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(header)
    if tls is not None:
        await writer.start_tls(tls, server_hostname="localhost")
    writer.write(
        f"GET /scim/v2/Users HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    try:
        said = await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        said = b""
    writer.close()
    return said


async def beats(server: StoreServer) -> list[tuple[bool, str]]:
    """What the heartbeats' own requests met, as soon as one is on record."""
    store = RedisStore(connect(StoreOptions(url=server.url)))
    try:
        async with asyncio.timeout(60):
            while not (spans := await read_spans(store, time.time() - 60, time.time())):
                await asyncio.sleep(0.05)
    finally:
        await store.close()
    return [(span.ok, span.why) for span in spans]


async def test_a_proxy_header_names_the_client_and_the_heartbeat_sends_one_too(deploy, backend, own_store: StoreServer):
    proxy = deploy(backend, more=f'[store]\nurl = "{own_store.url}"')
    proxy.start({**HERE, "SCIM_WITNESS_LISTEN__PROXY_PROTOCOL": "true"})
    assert b"HTTP/1.1 200 " in await speak(proxy, b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n", GOOD)
    refused = await speak(proxy, b"PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n", BAD)
    assert b"HTTP/1.1 401 " in refused
    assert b"" == await speak(proxy, b"", GOOD), "from there nothing comes without a header"
    assert [(True, "")] == await beats(own_store)
    incident = refused.partition(b"X-Incident-Id: ")[2].partition(b"\r\n")[0].decode()
    until(lambda: proxy.shown(incident))
    assert "203.0.113.9" == proxy.shown(incident)["incident"]["exchange"]["client"]
    until(lambda: any(line.get("part") == "PROXY header" for line in proxy.lines()))


async def test_tls_on_the_listener_with_a_header_before_it(deploy, backend, own_store: StoreServer, tmp_path: pathlib.Path):
    authority = Authority(tmp_path)
    pair = authority.issue("proxy")
    proxy = deploy(backend, more=f'[store]\nurl = "{own_store.url}"')
    files = {"CERT_FILE": str(pair.certificate), "KEY_FILE": str(pair.key)}
    listen = {"PROXY_PROTOCOL": "true", **{f"TLS__{key}": value for key, value in files.items()}}
    proxy.start({**HERE, **{f"SCIM_WITNESS_LISTEN__{key}": value for key, value in listen.items()}})
    said = await speak(proxy, b"PROXY TCP6 2001:db8::9 ::1 4711 443\r\n", GOOD, authority.client())
    assert b"HTTP/1.1 200 " in said
    assert [(True, "")] == await beats(own_store)
    until(lambda: [line for line in proxy.lines() if line.get("client") == "2001:db8::9"])


def test_a_certificate_that_is_no_use_is_named(tmp_path: pathlib.Path):
    for name in ("pem", "key", "tokens"):
        (tmp_path / name).write_text("")
    settings = load(
        None,
        {
            "SCIM_WITNESS_UPSTREAM__URL": "http://127.0.0.1:1",
            "SCIM_WITNESS_SOURCE__KIND": "token_file",
            "SCIM_WITNESS_SOURCE__PATH": str(tmp_path / "tokens"),
            "SCIM_WITNESS_LISTEN__TLS__CERT_FILE": str(tmp_path / "pem"),
            "SCIM_WITNESS_LISTEN__TLS__KEY_FILE": str(tmp_path / "key"),
        },
    )
    with pytest.raises(StartFault, match=r"listen\.tls\.cert_file .*/pem: "):
        listener_options(settings)


async def test_a_front_asks_and_a_refusal_is_on_record(deploy, backend):
    proxy = deploy(backend)
    proxy.start({**HERE, "SCIM_WITNESS_FORWARD_AUTH__FRONT": "nginx", "SCIM_WITNESS_OAUTH__ENABLED": "true"})
    asked = {"X-Original-Method": "DELETE", "X-Original-URI": "/scim/v2/Users/7?x=y", "X-Forwarded-For": "203.0.113.9"}
    status, headers, body = await get(f"{proxy.data}/_scim_witness/auth", GOOD, headers=asked)
    assert (200, "acme", b"") == (status, headers["X-Scim-Witness-Tenant"], body)
    fingerprint = headers["X-Scim-Witness-Token"]
    status, headers, _ = await get(f"{proxy.data}/_scim_witness/auth", BAD, headers=asked)
    assert 401 == status
    until(lambda: proxy.shown(headers["X-Incident-Id"]))
    exchange = proxy.shown(headers["X-Incident-Id"])["incident"]["exchange"]
    assert ("DELETE", "203.0.113.9") == (exchange["method"], exchange["client"])
    assert exchange["target"].startswith("/scim/v2/Users/7")
    asked |= {"X-Original-Method": "POST", "X-Original-URI": "/oauth/token"}
    assert 401 == (await get(f"{proxy.data}/_scim_witness/auth", headers=asked))[0], "only a question, so never forwarded"
    until(lambda: json.loads(proxy.command("token", fingerprint, "--json").stdout or b"{}"))
    assert "Users.delete" in proxy.command("token", fingerprint).stdout.decode()


async def test_limits_over_the_wire(deploy, backend, tmp_path: pathlib.Path):
    proxy = deploy(
        backend, token_file(tmp_path, {GOOD: "acme"}), more="[limits]\nrefusals_per_address = 5\nrequests_per_tenant = 3\n"
    )
    proxy.start()
    assert [401] * 5 + [429] * 5 == [(await get(f"{proxy.data}/scim/v2/Users", BAD))[0] for _ in range(10)]
    answers = [await get(f"{proxy.data}/scim/v2/Users", GOOD) for _ in range(4)]
    assert [200, 200, 200, 429] == [answer[0] for answer in answers]
    assert 1 <= int(answers[-1][1]["Retry-After"]) <= 60
    for page in ("livez", "readyz", "metrics"):
        assert 200 == (await get(f"{proxy.ops}/{page}"))[0]
    _, _, metrics = await get(f"{proxy.ops}/metrics")
    assert b'scim_witness_faults_total{fault="too_many_refusals"} 5.0' in metrics
    assert b'scim_witness_faults_total{fault="too_many_requests"} 1.0' in metrics
