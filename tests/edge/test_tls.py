"""TLS on both sides: certificates are checked, one of ours is shown, and nothing of the wire's promises changes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest

from proxy.edge.client_connection import Times
from proxy.edge.listener import DRAIN_POLL
from tests.edge.backend import Talk
from tests.edge.certificates import Authority
from tests.edge.world import World, get, post, until


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    room: Path = tmp_path_factory.mktemp("tls")
    return Authority(room)


async def test_upstream_with_authority_and_client_certificate(authority: Authority):
    tls = authority.client("proxy")
    async with World.open(upstream={"tls": tls}, backend_tls=authority.server(clients=True)) as world:
        for _ in range(3):
            await world.good()
        assert 200 == (await world.ask(post(b"x" * 300_000))).status
        assert 300_000 == len(world.backend.last.body)
        assert len(world.backend.connections) == 1, "kept alive"
        world.check()


async def test_upstream_without_the_certificate_it_asks_for(authority: Authority):
    async with World.open(upstream={"tls": authority.client()}, backend_tls=authority.server(clients=True)) as world:
        answer = await world.ask(get())
        assert 502 == answer.status
        assert [] == world.backend.requests


async def test_upstream_of_another_authority(authority: Authority, tmp_path: Path):
    other = Authority(tmp_path, "other")
    async with World.open(upstream={"tls": other.client()}, backend_tls=authority.server()) as world:
        answer = await world.ask(get())
        assert (502, True) == (answer.status, "backend_unreachable" in answer.json()["detail"])
        assert [] == world.backend.requests
        await until(lambda: world.upstream._open == 0)


async def test_upstream_of_another_name(authority: Authority):
    options = {"tls": authority.client(), "server_name": "other.example"}
    async with World.open(upstream=options, backend_tls=authority.server()) as world:
        assert 502 == (await world.ask(get())).status
        assert [] == world.backend.requests


async def test_upstream_that_speaks_no_tls(authority: Authority):
    async with World.open(upstream={"tls": authority.client()}) as world:
        assert 502 == (await world.ask(get())).status


async def test_listener(authority: Authority):
    async with World.open(listener_tls=authority.server(), client_tls=authority.client()) as world:
        async with world.client() as client:
            for sent in (get(extra=b"X-Case: a\r\n"), post(b"x" * 300_000)):
                await client.send(sent)
                assert 200 == (await client.answer()).status
            assert [b"https"] == world.backend.last.values(b"x-forwarded-proto")
            await client.send(get(token=b"unknown-token-0123456789", method=b"POST", extra=b"Content-Length: 9000000\r\n"))
            assert 401 == (await client.answer()).status
            assert await client.closed()
        await world.good()
        world.check()


async def test_a_break_within_an_answer_is_a_break_over_tls_too(authority: Authority):
    async def script(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
        talk.writer.close()

    async with World.open(listener_tls=authority.server(), client_tls=authority.client()) as world:
        world.backend.script = script
        answer = await world.ask(get())
        assert answer is None or not answer.whole


async def test_client_that_says_nothing_on_a_tls_port_is_cut(authority: Authority):
    async with World.open(listener_tls=authority.server(), client_tls=authority.client(), times=Times(head=0.4)) as world:
        with socket.create_connection(("127.0.0.1", world.port)) as sock:
            sock.setblocking(False)
            assert b"" == await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1), 5)
        await world.good()


async def test_a_handshake_under_way_counts_as_a_connection(authority: Authority):
    """Strangers who connect and never greet fill the limit like others; when they have gone there is room again."""
    async with World.open(listener_tls=authority.server(), client_tls=authority.client(), max_connections=3) as world:
        async with world.client() as served:
            await served.send(get())
            assert 200 == (await served.answer()).status
            silent = [socket.create_connection(("127.0.0.1", world.port)) for _ in range(2)]
            await until(lambda: world.listener.entering == 2)
            with socket.create_connection(("127.0.0.1", world.port)) as one_too_many:
                one_too_many.setblocking(False)
                assert b"" == await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one_too_many, 1), 5)
            assert (1, 2) == (world.listener.turned_away, world.listener.entering)
            await served.send(get(extra=b"X-Case: served\r\n"))
            assert "served" == (await served.answer()).json()["case"]
            for sock in silent:
                sock.close()
            await until(lambda: world.listener.entering == 0)
            await world.good()
        world.check()


async def test_clear_text_on_a_tls_port_is_cut_and_forgotten(authority: Authority):
    async with World.open(listener_tls=authority.server(), client_tls=authority.client()) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(get())
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await until(lambda: world.listener.entering == 0)
        await world.good()
        assert 1 == len(world.backend.requests)
        world.check()


async def test_a_drain_waits_for_a_handshake_under_way(authority: Authority):
    async with World.open(listener_tls=authority.server(), client_tls=authority.client()) as world:
        with socket.create_connection(("127.0.0.1", world.port)):
            await until(lambda: world.listener.entering == 1)
            draining = asyncio.create_task(world.listener.drain(5.0))
            await until(lambda: not world.listener.accepting)
            done, _ = await asyncio.wait([draining], timeout=6 * DRAIN_POLL)
            assert not done
        assert 0 == await draining
