"""Request lines, targets and fields that must be refused, and those next to them that must pass untouched."""

from __future__ import annotations

import pytest

from tests.edge.cases import AUTH, HOST, Case, host_is, ids, passes, refused, req, run, target_is
from tests.edge.world import FEEDS, World

LINES = [
    *(
        refused(f"line {line[:24]!r}", req(line), status)
        for line, status in (
            (b"GET  / HTTP/1.1", 400),
            (b"GET / HTTP/1.1 ", 400),
            (b" GET / HTTP/1.1", 400),
            (b"GET\t/ HTTP/1.1", 400),
            (b"GET /", 400),
            (b"GET / http/1.1", 400),
            (b"GET / HTTP/1", 400),
            (b"GET / HTTP/1.1x", 400),
            (b"GET / HTTP/01.1", 400),
            (b"GET / HTTP/1.10", 400),
            (b"GET / HTTP/ 1.1", 400),
            (b"GET / HTTPS/1.1", 400),
            (b"GET / HTTP/1,1", 400),
            (b"GET / HTTP/-1.1", 400),
            (b"GET /a b HTTP/1.1", 400),
            (b"GET / HTTP/1.2", 505),
            (b"GET / HTTP/2.0", 505),
            (b"GET / HTTP/0.9", 505),
            (b"GET / HTTP/3.0", 505),
            (b"GET / HTTP/9.9", 505),
            (b"CONNECT scim.example:443 HTTP/1.1", 405),
            (b"CONNECT / HTTP/1.1", 405),
            (b"TRACE / HTTP/1.1", 405),
            (b"get / HTTP/1.1", 501),
            (b"PROPFIND / HTTP/1.1", 501),
            (b"G@T / HTTP/1.1", 400),
            (b"GE\xd4 / HTTP/1.1", 400),
            (b"A" * 40 + b" / HTTP/1.1", 501),
            (b"GET,POST / HTTP/1.1", 400),
            (b"GET: / HTTP/1.1", 400),
            (b"", 400),
            (b"PRI * HTTP/2.0", 505),
            (b"GET / HTTP/1.1\x00", 400),
            (b"GE\x00T / HTTP/1.1", 400),
            (b"GET /\x01 HTTP/1.1", 400),
            (b"GET /\x7f HTTP/1.1", 400),
            (b"GET /\x0b HTTP/1.1", 400),
        )
    ),
    refused("line folded", b"GET / HTTP/1.1\r\n \r\n" + HOST + b"\r\n" + AUTH + b"\r\n\r\n", why="folded_line"),
    refused("two empty lines before the request", b"\r\n\r\n" + req(), why="request_line"),
    refused("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505),
    refused(
        "TLS hello on a plain port",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        why="control_character",
    ),
    refused("target beyond the bound", req(b"GET /" + b"a" * 16_400 + b" HTTP/1.1"), 414),
    refused("request line without an end", b"GET /" + b"a" * 70_000, 414),
    refused("head beyond the bound", req(b"GET / HTTP/1.1", *(b"A%d: %b" % (n, b"b" * 1000) for n in range(70))), 431),
    refused("too many fields", req(b"GET / HTTP/1.1", *(b"A%d: b" % n for n in range(127))), 431, why="too_many_fields"),
    passes("128 fields", req(b"GET / HTTP/1.1", *(b"A%d: b" % n for n in range(126)))),
    passes("one empty line before the request", b"\r\n" + req()),
    passes("8000 octets of target", req(b"GET /" + b"a" * 8_000 + b" HTTP/1.1")),
    Case("HTTP/1.0 closes", req(b"GET / HTTP/1.0"), (200,), reached=1),
    Case("HTTP/1.0 closes though asked not to", req(b"GET / HTTP/1.0", b"Connection: keep-alive"), (200,), reached=1),
    Case("HTTP/1.0 without Host", req(b"GET / HTTP/1.0", host=False), (200,), reached=1),
    Case("Connection: close closes", req(b"GET / HTTP/1.1", b"Connection: close"), (200,), reached=1),
]

TARGETS = [
    *(
        passes(f"target {target[:30]!r}", req(b"GET " + target + b" HTTP/1.1"), target_is(target))
        for target in (
            b"/",
            b"//host/x",
            b"/a//b",
            b"/a/../b",
            b"/a/./b",
            b"/..",
            b"/a%2Fb",
            b"/a%2fb",
            b"/%2e%2e/b",
            b"/a%3Bb;c",
            b"/a%zz",
            b"/a%",
            b"/a%00b",
            b"/a?",
            b"/a?b?c",
            b"/a?filter=userName%20eq%20%22x%22",
            b"/a?x=%2f%3F",
            b"/a?a=1&a=2&&",
            b"/a\\b",
            b'/a"b<c>`{|}^',
            b"/a:b@c",
            b"/a?http://x/",
            b"/a%23b",
            b"/a?%0d%0aX:y",
            b"/A/b/",
            b"/a;v=1/b",
            b"/*",
            b"/~a/!$&'()*+,;=",
        )
    ),
    *(
        refused(f"target {target!r}", req(b"GET " + target + b" HTTP/1.1"))
        for target in (
            b"/a#b",
            b"#",
            b"/\xc3\xa9",
            b"/a\xa0b",
            b"/a\x85",
            b"/a\xff",
            b"*",
            b"a",
            b"scim.example/a",
            b"ftp://scim.example/",
            b"http:///a",
            b"http://",
            b"http://user@scim.example/",
            b"http://a@b@c/",
            b"http://sc im/",
            b"http://[::1/",
            b"http://x:y/",
            b"http://x:123456/",
            b"http:/x/a",
            b"file:///etc/passwd",
            b"javascript:x",
            b"?a",
            b"http://a\\b/",
            b"http://a\xff/",
            b"https://a/b#c",
        )
    ),
    passes("OPTIONS *", req(b"OPTIONS * HTTP/1.1"), target_is(b"*")),
    passes("OPTIONS absolute without a path", req(b"OPTIONS http://scim.example HTTP/1.1"), target_is(b"*")),
    passes("absolute-form", req(b"GET http://other.example:80/a%2Fb?c HTTP/1.1"), target_is(b"/a%2Fb?c")),
    passes("absolute-form without a path", req(b"GET http://other.example?c HTTP/1.1"), target_is(b"/?c")),
    passes(
        "absolute-form: its authority is the host",
        req(b"GET HTTPS://Other.example:80/a HTTP/1.1"),
        host_is(b"Other.example:80"),
    ),
]

FIELDS = [
    refused("no Host", req(host=False), why="no_host"),
    refused("Host twice", req(b"GET / HTTP/1.1", HOST), why="several_hosts"),
    *(
        refused(f"Host {host!r}", req(b"GET / HTTP/1.1", b"Host: " + host, host=False))
        for host in (
            b"",
            b"a b",
            b"a/b",
            b"a?b",
            b"a#b",
            b"user@a",
            b"a@b",
            b"http://a",
            b"a:b",
            b"a:123456",
            b"[::1",
            b"::1",
            b"[g::]",
            b"a\\b",
            b"a\xff",
            b"a:80:80",
            b'a"b',
            b"a<b>",
            b"a\x00b",
            b"a\tb",
        )
    ),
    passes("Host with port", req(b"GET / HTTP/1.1", b"Host: a.example:8443", host=False), host_is(b"a.example:8443")),
    passes("Host IPv6", req(b"GET / HTTP/1.1", b"Host: [::1]:80", host=False)),
    *(
        refused(f"field {line!r}", req(b"GET / HTTP/1.1", line), why=why)
        for line, why in (
            (b"A : b", "space_before_colon"),
            (b"A\t: b", "space_before_colon"),
            (b": b", "empty_field_name"),
            (b"no colon", "field_without_colon"),
            (b"A B: c", "field_name"),
            (b"A(: b", "field_name"),
            (b"A@: b", "field_name"),
            (b"A\xe9: b", "field_name"),
            (b'A": b', "field_name"),
            (b"A/b: c", "field_name"),
            (b"A;: b", "field_name"),
            (b"A[]: b", "field_name"),
            (b" A: b", "folded_line"),
            (b"\tA: b", "folded_line"),
            (b"A: b\x00c", "control_character"),
            (b"A: \x01", "control_character"),
            (b"A: \x1b[31m", "control_character"),
            (b"A: \x7f", "control_character"),
            (b"A: b\rc", "bare_cr_or_lf"),
            (b"A: b\nX: c", "bare_cr_or_lf"),
            (b"A: b\n\rX: c", "bare_cr_or_lf"),
            (b"A: b\r\r\nX: c", "bare_cr_or_lf"),
            (b"A: b\r\n c", "folded_line"),
            (b"A: b\r\n\tc", "folded_line"),
            (b"A: b\n\nGET / HTTP/1.1", "bare_cr_or_lf"),
            (b"\x00: b", "control_character"),
            (b"Connection: close, host", "connection_names"),
            (b"Connection: Authorization", "connection_names"),
            (b"Connection: content-length", "connection_names"),
            (b"Connection: x, Transfer-Encoding", "connection_names"),
            (b"Connection: Content-Type", "connection_names"),
        )
    ),
    refused("all line ends LF", req().replace(b"\r\n", b"\n") + b"\r\n\r\n", why="bare_cr_or_lf"),
    refused("expectation unknown", req(b"POST / HTTP/1.1", b"Expect: 200-ok", b"Content-Length: 5", body=b"hello"), 417),
    refused(
        "expectation unknown beside the known",
        req(b"POST / HTTP/1.1", b"Expect: x", b"Expect: 100-continue", b"Content-Length: 5", body=b"hello"),
        417,
    ),
    refused(
        "expectation a list", req(b"POST / HTTP/1.1", b"Expect: 100-continue, x", b"Content-Length: 5", body=b"hello"), 417
    ),
    passes("fields of any printable token", req(b"GET / HTTP/1.1", b"!#$%&'*+-.^_`|~09azAZ: x")),
]

LOST = [
    *(
        refused(f"no end will come: {name}", sent, status, why=why)
        for name, sent, status, why in (
            ("all line ends LF", req().replace(b"\r\n", b"\n"), 400, "bare_cr_or_lf"),
            ("all line ends CR", req().replace(b"\r\n", b"\r"), 400, "bare_cr_or_lf"),
            ("the first line ends with LF", req().replace(b"\r\n", b"\n", 1)[:-2], 400, "bare_cr_or_lf"),
            ("the last lines end with LF", req()[:-4] + b"\n\n", 400, "bare_cr_or_lf"),
            ("the empty line ends with LF", req()[:-2] + b"\n", 400, "bare_cr_or_lf"),
            ("HTTP/0.9", b"GET /\r\n", 400, "request_line"),
            ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", 400, "request_line"),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 32, 400, "control_character"),
            ("HTTP/2", b"GET / HTTP/2.0\r\nHost: h\r\n", 505, "version"),
            ("a method that is none of ours", b"get / HTTP/1.1\r\nHost: h\r\n", 501, "method_unknown"),
            ("a target too long", b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\n", 414, "target_too_long"),
        )
    ),
    *(
        Case(f"after another: {name}", req() + sent, (200, 400), reached=1)
        for name, sent in (("all line ends LF", req().replace(b"\r\n", b"\n")), ("what is left of a body", b" world"))
    ),
    refused("a fault before it counts first", b"GET / HTTP/1.1\r\nA : b\r\nC: d\n\n", why="space_before_colon"),
    refused("LF before too many fields", req(b"GET / HTTP/1.1", b"A: b\nC: d", *[b"A: b"] * 200), why="bare_cr_or_lf"),
    refused("a credential is no request line", b"Authorization: \x01\r\nGET / HTTP/1.0\r\n\r\n", why="control_character"),
]

TABLE = [*LINES, *TARGETS, *FIELDS, *LOST]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("case", TABLE, ids=ids)
async def test_head(world: World, case: Case, feed: str):
    await run(world, case, feed)
