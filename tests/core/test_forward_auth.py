"""Whatever stands in the fields of a question: one request as strict as any, or a fault that is a 400."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.forward_auth import Front, asked_about, is_question
from proxy.core.grammar import Fault, Limits
from proxy.core.inbound import Here, Inbound, parse_request

LIMITS = Limits()
TARGET = re.compile(rb"/[!-\"$-~]*|\*")
odd = st.binary(max_size=9) | st.sampled_from(
    [b"GET", b"POST", b"HEAD", b"/", b"/a?b", b"http://x/y", b"*", b"/a b", b"OPTIONS"]
)


@pytest.mark.parametrize(
    "front, names",
    [(Front.NGINX, (b"X-Original-Method", b"X-Original-URI")), (Front.TRAEFIK, (b"X-Forwarded-Method", b"X-Forwarded-Uri"))],
)
@given(odd, odd, odd)
@example(b"OPTIONS", b"*", b"h")
@example(b"GET", b"http://other/x", b"h")
@example(b"GET", b"/a HTTP/1.1\r\nX: y", b"h")
def test_a_question_in_fields(front: Front, names: tuple[bytes, bytes], method: bytes, target: bytes, host: bytes):
    fields = b"%b: %b\r\n%b: %b\r\nX-Forwarded-Host: %b" % (names[0], method, names[1], target, host)
    question = parse_request(b"GET /ask HTTP/1.1\r\nHost: h\r\n" + fields, LIMITS)
    if not isinstance(question, Inbound):
        return
    asked = asked_about(question, b"/ask", front, LIMITS)
    if isinstance(asked, Fault):
        assert 400 == asked.status
        return
    assert asked.method in LIMITS.methods - {b"HEAD"}
    assert TARGET.fullmatch(asked.target)
    assert Here.ASKED is asked.answered_here
    assert (question.authorization, question.fields) == (asked.authorization, asked.fields)


@given(st.binary(max_size=30))
@example(b"/x")
def test_a_question_in_the_line(rest: bytes):
    question = parse_request(b"PUT /ask%b HTTP/1.1\r\nHost: h" % rest, LIMITS)
    if not isinstance(question, Inbound) or not is_question(question.target, b"/ask", Front.ENVOY):
        return
    asked = asked_about(question, b"/ask", Front.ENVOY, LIMITS)
    assert isinstance(asked, Inbound)
    assert (b"PUT", question.target[4:], Here.ASKED) == (asked.method, asked.target, asked.answered_here)
    assert asked.target.startswith(b"/")
