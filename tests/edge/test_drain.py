"""Draining: what is in flight ends whole in both directions, nothing new is accepted, and the limit is kept."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket

import pytest

from tests.edge.backend import Talk, echo
from tests.edge.world import World, get, until


async def test_uploads_and_downloads_in_flight_end_whole(world: World):
    gate = asyncio.Event()

    async def script(talk: Talk) -> None:
        if talk.request.method == b"POST":
            await echo(talk)
            return
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000)
        await gate.wait()
        await talk.send(b"x" * 100_000)

    world.backend.script = script
    async with world.client() as down, world.client() as up, world.client() as idle:
        await idle.send(get(method=b"POST"))
        assert 200 == (await idle.answer()).status
        await down.send(get())
        await up.send(get(method=b"POST", extra=b"Content-Length: 200000\r\n") + b"x" * 1_000)
        await until(lambda: world.handler.inflight == 2)
        draining = asyncio.create_task(world.listener.drain(8.0))
        await until(lambda: world.listener.draining)
        assert not world.listener.accepting
        with pytest.raises(ConnectionError):
            await world.connect()
        await up.send(b"x" * 199_000)
        answer = await up.answer()
        assert (200, 200_000) == (answer.status, answer.json()["octets"])
        gate.set()
        assert 200_000 == len((await down.answer()).body)
        assert await idle.closed()
        assert not idle.reset
        assert 0 == await draining
    world.check()


async def test_a_request_that_comes_while_draining_is_served_and_the_connection_ends(world: World):
    async with world.client() as client:
        await client.send(get())
        assert 200 == (await client.answer()).status
        draining = asyncio.create_task(world.listener.drain(8.0))
        await until(lambda: world.listener.draining)
        await client.send(get())
        answer = await client.answer()
        assert (200, [b"close"]) == (answer.status, answer.values(b"connection"))
        assert 0 == await draining


async def test_what_does_not_end_in_time_is_cut_visibly(world: World):
    async def script(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\nx")
        await talk.until_gone()

    world.backend.script = script
    async with world.client() as client:
        await client.send(get())
        await until(lambda: world.handler.inflight)
        assert 1 == await world.listener.drain(0.2)
        answer = await client.answer()
        assert answer is None or not answer.whole
        assert client.reset


async def test_whoever_connects_in_the_turns_before_is_not_left_open_and_unheard():
    """asyncio's server drops what it accepted in the turn in which it is closed: nobody ever closed that socket."""
    for turns in range(8):
        async with World.open() as world:
            with socket.create_connection(("127.0.0.1", world.port)) as client:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await world.listener.drain(0.2)
                client.settimeout(5)
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            gc.collect()  # a transport that nobody closed says so here
