"""Whoever is slow meets a deadline; whoever waits in vain is told so; everything that queues is bounded."""

from __future__ import annotations

import asyncio
import functools
import socket

import pytest

from proxy.edge.client_connection import READ_AHEAD, WRITE_HIGH, Times
from tests.edge.backend import Talk, echo
from tests.edge.world import GOOD, LOOKUP, PATIENCE, Raw, World, get, post, until

SHORT = Times(head=0.4, idle=0.4, body_read=0.4, write=0.6)


def inflight(world: World, number: int) -> bool:
    """Whether so many requests are on the road."""
    return world.handler.inflight == number


async def small(world: World) -> Raw:
    """A client whose kernel holds little, so that what it does not read stays with the proxy."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", world.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4_096)
    return Raw(reader, writer)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"G", b"GET / HTTP/1.1\r\n", get()[:-2]], ids=repr)
async def test_head_in_time(sent: bytes):
    async with World.open(times=Times(head=0.4, idle=60.0)) as world, world.client() as client:
        await client.send(sent)
        if sent.strip():
            assert 408 == (await client.answer()).status
        assert await client.closed()
        world.check()


async def test_head_byte_by_byte_does_not_extend_its_deadline():
    async with World.open(times=SHORT) as world, world.client() as client:
        stop = asyncio.Event()

        async def trickle() -> None:
            while not stop.is_set():
                await client.send(b"A")
                await asyncio.sleep(0.02)

        sending = asyncio.create_task(trickle())
        assert 408 == (await client.answer()).status
        stop.set()
        await sending
        assert await client.closed()


async def test_empty_lines_do_not_extend_the_deadline():
    async with World.open(times=SHORT) as world, world.client() as client:
        await client.send(b"\r\n")
        await asyncio.sleep(0.01)
        await client.send(b"\r\n")
        assert 400 == (await client.answer()).status
        assert await client.closed()


async def test_idle_connection_ends_without_a_word():
    async with World.open(times=SHORT) as world, world.client() as client:
        for _ in range(2):
            await client.send(get())
            assert 200 == (await client.answer()).status
        assert await client.closed()
        assert not client.reset


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_stalled_upload_is_a_408_and_ends_the_backend_request(framing: bytes):
    async with World.open(times=SHORT) as world, world.client() as client:
        await client.send(get(method=b"POST", extra=framing) + b"5\r\nhe")
        answer = await client.answer()
        assert (408, [b"close"]) == (answer.status, answer.values(b"connection"))
        assert await client.closed()
        await until(world.backend.connections[0].ended.is_set)
        assert [] == world.backend.requests
        await world.good()
        world.check()


async def test_slow_upload_is_not_blamed_on_the_backend():
    """While the client's body is waited for, the backend's deadline does not run."""
    async with World.open(upstream={"head_timeout": 0.3}) as world, world.client() as client:
        await client.send(get(method=b"POST", extra=b"Content-Length: 3\r\n") + b"a")
        await asyncio.sleep(0.8)
        await client.send(b"bc")
        assert 200 == (await client.answer()).status
        world.check()


async def test_client_that_does_not_read_is_cut_and_the_backend_with_it():
    async with World.open(times=SHORT) as world:

        async def endless(talk: Talk) -> None:
            await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                await talk.send(b"x" * 65_536)

        world.backend.script = endless
        client = await small(world)
        await client.send(get())
        await until(lambda: world.backend.connections)
        await until(world.backend.connections[0].ended.is_set)
        await until(lambda: len(world.listener) == 0)
        client.leave()
        world.check()


async def test_small_answers_that_nobody_reads_are_cut_too():
    """Below the high-water mark nothing is paused: the close that waits for the last octets needs a deadline of its own."""
    async with World.open(times=SHORT, send_buffer=8_192) as world:

        async def script(talk: Talk) -> None:
            await talk.answer(b"x" * (WRITE_HIGH - 2_000))

        world.backend.script = script
        client = await small(world)
        await client.send(get(extra=b"Connection: close\r\n"))
        await until(lambda: world.witness.exchanges)
        (connection,) = world.listener._clients
        assert not connection._writing_paused
        assert connection._transport.get_write_buffer_size()
        await until(lambda: len(world.listener) == 0)
        client.leave()


async def test_pipelining_without_reading_is_held_back():
    """A client that sends requests and never reads must not fill memory with answers."""
    async with World.open(times=Times(write=5.0)) as world:

        async def script(talk: Talk) -> None:
            await talk.answer(b"x" * 100_000)

        world.backend.script = script
        client = await small(world)
        sending = asyncio.create_task(client.send(get() * 2_000))
        await until(lambda: any(c._writing_paused for c in world.listener._clients))
        served = len(world.backend.requests)
        for _ in range(50):
            await asyncio.sleep(0.002)
        assert len(world.backend.requests) <= served + 1
        (connection,) = world.listener._clients
        assert connection._transport.get_write_buffer_size() < WRITE_HIGH + 200_000
        assert len(connection._heads.held) < READ_AHEAD + 300_000
        sending.cancel()
        client.leave()


async def test_pipelined_refusals_let_others_have_their_turn(world: World):
    async with world.client() as flood:
        await flood.send(get(token=b"x") * 300)
        await world.good("turn")
        assert len(world.witness.incidents) < 300
        for _ in range(300):
            assert 401 == (await flood.answer()).status


async def test_a_client_that_leaves_ends_the_backend_request(world: World):
    async def script(talk: Talk) -> None:
        await talk.until_gone()

    world.backend.script = script
    client = await world.connect()
    await client.send(get())
    await until(lambda: world.backend.requests)
    client.leave()
    await until(world.backend.connections[0].ended.is_set)
    await until(lambda: world.upstream.in_use == 0)
    assert "client_gone" == world.witness.exchanges[-1].fault


async def test_a_client_that_leaves_within_a_download_ends_it(world: World):
    async def endless(talk: Talk) -> None:
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await talk.send(b"x" * 65_536)

    world.backend.script = endless
    client = await world.connect()
    await client.send(get())
    await client.reader.readexactly(100_000)
    client.leave()
    await until(world.backend.connections[0].ended.is_set)


async def test_a_client_that_leaves_while_the_source_is_asked(world: World):
    world.tokens.gate.clear()
    client = await world.connect()
    await client.send(get(token=LOOKUP))
    await until(lambda: world.tokens.reads)
    client.leave()
    await until(lambda: world.witness.exchanges)
    world.tokens.gate.set()
    assert [] == world.backend.requests
    await world.good()


@pytest.mark.parametrize("token", [GOOD, LOOKUP])
@pytest.mark.parametrize("sent", ["get", "post", "chunked"])
async def test_half_close_after_the_request_still_gets_its_answer(world: World, token: bytes, sent: str):
    request = {
        "get": get(token=token),
        "post": post(b"hello", token=token),
        "chunked": get(token=token, method=b"POST", extra=b"Transfer-Encoding: chunked\r\n") + b"5\r\nhello\r\n0\r\n\r\n",
    }[sent]
    async with world.client() as client:
        client.writer.write(request)
        client.writer.write_eof()
        assert 200 == (await client.answer()).status
        assert await client.closed()
        assert not client.reset


@pytest.mark.parametrize("sent", [b"", b"GET / HT", post(b"hello")[:-2]], ids=repr)
async def test_half_close_within_a_request_reaches_nobody(world: World, sent: bytes):
    async with world.client() as client:
        client.writer.write(sent)
        client.writer.write_eof()
        await client.read_to_end()
    assert [] == world.backend.requests
    await world.good()


async def test_half_close_and_a_backend_that_is_slow_ends_the_exchange(world: World):
    """TCP cannot tell it from a client that left; see HALF_CLOSE_GRACE."""

    async def script(talk: Talk) -> None:
        await talk.until_gone()

    world.backend.script = script
    async with world.client() as client:
        client.writer.write(get())
        client.writer.write_eof()
        await client.read_to_end()
    await until(world.backend.connections[0].ended.is_set)


async def test_connection_limit_says_503():
    async with World.open(max_connections=2) as world:
        first, second = await world.connect(), await world.connect()
        for client in (first, second):
            await client.send(get())
            assert 200 == (await client.answer()).status
        async with world.client() as third:
            answer = await third.answer()
            assert (503, [b"10"]) == (answer.status, answer.values(b"retry-after"))
            assert "overload" in answer.json()["detail"]
            assert await third.closed()
        assert 1 == world.listener.turned_away
        first.leave()
        await until(lambda: len(world.listener) == 1)
        await world.good()
        second.leave()
        world.check()


async def test_one_too_many_can_send_all_it_has_and_still_read_why():
    """RFC 9112 section 9.6: a close at once would reset a client that is still sending, and many never read after that."""
    async with World.open(max_connections=1) as world:
        async with world.client() as first:
            await first.send(get())
            assert 200 == (await first.answer()).status
            with socket.create_connection(("127.0.0.1", world.port)) as sock:
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await asyncio.wait_for(loop.sock_sendall(sock, post(b"x" * 8_000_000)), PATIENCE)
                said = await asyncio.wait_for(loop.sock_recv(sock, 65_536), PATIENCE)
                assert said.startswith(b"HTTP/1.1 503 ")
        world.check()


async def test_per_backend_limit_queues_in_order_and_is_bounded():
    async with World.open(upstream={"max_connections": 2, "queue_limit": 3, "queue_timeout": 5.0}) as world:
        gate = asyncio.Event()

        async def script(talk: Talk) -> None:
            await gate.wait()
            await echo(talk)

        world.backend.script = script
        clients = [await world.connect() for _ in range(6)]
        for number, client in enumerate(clients):
            await client.send(get(extra=b"X-Case: %d\r\n" % number))
            if number < 5:
                await until(functools.partial(inflight, world, number + 1))
        refusal = await clients[5].answer()
        assert (503, [b"10"]) == (refusal.status, refusal.values(b"retry-after"))
        assert "backend_busy" in refusal.json()["detail"]
        assert 3 == world.upstream.queued
        gate.set()
        assert [str(n) for n in range(5)] == [(await client.answer()).json()["case"] for client in clients[:5]]
        assert [b"0", b"1", b"2", b"3", b"4"] == sorted(r.values(b"x-case")[0] for r in world.backend.requests)
        assert [b"2", b"3", b"4"] == [r.values(b"x-case")[0] for r in world.backend.requests[2:]]
        assert len(world.backend.connections) <= 2
        for client in clients:
            client.leave()
        world.check()


async def test_waiting_for_a_backend_connection_is_timed():
    async with World.open(upstream={"max_connections": 1, "queue_timeout": 0.2}) as world:

        async def script(talk: Talk) -> None:
            await talk.until_gone()

        world.backend.script = script
        async with world.client() as busy:
            await busy.send(get())
            await until(lambda: world.backend.requests)
            answer = await world.ask(get())
            assert (503, [b"10"]) == (answer.status, answer.values(b"retry-after"))
        world.check()


async def test_a_waiter_that_is_cancelled_when_called_passes_the_call_on():
    async with World.open(upstream={"max_connections": 1, "queue_timeout": 5.0}) as world:
        pool = world.upstream
        held = await pool.acquire(writes=False)
        first, second = asyncio.create_task(pool.acquire(writes=False)), asyncio.create_task(pool.acquire(writes=False))
        await until(lambda: pool.queued == 2)
        calls = []

        def call_and_cancel() -> None:
            pool.really_call_next()
            calls.append(1)
            if len(calls) == 1:
                first.cancel()

        pool.calls_next = call_and_cancel
        held.close()
        connection = await asyncio.wait_for(second, PATIENCE)
        assert first.cancelled()
        connection.close()
        await until(lambda: pool._open == 0)
        assert 0 == pool._called


async def test_newcomers_do_not_overtake_those_who_wait():
    async with World.open(upstream={"max_connections": 1, "queue_timeout": 5.0}) as world:
        await world.good()
        pool = world.upstream
        connection = pool.take_idle(False)
        assert connection is not None
        waiting = asyncio.create_task(pool.acquire(writes=False))
        await until(lambda: pool.queued == 1)
        # as a release does, with a newcomer in the same turn of the loop
        pool._idle.append(connection)
        pool._call_next()
        assert pool.take_idle(False) is None
        newcomer = asyncio.create_task(pool.acquire(writes=False))
        assert connection is await waiting
        connection.close()
        (await newcomer).close()


async def test_five_hundred_idle_connections_do_not_slow_the_others(world: World):
    idle = [await world.connect() for _ in range(500)]
    for number in range(20):
        await asyncio.wait_for(world.good(f"n{number}"), PATIENCE)
    for client in idle:
        client.leave()


async def test_bad_weather_of_the_source_waits_bounded_by_the_source(world: World):
    """The road itself holds no request of a known token while the source is stuck."""
    world.tokens.gate.clear()
    async with world.client() as stuck:
        await stuck.send(get(token=LOOKUP))
        await until(lambda: world.tokens.reads)
        await world.good()
        world.tokens.gate.set()
        assert 200 == (await stuck.answer()).status
