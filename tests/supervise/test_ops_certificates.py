"""Operators who come by certificate, at the program as it is run: its start, its reload, its own health check."""

from __future__ import annotations

import pathlib
import signal
import ssl
import subprocess
import sys
from typing import Any

import aiohttp
import pytest

from tests.edge.certificates import Authority
from tests.supervise.deployment import Deployment

pytestmark = [pytest.mark.heavy, pytest.mark.slow]


def settle(deployment: Deployment, server: Authority, ca: pathlib.Path, more: str = "") -> None:
    """Have the ops listener listen beyond loopback, with a certificate of its own and no token."""
    pair = server.issue("server")
    text = deployment.config.read_text()
    begin, end = text.index("[ops]"), text.index("[log]")
    deployment.config.write_text(
        f'{text[:begin]}[ops]\nhost = "0.0.0.0"\nport = 0\n[ops.tls]\ncert_file = "{pair.certificate}"\n'
        f'key_file = "{pair.key}"\nclient_ca_file = "{ca}"\n{more}\n{text[end:]}'
    )


async def ask(deployment: Deployment, tls: ssl.SSLContext, path: str = "/metrics") -> int:
    """The status; 0 when the handshake failed."""
    url = f"https://127.0.0.1:{deployment.ops.rpartition(':')[2]}{path}"
    try:
        async with aiohttp.ClientSession() as session, session.get(url, ssl=tls) as answer:
            await answer.read()
            return answer.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_authorities_are_read_again_by_a_reload_and_bad_ones_refuse_it(backend, deploy, tmp_path, workers):
    first, second = (Authority(tmp_path, name) for name in ("first", "second"))
    clients = tmp_path / "clients.pem"
    clients.write_bytes(first.pair.certificate.read_bytes())
    deployment = deploy(backend, workers=workers)
    settle(deployment, first, clients)
    await deployment.start()
    one, other, none = first.client("one"), first.client(), first.client()
    pair = second.issue("other")
    other.load_cert_chain(pair.certificate, pair.key)
    assert [200, 0, 0] == [await ask(deployment, tls) for tls in (one, other, none)]
    clients.write_text("not in PEM")
    deployment.signal(signal.SIGHUP)
    refused = await deployment.event("settings_refused")
    assert refused["why"].startswith(f"ops.tls.client_ca_file {clients}: holds no certificates")
    assert [200, 0, 0] == [await ask(deployment, tls) for tls in (one, other, none)]
    clients.write_bytes(second.pair.certificate.read_bytes())
    deployment.signal(signal.SIGHUP)
    await deployment.event("settings_applied")
    assert [0, 200, 0] == [await ask(deployment, tls) for tls in (one, other, none)]
    line = next(line for line in deployment.events("ops_access") if line["access"] == "handshake_failed")
    assert {"unable to get local issuer certificate", "PEER_DID_NOT_RETURN_A_CERTIFICATE"} >= {line["why"]}
    assert 404 == await ask(deployment, other, "/none")
    named: dict[str, Any] = await deployment.event("ops_access", len(deployment.events("ops_access")))
    assert ("granted", "other", 404) == (named["access"], named["subject"], named["status"])


async def test_without_any_credential_a_wider_listener_does_not_start(backend, deploy):
    deployment = deploy(backend)
    deployment.config.write_text(deployment.config.read_text().replace("[ops]", '[ops]\nhost = "0.0.0.0"'))
    with pytest.raises(AssertionError, match="without a token or clients' certificates"):
        await deployment.start()


async def test_bad_authorities_keep_it_from_starting(backend, deploy, tmp_path):
    deployment = deploy(backend)
    settle(deployment, Authority(tmp_path), tmp_path / "none.pem")
    with pytest.raises(AssertionError, match=r"ops\.tls\.client_ca_file .*none\.pem: No such file"):
        await deployment.start()


@pytest.mark.parametrize(
    "status, words, trusts_own, more",
    [
        (0, "ready", True, ""),
        (1, "have client_ca_file sign that for clients too, or set ops.tls.open_probes", False, ""),
        (0, "ready", False, "open_probes = true"),
    ],
    ids=["signed by the same", "signed by another", "open probes"],
)
async def test_the_health_check_of_a_container(backend, deploy, tmp_path, unused_tcp_port, status, words, trusts_own, more):
    own, clients = Authority(tmp_path, "own"), Authority(tmp_path, "clients")
    deployment = deploy(backend)
    settle(deployment, own, (own if trusts_own else clients).pair.certificate, more)
    text = deployment.config.read_text()
    deployment.config.write_text(text.replace('0.0.0.0"\nport = 0', f'0.0.0.0"\nport = {unused_tcp_port}'))
    await deployment.start()
    done = subprocess.run(
        [sys.executable, "-m", "proxy.cli", "health", "--config", deployment.config],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert status == done.returncode, done.stderr
    assert words in done.stdout + done.stderr
