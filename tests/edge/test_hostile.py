"""What attackers' corpora send by the hundred: desynchronisation by every spelling of framing, requests within requests, other
protocols on the port. A case that merely passes must pass as one request and in our own framing."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.edge.backend import Request
from tests.edge.cases import Case, has_body, host_is, passes, refused, req, run, target_is
from tests.edge.world import FEEDS, GOOD, World, pieces

POST = b"POST /scim/v2/Users HTTP/1.1"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: scim.example\r\n\r\n"
HIDDEN_GOOD = b"GET /hidden HTTP/1.1\r\nHost: scim.example\r\nAuthorization: Bearer " + GOOD + b"\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


def framed_by(octets: bytes):
    """It passed by its length alone: the backend sees that length, and nothing of a coding in any spelling."""

    def check(request: Request) -> None:
        assert ([b"%d" % len(octets)], octets) == (request.values(b"content-length"), request.body)
        names = {re.sub(rb"[^a-z]", b"", name.lower()) for name, _ in request.headers}
        assert b"transferencoding" not in names

    return check


def with_length(*lines: bytes) -> bytes:
    """A body of 5 octets by its length, and a coding that hides a request after an empty chunk in those that honour it."""
    body = b"0\r\n\r\n"
    return req(POST, b"Content-Length: %d" % len(body), *lines, body=body)


SPELLINGS = [
    *(
        refused(f"length beside {line!r}", with_length(line))
        for line in (
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding:chunked",
            b"TRANSFER-ENCODING: CHUNKED",
            b"Transfer-Encoding: \tchunked",
            b"Transfer-Encoding: chunked ",
            b"Transfer-Encoding : chunked",
            b"Transfer-Encoding\t:chunked",
            b" Transfer-Encoding: chunked",
            b"\tTransfer-Encoding: chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
            b"Transfer-Encoding:\r\n chunked",
            b"Transfer-Encoding:\r\n\tchunked",
            b"Transfer-Encoding:\nchunked",
            b"Transfer-Encoding:\rchunked",
            b"Transfer-Encoding:\x0bchunked",
            b"Transfer-Encoding:\x0cchunked",
            b"Transfer-Encoding:\x00chunked",
            b"Transfer-Encoding: \x01chunked",
            b"Transfer-Encoding: chunked\x00",
            b"Transfer-Encoding\x00: chunked",
            b"Transfer-Encoding\r: chunked",
            b"Transfer-Encoding\n : chunked",
            b"Transfer Encoding: chunked",
            b'"Transfer-Encoding": chunked',
            b'Transfer-Encoding: "chunked"',
            b"Transfer-Encoding: chunked, ",
            b"X: y\rTransfer-Encoding: chunked",
            b"X: y\nTransfer-Encoding: chunked",
            b"X: y\n\rTransfer-Encoding: chunked",
            b"\nTransfer-Encoding: chunked",
            b"\rTransfer-Encoding: chunked",
            b"Content-Length: 5",
            b"Content-Length : 50",
            b"Content-Length:\x0b50",
            b" Content-Length: 50",
            b"content-LENGTH: 50",
            b"Content-Length: ",
            b"Content-Length\x00: 50",
            b"X: y\nContent-Length: 50",
        )
    ),
    *(
        passes(f"length beside {line!r}, which is another field", with_length(line), framed_by(b"0\r\n\r\n"))
        for line in (
            b"Transfer_Encoding: chunked",
            b"TRANSFER_ENCODING: chunked",
            b"Transfer.Encoding: chunked",
            b"Transfer~Encoding: chunked",
            b"Content_Length: 50",
            b"CONTENT_LENGTH: 50",
            b"Content.Length: 50",
        )
    ),
    passes("a field whose value looks like another", with_length(b"X: Transfer-Encoding: chunked"), framed_by(b"0\r\n\r\n")),
    refused("coding named by Connection", req(POST, CHUNKED, b"Connection: Transfer-Encoding", body=b"0\r\n\r\n")),
    refused("length named by Connection", req(POST, b"Content-Length: 5", b"Connection: close, content-length", body=b"hello")),
    refused("length and coding in HTTP/1.0", req(b"POST / HTTP/1.0", b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n")),
]

WITHIN = [
    Case("a request after a body of length 0", req(POST, b"Content-Length: 0", body=HIDDEN), (200, 401), False, 1),
    Case("a request after a GET without a body", req(body=HIDDEN), (200, 401), False, 1),
    Case("a request after the last chunk", req(POST, CHUNKED, body=b"0\r\n\r\n" + HIDDEN), (200, 401), False, 1),
    Case("rubbish after a body", req(POST, b"Content-Length: 5", body=b"hello-hello\r\n\r\n"), (200, 400), True, 1),
    Case("an empty line after a body", req(POST, b"Content-Length: 5", body=b"hello\r\n" + req()), (200, 200), False, 2),
    passes(
        "a request within a body", req(POST, b"Content-Length: %d" % len(HIDDEN_GOOD), body=HIDDEN_GOOD), has_body(HIDDEN_GOOD)
    ),
    passes(
        "a request within a body of GET",
        req(b"GET /x HTTP/1.1", b"Content-Length: %d" % len(HIDDEN_GOOD), body=HIDDEN_GOOD),
        has_body(HIDDEN_GOOD),
    ),
    refused("a request after one that is refused", req(POST, b"Content-Length: +5", body=b"hello" + HIDDEN_GOOD)),
    refused("a request after a bad chunk", req(POST, CHUNKED, body=b"zz\r\n" + HIDDEN_GOOD)),
    refused("a request after an unknown method", req(b"FOO / HTTP/1.1", body=HIDDEN_GOOD), 501),
    refused("a request after TRACE", req(b"TRACE / HTTP/1.1", body=HIDDEN_GOOD), 405),
    refused("a request after CONNECT", req(b"CONNECT scim.example:443 HTTP/1.1", body=HIDDEN_GOOD), 405),
    refused("a request after an expectation", req(POST, b"Expect: x", b"Content-Length: 5", body=b"hello" + HIDDEN_GOOD), 417),
    Case("a request after close", req(b"GET / HTTP/1.1", b"Connection: close", body=HIDDEN_GOOD), (200,), reached=1),
    Case("a request after HTTP/1.0", req(b"GET / HTTP/1.0", b"Connection: keep-alive", body=HIDDEN_GOOD), (200,), reached=1),
    Case(
        "a request after an upgrade that does not come about",
        req(b"GET / HTTP/1.1", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", body=HIDDEN),
        (200, 401),
        False,
        1,
    ),
    Case(
        "a request after an offer of h2c",
        req(
            b"GET / HTTP/1.1",
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQ",
            body=HIDDEN,
        ),
        (200, 401),
        False,
        1,
    ),
    Case(
        "HTTP/2 after an offer of h2c",
        req(b"GET / HTTP/1.1", b"Upgrade: h2c", body=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (200, 505),
        reached=1,
    ),
]

OTHERS = [
    refused("HTTP/0.9", b"GET /\r\n\r\n", why="request_line"),
    refused("HTTP/0.9 with a space", b"GET / \r\n\r\n", why="request_line"),
    refused("SMTP", b"EHLO scim.example\r\n\r\n", why="request_line"),
    refused("SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", why="request_line"),
    refused("Redis", b"*1\r\n$4\r\nPING\r\n\r\n", why="request_line"),
    refused("RTSP", b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", why="request_line"),
    refused("PROXY protocol", b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n" + req(), why="request_line"),
    refused("FastCGI", b"\x01\x01\x00\x01\x00\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\r\n\r\n", why="control_character"),
    refused("AJP", b"\x12\x34\x00\x01\x0a\r\n\r\n"),
    refused("an answer as a request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", why="request_line"),
    refused("byte order mark", b"\xef\xbb\xbf" + req(), why="request_line"),
    refused("UTF-16", req().decode().encode("utf-16-le") + b"\r\n\r\n"),
    refused("a line of spaces first", b"  \r\n" + req(), why="request_line"),
    refused("LF first", b"\n" + req()),
    refused("CR first", b"\r" + req()),
    refused("a hundred thousand fields", b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 100_000 + b"\r\n", 431),
    refused("a field of a megabyte", b"GET / HTTP/1.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
    refused("a field name of a megabyte", b"GET / HTTP/1.1\r\n" + b"a" * 1_000_000 + b": b\r\n\r\n", 431),
    refused("a target of a megabyte", b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n", 414),
    refused("a method of a megabyte", b"A" * 1_000_000 + b" / HTTP/1.1\r\n\r\n", 414),
    refused("a chunk of 2**64", req(POST, CHUNKED, body=b"10000000000000000\r\n" + HIDDEN), why="request_body_broken"),
    refused(
        "a chunk of 2**32 + 5 in too many digits",
        req(POST, CHUNKED, body=b"0000000100000005\r\nhello"),
        why="request_body_broken",
    ),
    refused("a thousand zeros as a chunk size", req(POST, CHUNKED, body=b"0" * 1_000 + b"\r\n\r\n"), why="request_body_broken"),
    refused(
        "ten thousand extensions of a chunk",
        req(POST, CHUNKED, body=b"5" + b";a" * 10_000 + b"\r\nhello\r\n"),
        why="request_body_broken",
    ),
    refused(
        "a quote in an extension that does not end",
        req(POST, CHUNKED, body=b'5;a="\r\nhello\r\n0\r\n\r\n'),
        why="request_body_broken",
    ),
    refused(
        "an escaped quote in an extension",
        req(POST, CHUNKED, body=b'5;a="\\""\r\nhello\r\n0\r\n\r\n'),
        why="request_body_broken",
    ),
    refused(
        "a line end in a quoted extension",
        req(POST, CHUNKED, body=b'0;a="\r\n\r\n' + HIDDEN_GOOD + b'"'),
        why="request_body_broken",
    ),
]

PLACES = [
    refused("absolute-form without Host", req(b"GET http://scim.example/ HTTP/1.1", host=False), why="no_host"),
    refused("absolute-form, Host twice", req(b"GET http://a.example/ HTTP/1.1", b"Host: other.example"), why="several_hosts"),
    refused("Host twice, respelt", req(b"GET / HTTP/1.1", b"HOST: other.example"), why="several_hosts"),
    refused("Host with a list", req(b"GET / HTTP/1.1", b"Host: a.example, b.example", host=False), why="host"),
    refused("Host after white space", req(b"GET / HTTP/1.1", b" Host: other.example"), why="folded_line"),
    passes(
        "absolute-form: another Host beside it does not count",
        req(b"GET http://other.example/a HTTP/1.1"),
        host_is(b"other.example"),
    ),
    *(
        refused(f"target {target!r}", req(b"GET " + target + b" HTTP/1.1"))
        for target in (
            b"/\r", b"/\n", b"/a\rb", b"/a\nb", b"/a\tb", b"/a b", b"/#", b"/a?b#c", b"\\a", b"..", b"http:\\\\x\\", b"HTTP://",
            b"http://x#/", b"http://x y/", b"http://[::1", b"http://x:1:2/", b"http://@/", b"http://%00@x/", b"ws://x/",
        )
    ),
    *(
        passes(f"target {target!r}", req(b"GET " + target + b" HTTP/1.1"), target_is(target))
        for target in (
            b"/%00", b"/%0d%0aX:%20y", b"/%0a", b"/..%2f..%2fetc/passwd", b"/%2e%2e%5c", b"/a;b=c", b"/%23", b"/%c0%ae",
            b"/%u0041", b"/?x=%00%0d%0a", b"/;/admin", b"/./", b"/.//..//", b"/%", b"/%%",
        )
    ),
]  # fmt: skip

EXPECT = [
    *(
        refused(f"Expect {value!r}", req(POST, b"Expect: " + value, b"Content-Length: 5", body=b"hello"), 417)
        for value in (
            b"100",
            b"101-switching",
            b"100-continue;q=1",
            b'"100-continue"',
            b"100-continue 100-continue",
            b"y 100-continue",
        )
    ),
    refused(
        "Expect twice", req(POST, b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"), 417
    ),
    refused("Expect twice in one", req(POST, b"Expect: 100-continue, 100-continue", b"Content-Length: 5", body=b"hello"), 417),
    passes("Expect in capitals", req(POST, b"EXPECT: 100-CONTINUE", b"Content-Length: 5", body=b"hello"), has_body(b"hello")),
    passes("Expect empty", req(POST, b"Expect: ", b"Content-Length: 5", body=b"hello"), has_body(b"hello")),
    passes("Expect without a body", req(b"GET / HTTP/1.1", b"Expect: 100-continue")),
    passes("Expect with a body of nothing", req(POST, b"Expect: 100-continue", b"Content-Length: 0")),
    passes(
        "Expect with chunks", req(POST, b"Expect: 100-continue", CHUNKED, body=b"5\r\nhello\r\n0\r\n\r\n"), has_body(b"hello")
    ),
    Case("Expect in HTTP/1.0", req(b"POST / HTTP/1.0", b"Expect: x", b"Content-Length: 5", body=b"hello"), (200,), reached=1),
]

TABLE = [*SPELLINGS, *WITHIN, *OTHERS, *PLACES, *EXPECT]


@pytest.mark.parametrize("feed", FEEDS)
async def test_hostile(world: World, feed: str):
    """One proxy for the whole table, so that a case which unsettles the next is seen too."""
    for case in TABLE:
        await run(world, case, feed)


REFUSED_BODIES = [
    req(POST, b"Content-Length: %d" % len(HIDDEN_GOOD), auth=False, body=HIDDEN_GOOD),
    req(POST, CHUNKED, auth=False, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN_GOOD), HIDDEN_GOOD)),
    req(POST, b"Content-Length: %d" % (len(HIDDEN_GOOD) + 9), auth=False, body=HIDDEN_GOOD),
    req(POST, CHUNKED, auth=False, body=b"zz\r\n" + HIDDEN_GOOD),
]


@pytest.mark.parametrize("feed", FEEDS)
async def test_a_request_within_a_refused_body_is_never_served(world: World, feed: str):
    """Whether the connection goes on depends on whether the body was there already; that nothing in it is served does not."""
    for sent in REFUSED_BODIES:
        async with world.client() as client:
            await client.send_pieces(list(pieces(sent, feed)))
            answer = await client.answer()
            assert answer is not None
            assert 401 == answer.status
            if not client.writer.is_closing():
                client.writer.write_eof()
            await client.read_to_end()
        assert [] == world.backend.requests
    await world.good()


async def test_a_thousand_connections_that_break_off_leave_nothing_behind(world: World):
    """Each dies at another octet of a request that hides another; the good client afterwards is the only one served."""
    whole = req(POST, CHUNKED, b"X-A: b", body=b"5\r\nhello\r\n0\r\nA: b\r\n\r\n")
    for at in range(1, len(whole)):
        client = await world.connect()
        await client.send(whole[:at])
        client.leave()
    async with asyncio.timeout(60):
        while len(world.listener):
            await asyncio.sleep(0.01)
    assert [] == world.backend.requests
    assert 0 == world.handler.inflight
    await world.good()
