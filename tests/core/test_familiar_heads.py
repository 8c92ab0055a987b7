"""A head whose fields came before means what it would mean if they had not, and nothing secret is remembered of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.core import heads, outbound
from proxy.core.grammar import Limits
from proxy.core.heads import read
from proxy.core.inbound import Inbound, parse_request
from proxy.core.outbound import Outbound, parse_response
from tests.core.judges import plain

TOKEN = b"k7Yw0cPq3uVtXzR5sD9fHj2LmN8bGa4E"
HEAD = (
    b"PATCH /scim/v2/Users/1?a=b HTTP/1.1\r\nHost: scim.example\r\nAuthorization: Bearer %b\r\n"
    b"User-Agent: Okta SCIM Client 1.0.0\r\nAccept: application/scim+json\r\nContent-Length: 12" % TOKEN
)
ANSWER = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Type: application/scim+json\r\nConnection: close\r\nContent-Length: 12"
FIRST_LINES = [
    b"GET /a HTTP/1.1",
    b"POST /b?c HTTP/1.1",
    b"OPTIONS /a HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"HEAD /a HTTP/1.1",
    b"GET /a HTTP/1.0",
    b"GET http://other.example/a HTTP/1.1",
    b"GET http://other.example HTTP/1.1",
    b"BREW /a HTTP/1.1",
    b"GET /a#b HTTP/1.1",
    b"GET /" + b"a" * 300 + b" HTTP/1.1",
    b"GET  /a HTTP/1.1",
]
FIELDS = [
    b"Host: h",
    b"Host: h",
    b"Host: h",
    b"Authorization: Bearer x",
    b"Authorization: Bearer yz",
    b"Authorization:  Bearer x ",
    b"Authorization:Bearer x",
    b"authorization: Bearer x",
    b"Authorization: ",
    b"Authorization: Bearer \x01",
    b"Authorization: Bearer \xff",
    b"Authorization: Bearer a\tb",
    b"Authorization : Bearer x",
    b"User-Agent: one",
    b"User-Agent: ",
    b"Accept: */*",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: keep-alive, accept",
    b"Connection: Authorization",
    b"Via: 1.1 other",
    b"Cookie: secret",
    b"X-Forwarded-For: 198.51.100.7",
    b"X-Forwarded-Proto: https",
    b"X-HTTP-Method-Override: DELETE",
    b"Expect: 100-continue",
    b"Max-Forwards: 0",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"Bad line",
]
CREDENTIALS = [field for field in FIELDS if field.lower().startswith(b"authorization")]
LIMITS = Limits(target=200, fields=7)


@pytest.fixture(autouse=True)
def nothing_is_known_yet():
    heads._FAMILIAR.clear()
    for known in outbound._HEADS:
        known.clear()


def recognised(head: bytes) -> bool:
    found = read(head, Limits())
    return isinstance(found, Inbound) and found.familiar is not None


def test_the_second_time_it_is_recognised_whoever_sends_it():
    assert [False, True] == [recognised(HEAD), recognised(HEAD.replace(TOKEN, b"another"))]


def test_what_a_proxy_before_us_adds_is_recognised_and_goes_on_as_ever():
    head = HEAD + b"\r\nVia: 1.1 front\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h"
    assert [False, True] == [recognised(head), recognised(head)]
    assert plain(read(head, Limits())) == parse_request(head, Limits())


def test_a_familiar_head_is_what_it_was():
    first, second = read(HEAD, Limits()), read(HEAD, Limits())
    assert first == plain(second) == parse_request(HEAD, Limits())


@pytest.mark.parametrize(
    "fields",
    [
        b"Host: h\r\nAuthorization: Bearer x\r\nContent-Length: 0",
        b"Content-Length: 5\r\nHost: h\r\nAuthorization: Bearer x",
        b"Host: h\r\nAuthorization: Bearer x\r\nTransfer-Encoding: chunked",
        b"Host: h\r\nAccept: */*\r\nAuthorization: Bearer x\r\nConnection: keep-alive, accept",
        b"Host: h\r\nConnection: close, accept\r\nAuthorization: Bearer x\r\nAccept: */*",
        b"Host: h\r\nAuthorization: Bearer x\r\nUser-Agent: \r\nUser-Agent: second",
    ],
)
def test_fields_that_frame_or_name_others_mean_the_same_with_any_method(fields: bytes):
    for line in FIRST_LINES * 2:
        head = line + b"\r\n" + fields
        assert plain(read(head, Limits())) == parse_request(head, Limits()), head


def test_bounds_hold_for_a_familiar_head_too():
    assert [False, True] == [recognised(HEAD), recognised(HEAD)]
    for limits in (Limits(fields=4), Limits(target=10), Limits(methods=frozenset((b"GET",)))):
        assert plain(read(HEAD, limits)) == parse_request(HEAD, limits)


def test_a_host_in_the_target_is_not_taken_for_that_of_the_fields():
    for target in (b"http://other.example/a", b"/a", b"/a"):
        head = HEAD.replace(b"/scim/v2/Users/1?a=b", target)
        assert plain(read(head, Limits())) == parse_request(head, Limits())


@pytest.mark.parametrize("cut", [1, 0], ids=["in place of one", "between two"])
def test_every_octet_at_every_place_of_a_familiar_head(cut: int):
    for at in range(len(HEAD)):
        assert recognised(HEAD) or recognised(HEAD)
        for octet in range(256):
            head = HEAD[:at] + bytes([octet]) + HEAD[at + cut :]
            assert plain(read(head, Limits())) == parse_request(head, Limits()), head


@settings(max_examples=3_000, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(FIRST_LINES),
            st.lists(st.sampled_from(FIELDS), max_size=7),
            st.sampled_from(CREDENTIALS),
            st.integers(0, 7),
        ),
        min_size=1,
        max_size=3,
    ),
    st.data(),
)
def test_any_heads_after_each_other(drawn: list[tuple[bytes, list[bytes], bytes, int]], data: st.DataObject):
    """Those of one set of fields too, with their credential in other places and behind other first lines."""
    sent = []
    for line, fields, credential, at in drawn:
        sent.append(b"\r\n".join((line, *fields[:at], credential, *fields[at:])))
        other, place = data.draw(st.sampled_from(FIRST_LINES)), data.draw(st.integers(0, 7))
        sent += [sent[-1], b"\r\n".join((other, *fields[:place], data.draw(st.sampled_from(CREDENTIALS)), *fields[place:]))]
    for head in sent:
        assert plain(read(head, LIMITS)) == parse_request(head, LIMITS), head


@pytest.mark.parametrize(
    "more",
    [b"Cookie: session=1", b"X-Api-Key: 1", b"X-Request-Id: 1", b"Proxy-Authorization: Basic eA==", b"authorization: Bearer y"],
)
def test_fields_that_may_be_secret_or_never_come_again_are_not_remembered(more: bytes):
    head = HEAD + b"\r\n" + more
    assert not recognised(head)
    assert not recognised(head)
    assert {} == heads._FAMILIAR


def test_no_token_is_remembered():
    for _ in range(3):
        assert isinstance(read(HEAD, Limits()), Inbound)
    (rest, familiar), *others = heads._FAMILIAR.items()
    assert [] == others
    for kept in (rest, *(part for field in (*familiar.before, *familiar.after) for part in field), *familiar.written):
        assert TOKEN not in kept


def test_strangers_cannot_make_it_grow():
    for number in range(heads._FAMILIAR_LIMIT + 10):
        _ = read(HEAD + b"\r\nAccept-Language: %d" % number, Limits())
        assert len(heads._FAMILIAR) <= heads._FAMILIAR_LIMIT
    long = HEAD + b"".join(b"\r\nAccept: %b" % (b"x" * 150) for _ in range(8))
    assert not recognised(long)
    assert not recognised(long)
    assert recognised(HEAD) or recognised(HEAD)


def test_many_short_fields_are_not_remembered():
    """They would need twenty times the memory of their octets."""
    for fields, count in ((19, 1), (20, 0)):
        heads._FAMILIAR.clear()
        assert not recognised(HEAD + b"\r\nDate:1" * fields)
        assert count == len(heads._FAMILIAR)
    for fields, count in ((20, 1), (21, 0)):
        outbound._HEADS[0].clear()
        assert isinstance(parse_response(ANSWER + b"\r\nDate:1" * fields, b"GET", Limits()), Outbound)
        assert count == len(outbound._HEADS[0])


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_an_answer_that_came_before_is_what_it_was(method: bytes):
    found = [parse_response(ANSWER, method, Limits()) for _ in range(2)]
    assert found[1] is found[0]
    assert outbound._parse(ANSWER, method, Limits()) == found[1]
    other = b"HEAD" if method == b"GET" else b"GET"
    assert outbound._parse(ANSWER, other, Limits()) == parse_response(ANSWER, other, Limits())
    assert parse_response(ANSWER, method, Limits(fields=3)) == outbound._parse(ANSWER, method, Limits(fields=3))


def test_answers_to_one_request_alone_are_not_remembered():
    for more in (b"X-Request-Id: 1", b"Set-Cookie: a=b", b"Location: /x", b'ETag: W/"1"'):
        assert isinstance(parse_response(ANSWER + b"\r\n" + more, b"GET", Limits()), Outbound)
    assert [0, 0] == [len(known) for known in outbound._HEADS]
    for number in range(outbound._HEADS_LIMIT + 10):
        _ = parse_response(ANSWER + b"\r\nDate: %d" % number, b"GET", Limits())
        assert len(outbound._HEADS[0]) <= outbound._HEADS_LIMIT


def test_every_octet_at_every_place_of_an_answer_that_came_before():
    _ = parse_response(ANSWER, b"GET", Limits())
    for at in range(len(ANSWER)):
        for octet in range(256):
            head = ANSWER[:at] + bytes([octet]) + ANSWER[at + 1 :]
            assert parse_response(head, b"GET", Limits()) == outbound._parse(head, b"GET", Limits())


def test_what_is_remembered_is_of_the_request_that_is_said():
    """A copy of a request with another target is written as such."""
    _, found = read(HEAD, Limits()), read(HEAD, Limits())
    assert isinstance(found, Inbound)
    assert plain(msgspec.structs.replace(found, target=b"/other")) != plain(found)
