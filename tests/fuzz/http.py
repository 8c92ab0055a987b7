"""HTTP/1 from clients: heads, bodies, what becomes of a head on its way to the backend, and what a front asks about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import h11

from proxy.core.forward_auth import Front, asked_about
from proxy.core.framing import LAST_CHUNK, SIZE_LINE_LIMIT, TRAILER_LIMIT, Chunked, FramingError, chunk
from proxy.core.grammar import Fault, Limits
from proxy.core.headers import Forwarding, Peer, request_head
from proxy.core.inbound import BadCredential, Here, Inbound, parse_request
from proxy.core.scim import TOKEN_NAMES, classify, mask, printable
from tests.core.judges import agree, drive_heads
from tests.fuzz.target import Target, is_word, splits, words

WIDE: Final = Limits(fields=400)
STRANGER: Final = Peer(b"192.0.2.1", trusted=False, scheme=b"https")
ADDED: Final = {b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
IDENTITY: Final = re.compile(
    rb"x-(forwarded|auth-request|envoy|ssl)-.*|ssl-client-.*|forwarded|x-real-ip|remote-user|x-remote-user"
)
SAFE: Final = (b"GET", b"HEAD", b"OPTIONS")


def request(data: bytes) -> bool:
    """Requests: the same in any split, the same to h11 and llhttp, and on the way to the backend what they were."""
    found = drive_heads([data])
    assert all(found == drive_heads(parts) for parts in splits(data))
    for one in found:
        if isinstance(one, Fault):
            assert 400 <= one.status <= 599
            assert is_word(one.why)
        elif isinstance(one, BadCredential):
            assert one.request is None or [] == one.request.authorization
        elif one.answered_here is Here.NO:
            goes_on(one)
    agree(data)
    return isinstance(found[0], Inbound) if found else False


def goes_on(inbound: Inbound) -> None:
    """The head for the backend is the same request to us and to h11, and tells nothing of the client but what we know."""
    head = request_head(inbound, STRANGER, Forwarding(), b"default.example")
    again = parse_request(head[:-4], WIDE)
    assert isinstance(again, Inbound)
    writes_empty, counts = inbound.method in (b"POST", b"PUT", b"PATCH"), inbound.method == b"OPTIONS"
    assert (inbound.method, inbound.target, inbound.length) == (again.method, again.target, again.length)
    assert again.host == (inbound.host or b"default.example")
    assert inbound.authorization == again.authorization
    own = [(lower, value) for lower, _, value, _ in again.fields if lower in ADDED]
    assert [b"192.0.2.1"] == [value for lower, value in own if lower == b"x-forwarded-for"]
    for lower, _, _, _ in again.fields:
        assert lower in ADDED or not IDENTITY.fullmatch(re.sub(rb"[^0-9a-z]", b"-", lower)), lower
    passed = {(lower, value) for lower, _, value, _ in again.fields}
    assert passed - set(own) <= {(lower, value) for lower, _, value, _ in inbound.fields} | {
        (b"host", again.host), (b"content-length", b"%d" % (again.length or 0)), (b"transfer-encoding", b"chunked"),
        *((lower, b"%d" % (int(value) - 1)) for lower, _, value, _ in inbound.fields if counts and lower == b"max-forwards"),
    }  # fmt: skip
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
    parser.receive_data(head)
    event = parser.next_event()
    assert isinstance(event, h11.Request)
    assert (inbound.method, inbound.target) == (event.method, event.target)
    framing = {name for name, _ in event.headers} & {b"content-length", b"transfer-encoding"}
    assert framing == (
        {b"transfer-encoding"} if inbound.length is None else {b"content-length"} if inbound.length or writes_empty else set()
    )


def chunked(data: bytes) -> bool:
    """Chunks: the same in any split, in bounded memory, and whatever is cut into chunks comes out whole."""
    strict, lenient = fed(Chunked(), [data]), fed(Chunked(lenient=True), [data])
    for parts in splits(data):
        for kind, whole in ((False, strict), (True, lenient)):
            octets, done, left, why = fed(Chunked(lenient=kind), parts)
            assert (whole[1], bool(whole[3])) == (done, bool(why))
            if not why:
                assert (whole[0], whole[2]) == (octets, left)
        decoder = Chunked()
        assert (data, True, b"more", "") == fed(
            decoder, [b"".join(chunk(part) for part in parts if part), LAST_CHUNK + b"more"]
        )
    if strict[1]:
        assert strict == lenient
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        parser.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        assert isinstance(parser.next_event(), h11.Request)
        received = b""
        while isinstance(event := parser.next_event(), h11.Data):
            received += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert (strict[0], strict[2]) == (received, parser.trailing_data[0])
    return strict[1]


def fed(decoder: Chunked, parts: Sequence[bytes]) -> tuple[bytes, bool, bytes, str]:
    """Body, whether it is whole, what is left, what is wrong."""
    out = left = b""
    for part in parts:
        if decoder.done:
            left += part
            continue
        try:
            out += decoder.feed(part)
        except FramingError as error:
            assert is_word(str(error).replace("-", "_"))
            return out, False, b"", str(error)
        assert len(decoder._held) <= (TRAILER_LIMIT if decoder._in_trailer else SIZE_LINE_LIMIT) + 2
    return out, decoder.done, decoder.left + left, ""


def question(data: bytes) -> bool:
    """What a front asks about is read as strictly as what comes itself, and the credential stays that of the question."""
    asking = parse_request(data, Limits())
    accepted = False
    if isinstance(asking, Inbound):
        for front in Front:
            found = asked_about(asking, b"/_auth", front, Limits())
            if isinstance(found, Fault):
                assert is_word(found.why)
                continue
            accepted = True
            assert found.answered_here is Here.ASKED
            assert asking.authorization == found.authorization
            if front is not Front.ENVOY:
                line = b"%b %b HTTP/1.1\r\nHost: h" % (found.method, found.target)
                itself = parse_request(line, Limits())
                assert isinstance(itself, Inbound)
                assert (itself.method, itself.target) == (found.method, found.target)
    return accepted


def operation(data: bytes) -> bool:
    """A target is labelled by its path alone, what writes is never taken for reading, and no value of a query is shown."""
    method, _, target = data.partition(b" ")
    path, mark, query = target.partition(b"?")
    found = classify(method, target, b"/scim/v2")
    assert found == classify(method, path + b"?other=1", b"/scim/v2")
    assert found.writes or method in SAFE or (method == b"POST" and path.rstrip(b"/").endswith(b".search"))
    assert re.fullmatch(r"(Users|Groups|Me|all|custom|discovery|other)\.[a-z]+", found.route)
    shown = mask(target)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.partition("?")[0] == printable(path).partition("?")[0]
    if mark:
        allowed = {"filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count", "cursor", "*"}
        assert set(shown[len(printable(path)) + 1 :].split("&")) <= allowed | TOKEN_NAMES
    assert len(shown) <= 3 * 512 + 3 + 16 * 20
    return found.route != "other.other" and bool(query or path)


HOST: Final = b"\r\nHost: scim.example"
BEARER: Final = b"\r\nAuthorization: Bearer abcdefgh-0123456789"
FIELD_WORDS: Final = (
    b"GET ", b"POST ", b"OPTIONS ", b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\r\n\r\n", HOST, BEARER, b"\r\nContent-Length: 5",
    b"\r\nTransfer-Encoding: chunked", b"\r\nConnection: close", b"\r\nConnection: keep-alive, x", b"\r\nExpect: 100-continue",
    b"\r\nMax-Forwards: 1", b"\r\nX-Forwarded-For: 1.2.3.4", b"\r\nX_Forwarded_For: 1.2.3.4", b"\r\nX-Forwarded-User: admin",
    b"\r\nForwarded: for=a", b"\r\nVia: 1.1 x", b"\r\nTE: trailers", b"\r\nX-Remote-User: a", b"5;a=b\r\nhello\r\n0\r\n\r\n",
    b"\r\nContent-Length: +5", b"\r\nContent-Length: 5, 5", b"\r\nTransfer-Encoding: xchunked", b"\r\nHost : h", b"\r\n folded",
    b"http://other.example", b"[::1]:80", b"\t", b" \r\n", b"\x00", b"\xff",
)  # fmt: skip

TARGETS: Final = (
    Target(
        "request",
        request,
        [
            b"GET /scim/v2/Users?count=1 HTTP/1.1" + HOST + BEARER + b"\r\n\r\n",
            b"POST /Users HTTP/1.1" + HOST + BEARER + b"\r\nContent-Length: 5\r\n\r\nhello",
            b"POST /Users HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
            b"\r\nOPTIONS * HTTP/1.1" + HOST + b"\r\nMax-Forwards: 3\r\n\r\nGET / HTTP/1.0\r\n\r\n",
            b"GET http://h.example/x HTTP/1.1" + HOST + b"\r\nX-Forwarded-For: 1.2.3.4\r\nVia: 1.0 a\r\n\r\n",
            b"GET / HTTP/1.1" + HOST + b"\r\nAuthorization: Bearer a\x00b\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PUT /Users/1 HTTP/1.1"
            + HOST
            + b"\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: x\r\nX: 1\r\n\r\nab",
        ],
        FIELD_WORDS,
    ),
    Target(
        "chunked",
        chunked,
        [
            b"5\r\nhello\r\n0\r\n\r\nleft",
            b'5;a=b;c="d e"\r\nhello\r\n00\r\nX: y\r\n\r\n',
            b"a \t\r\n0123456789\r\n0\r\nX-A: b\r\n\r\n",
            b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
            b"1;" + b"a" * SIZE_LINE_LIMIT,
            b"x\r\n",
        ],
        (
            b"\r\n",
            b"0\r\n\r\n",
            b"5\r\nhello\r\n",
            b";a=b",
            b'="',
            b"\nContent-Length: 1\r\n",
            b"fffffffffffffff",
            b"A: b\r\n",
            b" ",
            b"\t",
        ),
        limit=SIZE_LINE_LIMIT + 256,
    ),
    Target(
        "question",
        question,
        [
            b"GET /_auth HTTP/1.1" + HOST + BEARER + b"\r\nX-Original-Method: GET\r\nX-Original-URI: /scim/v2/Users",
            b"GET /_auth HTTP/1.1" + HOST + b"\r\nX-Forwarded-Method: HEAD\r\nX-Forwarded-Uri: /a?b\r\nX-Forwarded-Host: h",
            b"POST /_auth/scim/v2/Users HTTP/1.1" + HOST + BEARER,
            b"GET /_auth HTTP/1.1" + HOST + b"\r\nX-Original-Method: GET\r\nX-Original-Method: GET\r\nX-Original-URI: /",
            b"GET /_auth HTTP/1.1",
        ],
        (
            *FIELD_WORDS,
            b"\r\nX-Original-Method: ",
            b"\r\nX-Original-URI: ",
            b"\r\nX-Forwarded-Method: ",
            b"\r\nX-Forwarded-Uri: ",
            b"\r\nX-Forwarded-Host: ",
        ),
    ),
    Target(
        "operation",
        operation,
        [
            b"GET /scim/v2/Users?filter=userName%20eq%20%22x%22&count=1",
            b"POST /scim/v2/Users/.search",
            b"PATCH /scim/v2/Groups/1",
            b"POST /Bulk",
            b"GET /Schemas/urn:x",
            b"DELETE /Us%65rs/1",
            b"TRACE x",
        ],
        words(
            b"/scim/v2 /Users /Groups /Me /.search /Bulk /Schemas ?filter= &attributes=",
            *(method + b" " for method in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"HEAD", b"OPTIONS")),
            b"\x1b[",
        ),
    ),
)
