"""Who comes in to the ops listener by a certificate, with real ones on real sockets, wired as the program does it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.admin.health import Health, Part, State, Ticker
from proxy.settings import load
from proxy.wire import ops_listener as wired
from proxy.wire.ops import ops_listener
from proxy.wire.ops_tls import ops_tls
from proxy.wire.state import StartFault
from tests.edge.certificates import Authority

TOKEN = "0123456789abcdef"
REFUSED = 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    room: Path = tmp_path_factory.mktemp("ops-tls")
    return Authority(room)


@pytest.fixture(scope="module")
def server(authority: Authority):
    return authority.issue("server")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "stranger")


def settings(server, ca: Path, **more: str):
    """Settings of a listener beyond loopback."""
    values = {
        "UPSTREAM__URL": "http://127.0.0.1:1", "SOURCE__KIND": "token_file", "SOURCE__PATH": "t", "OPS__HOST": "0.0.0.0",
        "OPS__PORT": "0", "OPS__TLS__CERT_FILE": server.certificate, "OPS__TLS__KEY_FILE": server.key,
        "OPS__TLS__CLIENT_CA_FILE": ca, **more,
    }  # fmt: skip
    return load(None, {f"SCIM_WITNESS_{key}": str(value) for key, value in values.items()})


def raising(_part: str, error: BaseException) -> None:
    raise error


@asynccontextmanager
async def listening(found):
    health = Health(Ticker(), lambda: [Part("doorkeeper", State.OK, kind="source")])
    listener = ops_listener(found, health, lambda _: ("text/plain", b"metrics\n"), tuple, raising)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


async def ask(listener, tls: ssl.SSLContext, path: str = "/metrics", token: str = "") -> int:
    """The status; REFUSED when there was no answer but an end. Before it the client may have been told why by an alert."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
        try:
            return await request(reader, writer, path, token)
        finally:
            writer.transport.abort()
    except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        return REFUSED


async def request(reader, writer, path: str = "/metrics", token: str = "") -> int:
    credential = f"Authorization: Bearer {token}\r\n" if token else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: any.example.com\r\n{credential}\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
    await asyncio.wait_for(reader.readexactly(length), 10)
    return int(head.split()[1])


async def test_whom_the_handshake_lets_in(authority: Authority, server, stranger: Authority):
    foreign = authority.client()
    pair = stranger.issue("operator")
    foreign.load_cert_chain(pair.certificate, pair.key)
    async with listening(settings(server, authority.pair.certificate)) as listener:
        assert 200 == await ask(listener, authority.client("operator"))
        assert [REFUSED] * 3 == [await ask(listener, authority.client(), path) for path in ("/metrics", "/livez", "/readyz")]
        assert REFUSED == await ask(listener, foreign)
        assert REFUSED == await ask(listener, authority.client("old", hours=-1.0))
        assert 200 == await ask(listener, authority.client("operator"), "/readyz")


async def test_audit_line_names_the_certificate_and_no_more(authority: Authority, server):
    with capture_logs() as lines:
        async with listening(settings(server, authority.pair.certificate)) as listener:
            assert 404 == await ask(listener, authority.client("Jane Doe"), "/incidents")
    (line,) = lines
    assert {"event", "log_level", "access", "peer", "method", "path", "status", "subject", "serial"} == set(line)
    assert ("granted", "Jane Doe", "/incidents", 404) == (line["access"], line["subject"], line["path"], line["status"])
    assert 20 <= len(line["serial"])


async def test_failed_handshakes_leave_a_line_now_and_then_that_counts_the_rest(
    authority: Authority, server, stranger: Authority, monkeypatch
):
    foreign = authority.client()
    pair = stranger.issue("operator")
    foreign.load_cert_chain(pair.certificate, pair.key)
    with capture_logs() as lines:
        async with listening(settings(server, authority.pair.certificate)) as listener:
            await ask(listener, authority.client())
            monkeypatch.setattr(wired, "TOLD_EVERY", 1e9)
            for _ in range(3):
                await ask(listener, authority.client())
            monkeypatch.setattr(wired, "TOLD_EVERY", 0.0)
            await ask(listener, authority.client("old", hours=-1.0))
            await ask(listener, foreign)
    assert [
        ("PEER_DID_NOT_RETURN_A_CERTIFICATE", 0),
        ("certificate has expired", 3),
        ("unable to get local issuer certificate", 0),
    ] == [(line["why"], line["untold"]) for line in lines]
    assert {("handshake_failed", "127.0.0.1")} == {(line["access"], line["peer"]) for line in lines}


async def test_only_names_on_the_list(authority: Authority, server):
    found = settings(server, authority.pair.certificate, OPS__TLS__CLIENT_NAMES="prometheus,Jane Doe")
    with capture_logs() as lines:
        async with listening(found) as listener:
            assert [200, 403] == [await ask(listener, authority.client(name)) for name in ("prometheus", "john")]
    assert ["unlisted_certificate"] == [line["access"] for line in lines if line["log_level"] == "warning"]


async def test_open_probes_answer_a_kubelet_and_nothing_else_does(authority: Authority, server, stranger: Authority):
    foreign = authority.client()
    pair = stranger.issue("operator")
    foreign.load_cert_chain(pair.certificate, pair.key)
    found = settings(server, authority.pair.certificate, OPS__TLS__OPEN_PROBES="true")
    async with listening(found) as listener:
        assert [200, 200] == [await ask(listener, authority.client(), path) for path in ("/livez", "/readyz")]
        for path in ("/metrics", "/readyz?verbose", "/incidents"):
            assert 403 == await ask(listener, authority.client(), path)
        assert REFUSED == await ask(listener, foreign, "/livez")
        assert 200 == await ask(listener, authority.client("operator"))


async def test_with_a_token_both_are_needed(authority: Authority, server):
    async with listening(settings(server, authority.pair.certificate, OPS__TOKEN=TOKEN)) as listener:
        assert 401 == await ask(listener, authority.client("operator"))
        assert 200 == await ask(listener, authority.client("operator"), token=TOKEN)
        assert REFUSED == await ask(listener, authority.client(), token=TOKEN)


async def test_certificate_that_ends_while_its_connection_stays(authority: Authority, server, monkeypatch):
    later = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + later)
    async with listening(settings(server, authority.pair.certificate)) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=authority.client("operator"))
        assert 200 == await request(reader, writer)
        later = 86_401.0
        assert 403 == await request(reader, writer)
        writer.transport.abort()


async def test_other_authority_by_reload_ends_what_the_one_before_had_let_in(authority: Authority, server, stranger: Authority):
    before, after = (settings(server, one.pair.certificate) for one in (authority, stranger))
    operator = stranger.issue("operator")
    theirs = authority.client()
    theirs.load_cert_chain(operator.certificate, operator.key)
    async with listening(before) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=authority.client("operator"))
        assert 200 == await request(reader, writer)
        listener.use(None, ops_tls(before))
        assert 200 == await request(reader, writer), "the same authority: nobody is cut off"
        listener.use(None, ops_tls(after))
        with contextlib.suppress(ConnectionError):
            assert b"" == await asyncio.wait_for(reader.read(1), 10), "cut, though nothing was asked"
        assert REFUSED == await ask(listener, authority.client("operator"))
        assert 200 == await ask(listener, theirs)


async def test_handshake_that_ends_after_its_authority_has_gone_lets_nobody_in(
    authority: Authority, server, stranger: Authority
):
    before, after = (settings(server, one.pair.certificate) for one in (authority, stranger))
    async with listening(before) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=authority.client("operator"))
        assert 200 == await request(reader, writer)
        listener._road.believe(ops_tls(after).context, besides=False)  # and `use` has cut those before it
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await request(reader, writer)


@pytest.mark.parametrize(
    "why, content",
    [
        ("No such file or directory. Check", None),
        ("holds no certificates", ""),
        ("holds no certificates", "no PEM"),
        ("holds no certificate of an authority", "leaf"),
    ],
)
def test_authorities_that_are_no_use_are_named(authority: Authority, server, tmp_path: Path, why, content):
    file = tmp_path / "clients.pem"
    if content is not None:
        file.write_text(server.certificate.read_text() if content == "leaf" else content)
    with pytest.raises(StartFault) as fault:
        ops_tls(settings(server, file))
    assert str(fault.value).startswith(f"ops.tls.client_ca_file {file}: {why}")


def test_authorities_of_the_system_are_not_asked(authority: Authority, server):
    found = ops_tls(settings(server, authority.pair.certificate))
    assert found is not None
    held: list[Any] = found.context.get_ca_certs()
    assert [(((("commonName", "ca"),),))] == [one["subject"] for one in held]
