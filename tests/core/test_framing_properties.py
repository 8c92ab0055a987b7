"""Any bytes give a value, never an exception other than FramingError, and the same in any split. What our parser accepts,
llhttp and h11 accept with the same meaning."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.core.framing import Chunked, Length
from proxy.core.grammar import Fault, Limits
from proxy.core.headers import Forwarding, Peer, request_head
from proxy.core.inbound import BadCredential, Inbound, parse_request
from proxy.core.outbound import Outbound, parse_response
from proxy.core.scim import classify, mask
from tests.core.judges import LIMITS, agree, cut, drive_decoder, drive_heads

SEEDS = [
    b"GET",
    b"POST",
    b"HEAD",
    b" ",
    b"/",
    b"/scim/v2/Users?a=b%20c",
    b"http://h.example:80/x",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"\r\n",
    b"\r",
    b"\n",
    b"Host",
    b":",
    b"h",
    b"Content-Length",
    b"Transfer-Encoding",
    b"chunked",
    b"5",
    b"0",
    b"+",
    b"Connection",
    b"close",
    b"\x00",
    b"\xff",
    b"\t",
    b"Authorization: Bearer x",
    b"Expect: 100-continue",
    b"hello",
    b";a=b",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
]
soup = st.lists(st.sampled_from(SEEDS) | st.binary(max_size=6), max_size=14).map(b"".join)
field = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: 05",
        b"Content-Length: 0",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding:chunked",
        b"X-A: b",
        b"X-A:\tcaf\xe9 ",
        b"Connection: close",
        b"Connection: keep-alive, x",
        b"Accept: */*",
        b"Host: h",
        b"Content-Length: +5",
        b"X_Y: z",
        b"Transfer-Encoding: identity",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"A:",
        b" folded",
        b"Authorization: Bearer x",
        b"!#$%&'*+-.^_`|~: 1",
    ]
)
line = st.builds(
    lambda m, t, v: b"%b %b HTTP/%b" % (m, t, v),
    st.sampled_from([b"GET", b"POST", b"PUT", b"PATCH", b"DELETE", b"HEAD", b"OPTIONS", b"get", b"TRACE"]),
    st.sampled_from(
        [b"/", b"*", b"/a?b", b"/%zz", b"//x", b"http://h/x", b"http://h", b"/a|b", b'/"<>', b"/a\\b", b"/a#b", b"/\xe9", b"x"]
    )
    | st.binary(min_size=1, max_size=8).map(lambda b: b"/" + b),
    st.sampled_from([b"1.1", b"1.0", b"2.0", b"1.2"]),
)
body = st.sampled_from(
    [
        b"",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0;c\r\nX: y\r\n\r\n",
        b"005\r\nhello\r\n00\r\n\r\n",
        b'5;a="b;c"\r\nhello\r\n0\r\n\r\n',
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"1\r\nh\r\n4\r\nello\r\n0\r\nA: b\r\n\r\n",
    ]
)
message = st.builds(
    lambda first, f, b: first + b"\r\n" + b"".join(x + b"\r\n" for x in f) + b"\r\n" + b,
    line,
    st.lists(field, max_size=5),
    body,
)
anything = soup | message | st.binary(max_size=60)


@given(anything, st.lists(st.integers(0, 3_000), max_size=6))
@example(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", [1, 2, 3])
@example(b"GET /" + b"a" * 3_000, [2_004])
@example(b"GET / HTTP/1.1\r\nAuthorization: Bearer " + b"a" * 3_000, [40, 2_001])
@example(b"GET / HTTP/1.1\r\nAuthorization: Bearer " + b"a" * 3_000 + b"\r\nHost: h\r\n\r\n", [])
@example(b"GET /" + b"a" * 3_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", [])
def test_heads_are_the_same_in_any_split(data: bytes, places: list[int]):
    assert drive_heads([data]) == drive_heads(cut(data, places)) == drive_heads([bytes([b]) for b in data])


chunky = st.sampled_from([b"5", b"\r\n", b"hello", b"0", b";a=b", b"A: b", b"\r", b"\n", b"f" * 16, b" ", b"1"])
chunk_soup = st.lists(chunky | st.binary(max_size=3), max_size=14).map(b"".join)


@given(chunk_soup, st.lists(st.integers(0, 90), max_size=5), st.booleans())
@example(b"5\r\nhello\r\n0\r\n\r\nleft", [3, 11], False)
def test_chunks_are_the_same_in_any_split(data: bytes, places: list[int], lenient: bool):
    whole = drive_decoder(Chunked(lenient=lenient), [data])
    for parts in (cut(data, places), [bytes([b]) for b in data]):
        octets, done, why = drive_decoder(Chunked(lenient=lenient), parts)
        assert (whole[1], bool(whole[2])) == (done, bool(why))
        if not why:
            assert whole[0] == octets


@given(st.binary(max_size=50), st.integers(0, 60), st.lists(st.integers(0, 60), max_size=5))
def test_length_is_the_same_in_any_split(data: bytes, size: int, places: list[int]):
    assert (
        drive_decoder(Length(size), [data] if size else [])[:2]
        == drive_decoder(Length(size), cut(data, places) if size else [])[:2]
    )


@given(anything, st.sampled_from([b"GET", b"HEAD", b"POST"]))
def test_a_response_head_gives_a_value(data: bytes, method: bytes):
    parsed = parse_response(data, method, LIMITS)
    assert isinstance(parsed, (Outbound, Fault))
    if isinstance(parsed, Fault):
        assert parsed.status == 502


@given(anything)
def test_a_request_head_gives_a_value_that_can_be_logged(data: bytes):
    parsed = parse_request(data, LIMITS)
    assert isinstance(parsed, (Inbound, Fault, BadCredential))
    if isinstance(parsed, Fault):
        assert 400 <= parsed.status <= 599
        assert parsed.why.isascii()
    if isinstance(parsed, Inbound):
        classify(parsed.method, parsed.target)
        assert mask(parsed.target).isprintable()


@settings(max_examples=1_500)
@given(message | soup)
@example(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\nX: y\r\n\r\n")
@example(b'GET /|"<>\\^`{} HTTP/1.1\r\nHost: h\r\n\r\n')
@example(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 05\r\n\r\nhello")
@example(b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n")
def test_what_we_accept_others_accept_with_the_same_meaning(data: bytes):
    agree(data)


@pytest.mark.parametrize("line", [b"%d%b: b", b"User-Agent: %d%b", b"Accept: %d%b", b"X-A: %d%b"])
def test_strangers_cannot_fill_memory_with_long_lines(line: bytes):
    """What is remembered of names and lines, to be fast, is bounded in octets and not only in number."""
    peer, padding = Peer(b"127.0.0.1", trusted=False, scheme=b"http"), b"a" * 16_000
    tracemalloc.start()
    try:
        for number in range(1_500):
            parsed = parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n" + line % (number, padding), Limits())
            assert isinstance(parsed, Inbound)
            request_head(parsed, peer, Forwarding(), b"h")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * 1024 * 1024
