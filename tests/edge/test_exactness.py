"""What the client sent is what the backend gets, and back: bytes, order and repetition; and who may say who the client is."""

from __future__ import annotations

import ipaddress

import pytest

from proxy.core.headers import Forwarding
from tests.edge.world import GOOD, World, get, post

ODD_VALUES = [
    b"plain",
    b"",
    b"a,b ,  c",
    b'"quoted, \\" string"',
    b"\xe9t\xe9",
    "käse".encode(),
    b"\x80\x85\xa0\xff",
    b"a\tb",
    b"a  b",
    b'W/"x"',
    b"%0d%0aX: y",
    b"=?utf-8?q?x?=",
    b":",
    b"::x",
    b"~" * 8_000,
]


@pytest.mark.parametrize("value", ODD_VALUES, ids=lambda v: repr(v[:16]))
async def test_header_values_pass_byte_for_byte_both_ways(world: World, value: bytes):
    async def script(talk):
        await talk.answer(extra=b"X-Odd: " + value + b"\r\n")

    world.backend.script = script
    answer = await world.ask(get(extra=b"X-Odd:" + value + b"\r\n"))
    assert answer is not None
    assert [value] == world.backend.last.values(b"x-odd")
    assert [value] == answer.values(b"x-odd")


async def test_nothing_is_added_but_host_via_and_forwarded(world: World):
    await world.ask(b"GET /a HTTP/1.1\r\nhost: Scim.Example:8443\r\nauthorization: Bearer " + GOOD + b"\r\nx-A: 1\r\n\r\n")
    expected = (
        b"GET /a HTTP/1.1\r\nHost: Scim.Example:8443\r\nauthorization: Bearer "
        + GOOD
        + b"\r\nx-A: 1\r\nVia: 1.1 scim-witness\r\n"
        b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: Scim.Example:8443\r\nX-Forwarded-Proto: http\r\n\r\n"
    )
    assert expected == world.backend.raw


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"PUT", b"PATCH"])
async def test_a_length_of_nothing_passes_and_is_added_where_content_is_expected(world: World, method: bytes):
    for sent in (b"Content-Length: 0\r\n", b""):
        assert 200 == (await world.ask(get(method=method, extra=sent))).status
        told = sent != b"" or method in (b"POST", b"PUT", b"PATCH")
        assert ([b"0"] if told else []) == world.backend.last.values(b"content-length")
    await world.ask(get(method=method, extra=b"Content_Length: 0\r\n"))
    assert [] == world.backend.last.values(b"content_length")


async def test_order_and_repetition_within_a_name_are_kept_both_ways(world: World):
    async def script(talk):
        await talk.answer(extra=b"Set-Cookie: a=1\r\nX-B: 1\r\nset-cookie: b=2\r\nSet-Cookie: a=3\r\n")

    world.backend.script = script
    answer = await world.ask(get(extra=b"Cookie: z=1\r\nX-A: 1\r\nx-a: 2\r\nCookie: y=2\r\nX-A: 3\r\n"))
    assert answer is not None
    assert [b"1", b"2", b"3"] == world.backend.last.values(b"x-a")
    assert [b"z=1", b"y=2"] == world.backend.last.values(b"cookie")
    assert [b"a=1", b"b=2", b"a=3"] == answer.values(b"set-cookie")
    again = await world.ask(get())
    assert again is not None
    assert [] == world.backend.last.values(b"cookie"), "a cookie jar"


async def test_bodies_and_content_codings_are_untouched(world: World):
    import gzip

    squeezed = gzip.compress(b"x" * 1_000)

    async def script(talk):
        await talk.answer(squeezed, extra=b"Content-Encoding: gzip\r\n")

    world.backend.script = script
    answer = await world.ask(post(squeezed, extra=b"Content-Encoding: gzip\r\n"))
    assert answer is not None
    assert squeezed == world.backend.last.body
    assert squeezed == answer.body
    assert [b"gzip"] == answer.values(b"content-encoding")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(world: World, status: int):
    async def script(talk):
        await talk.answer(status=b"%d Moved" % status, extra=b"Location: http://127.0.0.1:1/x\r\n")

    world.backend.script = script
    answer = await world.ask(get())
    assert answer is not None
    assert (status, [b"http://127.0.0.1:1/x"], 1) == (answer.status, answer.values(b"location"), len(world.backend.requests))


@pytest.mark.parametrize("status", [200, 201, 204, 206, 304, 400, 404, 409, 412, 413, 418, 429, 500, 501, 503, 599, 999])
async def test_answers_of_any_status_pass(world: World, status: int):
    async def script(talk):
        body = b"" if status in (204, 304) else b"{}"
        length = b"" if status in (204, 304) else b"Content-Length: 2\r\n"
        await talk.send(b'HTTP/1.1 %d Said so\r\nRetry-After: 7\r\nETag: W/"1"\r\n%b\r\n%b' % (status, length, body))

    world.backend.script = script
    async with world.client() as client:
        for _ in range(2):
            await client.send(get())
            answer = await client.answer()
            assert answer is not None
            assert (status, [b"7"], [b'W/"1"'], True) == (
                answer.status,
                answer.values(b"retry-after"),
                answer.values(b"etag"),
                answer.whole,
            )


HOP_BY_HOP = [
    b"Connection: x-named, Keep-Alive, Upgrade, HTTP2-Settings, TE",
    b"X-Named: 1",
    b"Keep-Alive: timeout=5",
    b"Proxy-Connection: keep-alive",
    b"TE: trailers",
    b"Trailer: X",
    b"Upgrade: h2c, websocket",
    b"HTTP2-Settings: AAMAAABkAAQAAP__",
    b"Proxy-Authorization: Basic x",
]


async def test_hop_by_hop_fields_end_here(world: World):
    """Upgrade and h2c included: Java's client offers it with every request, and never may anything be tunnelled."""
    async with world.client() as client:
        await client.send(get(extra=b"\r\n".join([*HOP_BY_HOP, b"X-Kept: 1", b""])) + get(extra=b"X-Case: second\r\n"))
        assert 200 == (await client.answer()).status
        assert "second" == (await client.answer()).json()["case"]
    names = {name.lower() for name, _ in world.backend.requests[0].headers}
    assert {
        b"host",
        b"authorization",
        b"x-kept",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    } == names


OF_BACKEND = [
    b"Connection: X-Named, Upgrade",
    b"X-Named: 1",
    b"Keep-Alive: x",
    b"Upgrade: h2c",
    b"Trailer: X",
    b"X-Incident-Id: forged",
    b"X-Kept: 1",
]


async def test_hop_by_hop_fields_of_the_backend_end_here(world: World):
    async def script(talk):
        await talk.answer(extra=b"\r\n".join([*OF_BACKEND, b""]))

    world.backend.script = script
    answer = await world.ask(get())
    assert answer is not None
    assert [b"Content-Type", b"X-Kept", b"Content-Length"] == [name for name, _ in answer.headers]


IDENTITY = [
    b"X-Forwarded-User",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"X-Forwarded-Host",
    b"X-Forwarded-Prefix",
    b"X-Forwarded-Uri",
    b"Forwarded",
    b"X-Real-IP",
    b"X-Remote-User",
    b"Remote-User",
    b"X-Auth-Request-User",
    b"X-Original-URL",
    b"X-Rewrite-URL",
    b"X-SSL-Client-Cert",
    b"True-Client-IP",
]
SPELLINGS = [
    lambda n: n,
    bytes.upper,
    bytes.lower,
    lambda n: n.replace(b"-", b"_"),
    lambda n: n.replace(b"-", b"_").upper(),
    lambda n: n.replace(b"-", b"."),
    lambda n: n.replace(b"-", b"_", 1),
    lambda n: n.replace(b"-", b"~"),
]


@pytest.mark.parametrize("name", IDENTITY, ids=lambda n: n.decode())
async def test_identity_of_the_client_s_own_making_is_dropped_in_every_spelling(world: World, name: bytes):
    for spell in SPELLINGS:
        line = spell(name) + b": forged\r\n"
        for extra in (line, line * 2, b"Connection: " + name + b"\r\n" + line):
            await world.ask(get(extra=extra))
            assert b"forged" not in world.backend.raw
            assert [b"127.0.0.1"] == world.backend.last.values(b"x-forwarded-for")
            assert [b"http"] == world.backend.last.values(b"x-forwarded-proto")


@pytest.mark.parametrize(
    "line",
    [b"Content_Type: a/b", b"CONTENT.TYPE: a/b", b"Content_Encoding: x", b"X_Http_Method_Override: PUT", b"User_Agent: x"],
)
async def test_respelt_fields_of_meaning_are_dropped(world: World, line: bytes):
    await world.ask(get(extra=line + b"\r\nX_Other: kept\r\n"))
    assert line.partition(b":")[0] not in [name for name, _ in world.backend.last.headers]
    assert [b"kept"] == world.backend.last.values(b"x_other")


NET = ipaddress.ip_network
CHAINS = [
    (b"203.0.113.9", "203.0.113.9"),
    (b"1.1.1.1, 203.0.113.9", "203.0.113.9"),
    (b"203.0.113.9, 10.0.0.1", "203.0.113.9"),
    (b"1.1.1.1, 203.0.113.9, 10.0.0.1, 10.0.0.2", "203.0.113.9"),
    (b"10.0.0.3, 10.0.0.4", "10.0.0.3"),
    (b"garbage, 10.0.0.4", "10.0.0.4"),
    (b"203.0.113.9:4711, 10.0.0.1", "203.0.113.9"),
    (b"[2001:db8::1]:80", "2001:db8::1"),
    (b"2001:db8::1", "2001:db8::1"),
    (b"::ffff:203.0.113.9", "203.0.113.9"),
    (b"", "127.0.0.1"),
    (b",,", "127.0.0.1"),
    (b"fe80::1%evil\x85", "127.0.0.1"),
    (b"203.0.113.9, unknown", "127.0.0.1"),
]


HOST_AND_USER = b"X-Forwarded-Host: public.example\r\nX-Forwarded-User: forged\r\n"


@pytest.mark.parametrize("chain, client", CHAINS)
async def test_the_client_is_the_first_stranger_from_the_right(chain: bytes, client: str):
    async with World.open(trusted=(NET("127.0.0.0/8"), NET("10.0.0.0/8"))) as world:
        await world.ask(
            get(
                extra=b"X-Forwarded-For: "
                + chain
                + b"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\nX-Forwarded-User: forged\r\n"
            )
        )
        assert client == world.witness.exchanges[-1].client
        assert [(chain + b", " if chain else b"") + b"127.0.0.1"] == world.backend.last.values(b"x-forwarded-for")
        assert [b"https"] == world.backend.last.values(b"x-forwarded-proto")
        assert [b"public.example"] == world.backend.last.values(b"x-forwarded-host")
        assert [] == world.backend.last.values(b"x-forwarded-user")
        world.check()


async def test_host_by_policy():
    async with World.open(forwarding=Forwarding(host=b"inner:80", forwarded=False)) as world:
        await world.ask(get())
        assert ([b"inner:80"], [], [b"1.1 scim-witness"]) == (
            world.backend.last.values(b"host"),
            world.backend.last.values(b"x-forwarded-for"),
            world.backend.last.values(b"via"),
        )


async def test_via_grows_and_trace_headers_stay(world: World):
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await world.ask(get(extra=b"Via: 1.0 a\r\nVia: 1.1 b\r\ntraceparent: " + trace + b"\r\ntracestate: x=y\r\n"))
    last = world.backend.last
    assert ([b"1.0 a, 1.1 b, 1.1 scim-witness"], [trace], [b"x=y"]) == (
        last.values(b"via"), last.values(b"traceparent"), last.values(b"tracestate"),
    )  # fmt: skip
    assert trace.decode() == world.witness.exchanges[-1].traceparent


async def test_head_answers_keep_their_length_and_have_no_body(world: World):
    async def script(talk):
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")

    world.backend.script = script
    async with world.client() as client:
        for _ in range(2):
            await client.send(get(method=b"HEAD"))
            answer = await client.answer(b"HEAD")
            assert (200, [b"1234"], b"") == (answer.status, answer.values(b"content-length"), answer.body)


async def test_chunked_both_ways_in_our_own_framing(world: World):
    async def script(talk):
        await talk.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3  ;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: dropped\r\n\r\n"
        )

    world.backend.script = script
    async with world.client() as client:
        for _ in range(2):
            await client.send(
                get(method=b"POST", extra=b"Transfer-Encoding: chunked\r\n") + b"2;a=b\r\nhi\r\n0\r\nDigest: dropped\r\n\r\n"
            )
            answer = await client.answer(b"POST")
            assert (200, b"abcde", b"hi") == (answer.status, answer.body, world.backend.last.body)
    assert 1 == len(world.backend.connections), "the connection was kept"
    assert b"ext" not in client.seen
    assert b"Trailer" not in client.seen
    assert b"2\r\nhi\r\n0\r\n\r\n" in world.backend.raw


async def test_chunked_answer_to_a_http10_client_ends_with_the_connection(world: World):
    async def script(talk):
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    world.backend.script = script
    async with world.client() as client:
        await client.send(b"GET / HTTP/1.0\r\nAuthorization: Bearer " + GOOD + b"\r\n\r\n")
        said = await client.read_to_end()
    assert said.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in said


async def test_pipelined_requests_are_answered_in_order(world: World):
    async with world.client() as client:
        await client.send(b"".join(get(extra=b"X-Case: %d\r\n" % n) for n in range(200)))
        assert [str(n) for n in range(200)] == [(await client.answer()).json()["case"] for n in range(200)]


async def test_pipelined_requests_after_close_or_refusal_are_never_served(world: World):
    hidden = get(b"/hidden")
    for first in (get(extra=b"Connection: close\r\n"), b"GET / HTTP/1.1\r\n\r\n", get(extra=b"Content-Length: x\r\n")):
        async with world.client() as client:
            await client.send(first + hidden)
            assert await client.answer() is not None
            assert await client.closed()
    assert [] == [request for request in world.backend.requests if request.target == b"/hidden"]


async def test_our_own_answers_say_nothing_of_the_request_and_are_scim(world: World):
    for sent, status in (
        (get(b"/needle#"), 400),
        (get(b"/needle", token=b"needle"), 401),
        (get(b"/needle", method=b"NEEDLE"), 501),
    ):
        async with world.client() as client:
            await client.send(sent)
            answer = await client.answer()
            assert (status, str(status)) == (answer.status, answer.json()["status"])
            assert b"needle" not in bytes(client.seen).lower()
            assert [b"scim-witness"] == answer.values(b"server")
            assert [b"application/scim+json"] == answer.values(b"content-type")


@pytest.mark.parametrize(
    "sent, status",
    [(b"HEAD /a#b HTTP/1.1\r\n\r\n", 400), (get(token=b"x", method=b"HEAD"), 401), (b"HEAD /" + b"a" * 70_000, 414)],
)
async def test_our_own_answers_to_head_have_no_body(world: World, sent: bytes, status: int):
    async with world.client() as client:
        await client.send(sent)
        answer = await client.answer(b"HEAD")
        assert (status, b"") == (answer.status, answer.body)
        assert client.seen.endswith(b"\r\n\r\n")
        assert int(answer.values(b"content-length")[0]) > 0
