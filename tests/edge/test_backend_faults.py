"""A backend that breaks: bounded time, a SCIM body, never a 401, never a 500, and a break is shown as a break."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass

import pytest

from proxy.edge.backend_connection import EARLY_BODY_LIMIT, BackendConnection
from proxy.edge.faults import ExchangeError
from tests.edge.backend import Script, Talk, echo
from tests.edge.world import GOOD, PATIENCE, World, get, post, until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/scim+json\r\n"
QUICK = {"head_timeout": 0.6, "body_timeout": 0.6, "connect_timeout": 0.6}


def says(*parts: bytes, end: str = "close") -> Script:
    """A script that writes parts, each in a segment of its own, and then closes, resets, half-closes or waits."""

    async def script(talk: Talk) -> None:
        for part in parts:
            await talk.send(part)
            await asyncio.sleep(0.005)
        if end == "reset":
            talk.reset()
        elif end == "half":
            talk.writer.write_eof()
            await talk.until_gone()
        elif end == "wait":
            await talk.until_gone()
        else:
            talk.writer.close()

    return script


@dataclass(frozen=True)
class Case:
    """A script and what the client gets: `status` with `word` in its detail; `broken` means a break within the body."""

    name: str
    script: Script
    status: int
    word: str = ""
    broken: bool = False
    body: bytes | None = None


def garbled(name: str, *parts: bytes, end: str = "wait") -> Case:
    return Case(name, says(*parts, end=end), 502, "backend_garbled")


def broken(name: str, *parts: bytes, end: str = "wait") -> Case:
    return Case(name, says(*parts, end=end), 200, broken=True)


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CASES = [
    Case("closes without a word", says(), 502, "backend_closed"),
    Case("resets without a word", says(end="reset"), 502, "backend_closed"),
    Case("half-closes without a word", says(end="half"), 502, "backend_closed"),
    Case("closes within the status line", says(b"HTTP/1.1 20"), 502, "backend_closed"),
    Case("closes within the head", says(HEAD), 502, "backend_closed"),
    Case("resets within the head", says(HEAD, end="reset"), 502, "backend_closed"),
    Case("says nothing", says(end="wait"), 504, "backend_timeout"),
    Case("stops within the head", says(HEAD, end="wait"), 504, "backend_timeout"),
    Case("interim answer and nothing more", says(b"HTTP/1.1 102 Processing\r\n\r\n", end="wait"), 504, "backend_timeout"),
    Case("interim answer, then closes", says(b"HTTP/1.1 100 Continue\r\n\r\n"), 502, "backend_closed"),
    garbled("speaks SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
    garbled("speaks TLS", b"\x15\x03\x01\x00\x02\x02\x46"),
    garbled("HTTP/0.9", b"<html>hello</html>"),
    garbled("HTTP/2", b"HTTP/2 200\r\n\r\n"),
    garbled("HTTP/1.2", b"HTTP/1.2 200 OK\r\n\r\n"),
    garbled("no version", b"HTTP/ 200 OK\r\n\r\n"),
    garbled("status of two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    garbled("status of four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    garbled("status with a sign", b"HTTP/1.1 +20 OK\r\n\r\n"),
    garbled("status of zero", b"HTTP/1.1 000 OK\r\n\r\n"),
    garbled("control character in the reason", b"HTTP/1.1 200 O\x01K\r\n\r\n"),
    garbled("NUL in a header", HEAD + b"X: a\x00b\r\n\r\n"),
    garbled("bare CR in a header", HEAD + b"X: a\rb\r\n\r\n"),
    garbled("bare LF in a header", HEAD + b"X: a\nSet-Cookie: b\r\n\r\n"),
    garbled("all line ends LF", HEAD.replace(b"\r\n", b"\n") + b"Content-Length: 2\n\n{}"),
    garbled("all line ends CR", HEAD.replace(b"\r\n", b"\r") + b"Content-Length: 2\r\r{}"),
    garbled("the last lines end with LF", HEAD + b"Content-Length: 2\n\n{}"),
    garbled("the empty line ends with LF", HEAD + b"Content-Length: 2\r\n\n{}"),
    garbled("folded header", HEAD + b"X: a\r\n b\r\n\r\n"),
    garbled("space before the colon", HEAD + b"Content-Length : 2\r\n\r\n{}"),
    garbled("header without a colon", HEAD + b"nothing\r\n\r\n"),
    garbled("empty header name", HEAD + b": x\r\n\r\n"),
    garbled("length of letters", HEAD + b"Content-Length: two\r\n\r\n{}"),
    garbled("length with a plus", HEAD + b"Content-Length: +2\r\n\r\n{}"),
    garbled("length negative", HEAD + b"Content-Length: -2\r\n\r\n{}"),
    garbled("length empty", HEAD + b"Content-Length: \r\n\r\n{}"),
    garbled("length of 4301 digits", HEAD + b"Content-Length: " + b"2" * 4301 + b"\r\n\r\n{}"),
    garbled("two different lengths", HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    garbled("coding unknown", HEAD + b"Transfer-Encoding: gzip\r\n\r\n"),
    garbled("coding before chunked", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    garbled("coding twice", HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    garbled("coding in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    garbled("101 unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
    garbled("17 interim answers", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17),
    garbled("head without an end", *([b"HTTP/1.1 200 OK\r\n"] + [b"A: " + b"b" * 8_000 + b"\r\n"] * 9)),
    garbled("129 headers", HEAD + b"A: b\r\n" * 128 + b"\r\n"),
    broken("length too great", HEAD + b"Content-Length: 9\r\n\r\n{}", end="close"),
    broken("length too great, reset", HEAD + b"Content-Length: 9\r\n\r\n", b"{}", end="reset"),
    broken("length too great, half-closed", HEAD + b"Content-Length: 9\r\n\r\n", b"{}", end="half"),
    broken("body stalls", HEAD + b"Content-Length: 9\r\n\r\n", b"{}"),
    broken("body stalls before its first octet", HEAD + b"Content-Length: 9\r\n\r\n"),
    broken("chunked body stalls", CHUNKED, b"2\r\n{}\r\n"),
    broken("bad chunk size", CHUNKED, b"2\r\n{}\r\nxyz\r\n"),
    broken("negative chunk size", CHUNKED, b"2\r\n{}\r\n-1\r\n"),
    broken("bad end of chunk", CHUNKED, b"2\r\n{}xx"),
    broken("chunks without the last", CHUNKED, b"2\r\n{}\r\n", end="close"),
    broken("chunked, reset", CHUNKED, b"2\r\n{}\r\n", end="reset"),
    broken("endless trailers", CHUNKED, b"2\r\n{}\r\n0\r\n", b"A: b\r\n" * 2_000),
    broken("until close, reset", HEAD + b"\r\n", b"{}", end="reset"),
    broken("until close, stalls", HEAD + b"\r\n", b"{}"),
    Case("broken before the head was passed on", says(CHUNKED + b"zz\r\n", end="wait"), 502, "backend_body_broken"),
    Case("until close", says(HEAD + b"\r\n", b"{}"), 200, body=b"{}"),
    Case("until half close", says(HEAD + b"\r\n", b"{}", end="half"), 200, body=b"{}"),
    Case("until close, HTTP/1.0", says(b"HTTP/1.0 200 OK\r\n\r\n{}"), 200, body=b"{}"),
    Case("length equal twice", says(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"), 200, body=b"{}"),
    Case(
        "length and coding", says(CHUNKED[:-2] + b"Content-Length: 7\r\n\r\n2\r\n{}\r\n0\r\n\r\n", end="wait"), 200, body=b"{}"
    ),
    Case(
        "more than its length", says(HEAD + b"Content-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n", end="wait"), 200, body=b"{}"
    ),
    Case("more than its chunks", says(CHUNKED + b"2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", end="wait"), 200, body=b"{}"),
    Case(
        "interim answers are dropped",
        says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 16 + HEAD + b"Content-Length: 2\r\n\r\n{}"),
        200,
        body=b"{}",
    ),
    Case("204 with a body", says(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}", end="wait"), 204, body=b""),
    Case("no reason phrase", says(b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}"), 200, body=b"{}"),
]


@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_fault(case: Case, method: bytes):
    async with World.open(upstream=QUICK) as world:
        world.backend.script = case.script
        async with world.client() as client:
            await client.send(get() if method == b"GET" else post(b"hello"))
            answer = await client.answer(method)
            assert answer is not None
            assert case.status == answer.status
            if case.broken:
                assert not answer.whole
                assert await client.closed()
                assert client.reset, "a break must look like one"
                assert world.witness.exchanges[-1].fault
            else:
                assert answer.whole
            if case.word:
                assert case.word in answer.json()["detail"]
                assert case.word == world.witness.exchanges[-1].fault
            if case.body is not None:
                assert case.body == answer.body
            if not case.broken:
                world.backend.script = echo
                await client.send(get(extra=b"X-Case: own\r\n"))
                following = await client.answer()
                assert (200, "own") == (following.status, following.json()["case"])
        assert 1 == len([request for request in world.backend.requests if not request.values(b"x-case")]), "sent twice"
        world.backend.script = echo
        await world.good()
        world.check()


async def test_nobody_listens():
    async with World.open() as world:
        await world.backend.stop()
        answer = await world.ask(get())
        assert 502 == answer.status
        assert "backend_unreachable" in answer.json()["detail"]
        world.check()


async def test_connect_takes_too_long():
    """192.0.2.1 is for documentation: nobody answers there, or the network refuses at once."""
    async with World.open(upstream={"host": "192.0.2.1", "port": 9, "connect_timeout": 0.3}) as world:
        answer = await world.ask(get())
        assert (answer.status, "backend_" in answer.json()["detail"]) in ((504, True), (502, True))
        world.check()


@pytest.mark.parametrize("late", [b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"x", b"\r\n"])
async def test_bytes_on_an_idle_connection_are_never_the_next_answer(world: World, late: bytes):
    """A1: the answer to a request that nobody sent must not meet the next client."""

    async def script(talk: Talk) -> None:
        await echo(talk)
        await talk.send(late)

    world.backend.script = script
    for number in range(20):
        await world.good(f"own{number}")
    assert b"poison" not in world.backend.raw


async def test_bytes_that_the_kernel_holds_already_count(world: World):
    await world.good()
    (idle,) = world.upstream._idle
    assert idle.fit_to_carry()
    for writer in world.backend._writers:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    # no turn of the loop in between: only the kernel knows of the bytes
    assert not idle.fit_to_carry()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"POST", b"PATCH"])
async def test_stale_connection_idempotent_once_more_the_rest_never(world: World, method: bytes):
    """The backend takes a second request on the connection and ends it without a word."""
    taken = []

    async def script(talk: Talk) -> None:
        if talk.request.values(b"x-case") == [b"second"]:
            taken.append(len(world.backend.connections))
            if len(taken) == 1:
                talk.writer.close()
                return
        await echo(talk)

    world.backend.script = script
    await world.good()
    async with world.client() as client:
        sent = (
            post(b"hello", method=method, extra=b"X-Case: second\r\n")
            if method in (b"PUT", b"POST", b"PATCH")
            else get(method=method, extra=b"X-Case: second\r\n")
        )
        await client.send(sent)
        answer = await client.answer(method)
    if method in (b"POST", b"PATCH"):
        assert (502, [1]) == (answer.status, taken)
    else:
        assert (200, [1, 2]) == (answer.status, taken)
        assert 2 == world.witness.exchanges[-1].attempts
    if method == b"PUT":
        assert b"hello" == world.backend.last.body


async def test_stale_connection_is_tried_again_only_once(world: World):
    async def script(talk: Talk) -> None:
        if talk.request.values(b"x-case") == [b"never"]:
            talk.writer.close()
        else:
            await echo(talk)

    world.backend.script = script
    await world.good()
    answer = await world.ask(get(extra=b"X-Case: never\r\n"))
    assert (502, 3) == (answer.status, len(world.backend.requests))


async def test_writes_do_not_ride_on_a_connection_that_may_be_closing(world: World):
    await world.good()
    world.upstream._idle[0].idle_since -= 2
    await world.ask(post(b"x"))
    assert 2 == len(world.backend.connections)
    await world.ask(get())
    assert 2 == len(world.backend.connections)


async def test_head_with_a_body_does_not_meet_the_next_client(world: World):
    """wsgiref sends one (HTTP/1.0, closing); a keep-alive backend that does so too must not poison its connection."""

    async def script(talk: Talk) -> None:
        if talk.request.method == b"HEAD":
            await talk.send(HEAD + b"Content-Length: 60\r\n\r\n")
            await asyncio.sleep(0.01)
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n01234567890123456789")
        else:
            await echo(talk)

    world.backend.script = script
    for number in range(5):
        answer = await world.ask(get(method=b"HEAD"))
        assert (200, b"", [b"60"]) == (answer.status, answer.body, answer.values(b"content-length"))
        await world.good(f"own{number}")


async def test_head_with_a_body_in_http10(world: World):
    world.backend.script = says(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    answer = await world.ask(get(method=b"HEAD"))
    assert (200, b"", [b"2"]) == (answer.status, answer.body, answer.values(b"content-length"))


@pytest.mark.parametrize("stays", [True, False])
async def test_early_answer_arrives_and_the_rest_of_the_body_is_no_request(world: World, stays: bool):
    """The backend refuses from the head alone; the client, still sending, must be able to read that."""

    async def early(talk: Talk) -> None:
        if talk.request.method == b"POST":
            await talk.answer(b"{}", b"413 Content Too Large", b"" if stays else b"Connection: close\r\n")
            if not stays:
                talk.writer.write_eof()

    async def script(talk: Talk) -> None:
        if talk.request.method != b"POST":
            await echo(talk)

    world.backend.early, world.backend.script = early, script
    async with world.client() as client:
        await client.send(get(method=b"POST", extra=b"Content-Length: 400000\r\n"))
        answer = await client.answer()
        assert (413, [b"close"]) == (answer.status, answer.values(b"connection"))
        await client.send_pieces([get(b"/hidden").ljust(20_000, b"x")] * 20)
        assert await client.closed()
    assert not client.reset
    await world.good()
    assert [] == [request for request in world.backend.requests if request.target == b"/hidden"]


def ends_with(world: World, part: bytes) -> bool:
    """Whether the backend has got so far."""
    return world.backend.raw.endswith(part)


async def test_broken_upload_reaches_the_backend_as_broken(world: World):
    """RFC 9112 section 8: a message that was cut short is never completed."""
    for framing, part in ((b"Content-Length: 10\r\n", b"half"), (b"Transfer-Encoding: chunked\r\n", b"4\r\nhalf\r\n")):
        async with world.client() as client:
            await client.send(get(method=b"POST", extra=framing) + part)
            await until(functools.partial(ends_with, world, part))
        await until(lambda: all(connection.ended.is_set() for connection in world.backend.connections))
    assert [] == world.backend.requests
    assert {"request_body_broken"} == {exchange.fault for exchange in world.witness.exchanges}
    await world.good()


async def test_bad_chunk_in_an_upload_is_a_400_and_breaks_the_backend_request(world: World):
    async with world.client() as client:
        await client.send(get(method=b"POST", extra=b"Transfer-Encoding: chunked\r\n") + b"4\r\nhalf\r\n")
        await until(lambda: world.backend.raw.endswith(b"4\r\nhalf\r\n"))
        await client.send(b"zz\r\n")
        answer = await client.answer()
        assert 400 == answer.status
        assert await client.closed()
    await until(world.backend.connections[0].ended.is_set)
    assert [] == world.backend.requests
    assert GOOD not in client.seen


async def test_a_body_that_broke_before_anybody_took_it_is_known_at_once(world: World):
    """Head and bad chunk have been read in one turn of the loop: the client must get a 502, not a 200 that breaks."""
    connection = await world.upstream.acquire(writes=False)
    loop = asyncio.get_running_loop()
    connection.send(get(), b"GET", loop.time() + PATIENCE)
    connection.data_received(CHUNKED + b"2\r\n{}\r\n")
    connection.data_received(b"xyz\r\n")
    assert 200 == (connection.answer()).result().status
    with pytest.raises(ExchangeError, match="backend_body_broken"):
        connection.take_early(PATIENCE)
    world.upstream.release(connection)
    await until(lambda: world.upstream.in_use == 0)


async def test_an_answer_that_was_held_back_to_its_end_leaves_no_deaf_connection():
    """The last octets came while reading was paused; the connection must hear the next answer all the same."""
    async with World.open(road={"explain_refusals": False}, upstream={"head_timeout": 2.0}) as world:
        body = b"x" * (EARLY_BODY_LIMIT + 50_000)

        async def script(talk: Talk) -> None:
            if talk.request.values(b"x-case"):
                await echo(talk)
            else:
                await talk.send(b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(body))
                await talk.send(body)

        world.backend.script = script
        world.tokens.gate.clear()
        async with world.client() as client:
            await client.send(get())
            await until(lambda: world.tokens.reads)
            (held,) = [waiting for waiting in world.deadlines._waiting if isinstance(waiting, BackendConnection)]
            await until(lambda: held.complete and held._reading_paused)
            world.tokens.gate.set()
            answer = await client.answer()
            assert (401, body) == (answer.status, answer.body)
            await client.send(get(extra=b"X-Case: own\r\n"))
            assert "own" == (await client.answer()).json()["case"]
        assert 1 == len(world.backend.connections)
        world.check()
