"""Every octet at every place of a request head: exactly those of the grammar are understood (RFC 9110 and 9112)."""

from __future__ import annotations

import pytest

from proxy.core.grammar import Fault, Limits
from proxy.core.inbound import Inbound, parse_request

EVERY = range(256)
TCHAR = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
TEXT = {9, *range(32, 127), *range(128, 256)}
HOST_CHARACTERS = set(b"._~%!$&'()*+,;=-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGIT = set(b"0123456789")
OCTETS = {
    "in a target": (b"GET /a?b HTTP/1.1\r\nHost: h\r\n", set(range(0x21, 0x7F)) - {0x23}),
    "before a target": (b"GET ?/ab HTTP/1.1\r\nHost: h\r\n", {0x2F}),
    "in a version": (b"GET / HTTP/1.?\r\nHost: h\r\n", set(b"01")),
    "in a major version": (b"GET / HTTP/?.1\r\nHost: h\r\n", set(b"1")),
    "after a version": (b"GET / HTTP/1.1?\r\nHost: h\r\n", set()),
    "between version numbers": (b"GET / HTTP/1?1\r\nHost: h\r\n", set(b".")),
    "between method and target": (b"GET?/ HTTP/1.1\r\nHost: h\r\n", {32}),
    "before a method": (b"?GET / HTTP/1.1\r\nHost: h\r\n", set()),
    "before a field name": (b"GET / HTTP/1.1\r\nHost: h\r\n?A: b\r\n", TCHAR),
    "in a field name": (b"GET / HTTP/1.1\r\nHost: h\r\nA?A: b\r\n", TCHAR | {0x3A}),
    "before a colon": (b"GET / HTTP/1.1\r\nHost: h\r\nA?: b\r\n", TCHAR | {0x3A}),
    "in a field value": (b"GET / HTTP/1.1\r\nHost: h\r\nA: b?c\r\n", TEXT),
    "before a field value": (b"GET / HTTP/1.1\r\nHost: h\r\nA:?b\r\n", TEXT),
    "after a field value": (b"GET / HTTP/1.1\r\nHost: h\r\nA: b?\r\n", TEXT),
    "in a host": (b"GET / HTTP/1.1\r\nHost: h?h\r\n", HOST_CHARACTERS),
    "after a host": (b"GET / HTTP/1.1\r\nHost: h?\r\n", HOST_CHARACTERS | {9, 32, 0x3A}),
    "in a length": (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1?1\r\n", DIGIT),
    "before a length": (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: ?1\r\n", DIGIT | {9, 32}),
    "after a length": (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1?\r\n", DIGIT | {9, 32}),
    "in a coding": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chun?ked\r\n", set()),
    "before a coding": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ?chunked\r\n", {9, 32}),
    "after a coding": (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked?\r\n", {9, 32}),
    "between CR and LF": (b"GET / HTTP/1.1\r\nHost: h\r?\nA: b\r\n", set()),
    "in place of CR": (b"GET / HTTP/1.1\r\nHost: h?\nA: b\r\n", {13}),
    "in place of LF": (b"GET / HTTP/1.1\r\nHost: h\r?A: b\r\n", {10}),
}


@pytest.mark.parametrize("where", OCTETS)
def test_every_octet_at_every_place(where: str):
    template, accepted = OCTETS[where]
    at = template.index(b"?", 5) if where == "in a target" else template.index(b"?")
    understood = set()
    for octet in EVERY:
        parsed = parse_request((template[:at] + bytes([octet]) + template[at + 1 :])[:-2], Limits())
        if isinstance(parsed, Inbound):
            understood.add(octet)
        else:
            assert isinstance(parsed, Fault)
            assert parsed.status in (400, 405, 501, 505)
    assert accepted == understood, sorted(accepted ^ understood)
