"""The findings about HTTP proxies built on aiohttp (A1 to A20, and three more), each by name. Some cannot occur here by
construction; then the test shows what happens instead. Tables of the neighbouring files hold the variants."""

from __future__ import annotations

import asyncio
import gzip

from proxy.edge.client_connection import Times
from tests.edge.backend import Talk, echo
from tests.edge.test_backend_faults import QUICK, says
from tests.edge.world import GOOD, World, get, post, until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/scim+json\r\n"


async def test_a1_bytes_on_an_idle_connection_are_not_the_next_answer(world: World):
    async def script(talk: Talk) -> None:
        await echo(talk)
        await talk.send(HEAD + b"Content-Length: 6\r\n\r\npoison")

    world.backend.script = script
    await world.good("first")
    await until(lambda: all(connection.ended.is_set() for connection in world.backend.connections))
    await world.good("second")


async def test_a2_bad_chunk_after_the_head_fails_at_once(world: World):
    world.backend.script = says(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b"nonsense\r\n", end="wait")
    async with world.client() as client:
        await client.send(get())
        answer = await client.answer()
        assert not answer.whole
        assert client.reset


async def test_a3_reset_within_a_close_delimited_body_is_no_whole_body(world: World):
    world.backend.script = says(HEAD + b"\r\n", b"{}", end="reset")
    async with world.client() as client:
        await client.send(get())
        assert not (await client.answer()).whole
        assert client.reset


async def test_a4_a_stalled_request_body_has_a_deadline():
    async with World.open(times=Times(body_read=0.3)) as world:
        answer = await world.ask(post(b"hello")[:-1])
        assert 408 == answer.status


async def test_a5_no_secret_in_a_refusal_of_odd_bytes(world: World):
    async with world.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nX: SECRET\x01\r\nAuthorization: Bearer SECRET\x00\r\n\r\n")
        assert 400 == (await client.answer()).status
        assert b"SECRET" not in client.seen
    assert "SECRET" not in world.witness.written()


async def test_a6_uploads_in_flight_end_while_draining(world: World):
    async with world.client() as client:
        await client.send(post(b"hello")[:-1])
        await until(lambda: world.handler.inflight)
        draining = asyncio.create_task(world.listener.drain(5.0))
        await until(lambda: world.listener.draining)
        await client.send(b"o")
        assert 200 == (await client.answer()).status
        assert 0 == await draining
    assert b"hello" == world.backend.last.body


async def test_a7_a_client_that_leaves_ends_the_backend_request(world: World):
    world.backend.script = Talk.until_gone
    client = await world.connect()
    await client.send(get())
    await until(lambda: world.backend.requests)
    client.leave()
    await until(world.backend.connections[0].ended.is_set)


async def test_a8_versions_and_coding_in_http10(world: World):
    assert 505 == (await world.ask(get().replace(b"HTTP/1.1", b"HTTP/2.0"))).status
    assert 400 == (await world.ask(get(extra=b"Transfer-Encoding: chunked\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"))).status


async def test_a9_bytes_above_ascii_are_never_dropped(world: World):
    await world.ask(get(extra=b"X-Name: admin\xff\r\n"))
    assert [b"admin\xff"] == world.backend.last.values(b"x-name")


async def test_a10_nothing_is_decompressed_and_nothing_added(world: World):
    squeezed = gzip.compress(b"x")
    await world.ask(post(squeezed, extra=b"Content-Encoding: gzip\r\n"))
    assert squeezed == world.backend.last.body
    names = {name.lower() for name, _ in world.backend.last.headers}
    assert not names & {b"accept", b"accept-encoding", b"user-agent", b"content-type"}


async def test_a11_targets_are_not_normalised_and_redirects_not_followed(world: World):
    async def script(talk: Talk) -> None:
        await talk.answer(status=b"302 Found", extra=b"Location: /other\r\nSet-Cookie: a=b\r\n")

    world.backend.script = script
    for target in (b"/%3B;%2f?x=%2f&y=%zz", b"//host/x", b"/a/../b?"):
        assert 302 == (await world.ask(get(target))).status
        assert target == world.backend.last.target
        assert [] == world.backend.last.values(b"cookie")


async def test_a12_a_valid_request_before_a_bad_one_gets_its_own_answer(world: World):
    async with world.client() as client:
        await client.send(get(extra=b"X-Case: valid\r\n") + b"nonsense\r\n\r\n")
        assert "valid" == (await client.answer()).json()["case"]
        assert 400 == (await client.answer()).status


async def test_a13_slow_requests_do_not_stop_everybody_without_a_word():
    async with World.open(upstream={"max_connections": 1, "queue_timeout": 0.1}) as world:
        world.backend.script = Talk.until_gone
        async with world.client() as slow:
            await slow.send(get())
            await until(lambda: world.backend.requests)
            answer = await world.ask(get())
            assert (503, [b"10"]) == (answer.status, answer.values(b"retry-after"))


async def test_a14_every_fault_of_the_backend_is_502_or_504():
    for script in (says(), says(end="reset"), says(b"garbage"), says(end="wait"), says(HEAD)):
        async with World.open(upstream=QUICK) as world:
            world.backend.script = script
            for sent in (get(), post(b"x")):
                assert (await world.ask(sent)).status in (502, 504)


async def test_a15_expect_and_upgrade_end_here(world: World):
    extra = b"Expect: 100-continue\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\nTE: trailers\r\nKeep-Alive: 5\r\n"
    answer = await world.ask(post(b"hello", extra=extra))
    assert 200 == answer.status
    names = {name.lower() for name, _ in world.backend.last.headers}
    assert not names & {b"expect", b"upgrade", b"http2-settings", b"te", b"keep-alive", b"connection"}


async def test_a16_every_set_cookie_passes(world: World):
    async def script(talk: Talk) -> None:
        await talk.answer(extra=b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n")

    world.backend.script = script
    assert [b"a=1", b"b=2"] == (await world.ask(get())).values(b"set-cookie")


async def test_a17_a_length_of_5000_digits_is_a_400(world: World):
    answer = await world.ask(get(method=b"POST", extra=b"Content-Length: " + b"9" * 5_000 + b"\r\n"))
    assert 400 == answer.status


async def test_a18_our_answers_do_not_name_our_parts(world: World):
    answer = await world.ask(get(token=b"x"))
    assert [b"scim-witness"] == answer.values(b"server")


async def test_a19_what_could_split_an_answer_is_refused(world: World):
    for line in (b"X: a\rSet-Cookie: b", b"X: a\nSet-Cookie: b", b"X: a\x00b"):
        world.backend.script = says(HEAD + line + b"\r\nContent-Length: 2\r\n\r\n{}", end="wait")
        answer = await world.ask(get())
        assert (502, []) == (answer.status, answer.values(b"set-cookie"))


async def test_a20_methods_are_an_allow_list(world: World):
    for method, status in ((b"get", 501), (b"PROPFIND", 501), (b"TRACE", 405), (b"CONNECT", 405)):
        answer = await world.ask(get(method=method))
        assert status == answer.status
        assert (status == 405) == bool(answer.values(b"allow"))
    assert [] == world.backend.requests


async def test_trailers_are_not_the_next_request_s_headers(world: World):
    chunked = get(method=b"POST", extra=b"Transfer-Encoding: chunked\r\n")
    async with world.client() as client:
        await client.send(chunked + b"5\r\nhello\r\n0\r\nServer-Timing: admin\r\n\r\n" + get(extra=b"X-Case: next\r\n"))
        assert 200 == (await client.answer()).status
        assert "next" == (await client.answer()).json()["case"]
    assert [] == [value for request in world.backend.requests for value in request.values(b"server-timing")]
    async with world.client() as client:
        await client.send(chunked + b"0\r\nX-Forwarded-User: admin\r\n\r\n" + get())
        assert 400 == (await client.answer()).status
        assert await client.closed()
    assert b"admin" not in world.backend.raw


async def test_a_head_answer_with_a_body_passes(world: World):
    world.backend.script = says(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    answer = await world.ask(get(method=b"HEAD"))
    assert (200, b"") == (answer.status, answer.body)


async def test_no_502_in_the_middle_of_a_body(world: World):
    world.backend.script = says(HEAD + b"Content-Length: 900\r\n\r\n", b"{", end="reset")
    async with world.client() as client:
        await client.send(get())
        answer = await client.answer()
        assert (200, b"{", False) == (answer.status, answer.body, answer.whole)
        assert b"502" not in client.seen
        assert GOOD not in client.seen
