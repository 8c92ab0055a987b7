"""Texts: what a client calls its trace, what a log may quote, what a mangled token was, what people and addresses ask."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.admin import http
from proxy.admin.filters import BadQuestion, filters_of, limit_of, span_of
from proxy.cli import times
from proxy.observe.redact import redact
from proxy.sources.doorkeeper import near
from tests.fuzz.target import AT, CANARY, Target, words

CONTEXT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_context(data: bytes) -> bool:
    """Whatever a client calls its context, spans get a parent by W3C's grammar, or none."""
    digits = data.hex()
    return any([_parent(data.decode("latin-1")), _parent(f"00-{digits[:32]:0<32}-{digits[32:48]:0<16}-{digits[48:50]:0<2}")])


def _parent(text: str) -> bool:
    span = trace.get_current_span(TraceContextTextMapPropagator().extract({"traceparent": text})).get_span_context()
    if span.is_valid:
        match = CONTEXT.match(text.strip())
        assert match is not None
        assert f"{span.trace_id:032x}-{span.span_id:016x}" == match[0][3:52]
    return span.is_valid


def masked(data: bytes) -> bool:
    """In whatever text a library quotes it, a token that is named as one is not in the log."""
    text = data.decode("utf-8", "replace")
    places = (f"Bearer {CANARY}", f"postgres://u:{CANARY}@h/d", f"access_token={CANARY}", f'"refresh_token": "{CANARY}"')
    for place in places:
        written = redact({"event": f"{text[:512]} {place}", "why": [{"detail": f"{place} {text}"}], "token": text})
        assert CANARY not in repr(written)
    return redact({"event": text}) != {"event": text}


def damaged(data: bytes) -> bool:
    """The usual damage to a token is undone, within bounds, and the token itself comes first."""
    found = near.candidates(data)
    assert len(found) <= near.VARIANTS
    assert len({one.plain for one in found}) == len(found)
    assert all(one.plain for one in found)
    assert sum(len(one.plain) for one in found) <= near.VARIANTS * 2 * (len(data) + 16)
    assert len(near.forms(found)) <= 2 * near.VARIANTS
    assert near.prefix(data) is None or len(near.prefix(data) or "") <= near.LENGTH
    token = base64.urlsafe_b64encode(data[:24].ljust(24, b"x"))
    for change, presented in (
        ("none", b"Bearer " + token),
        ("scheme_doubled", b"Bearer bearer " + token),
        ("quoted", b'Bearer "%b"' % token),
        ("percent_encoded", b"".join(b"%%%02X" % octet for octet in token)),
        ("base64_encoded", b"Bearer " + base64.b64encode(token)),
    ):
        assert token in [one.plain for one in near.candidates(presented)], change
    return len(found) > 1


def asked(data: bytes) -> bool:
    """Whatever an address asks, it is answered or refused in our words; filters come back from the address that they make."""
    request = http.read("GET", data)
    assert http.read("GET", data.partition(b"?")[0]).path == request.path
    accepted = False
    readers: tuple[Callable[[Mapping[str, str]], Any], ...] = (
        filters_of,
        lambda query: span_of(query, AT),
        lambda query: limit_of(query, 50, 200),
    )
    for read in readers:
        try:
            found = read(request.query)
        except BadQuestion as bad:
            assert CANARY not in str(bad)
            continue
        accepted = accepted or bool(request.query)
        if isinstance(found, tuple):
            assert 0 <= found[0] < found[1] <= AT + 7 * 86_400
        elif isinstance(found, int):
            assert 1 <= found <= 200
        else:
            assert found == filters_of(dict(parse_qsl(found.query())))
            assert len(found.query()) <= 5 * 200 * 12 + 60
    return accepted


def moment(data: bytes) -> bool:
    """A time that a person types is an instant or is told how to write one; what is shown is read back."""
    text = data.decode("utf-8", "replace")
    try:
        found = times.parse(text, AT)
    except ValueError as error:
        assert times.FORMS in str(error)
        return False
    if "." not in text and abs(found) < 2e11:
        assert int(found) == int(times.parse(times.short(found), AT)) or found < 0 or not found.is_integer()
    times.ago(found, AT)
    return True


TARGETS: Final = (
    Target(
        "trace_context",
        trace_context,
        [b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", b"ff-" + b"0" * 32, b""],
        words(b"00- -01 01- - 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331", b"0" * 32, b"\xff"),
        limit=256,
    ),
    Target(
        "masked",
        masked,
        [
            b"could not connect to postgres://u:p@h/d",
            b'{"access_token": "x"}',
            b"Bearer",
            b"authorization: basic eDp5",
            b"plain",
        ],
        words(b"token= :// @ \" ' : = password secret %20", b"bearer ", b"\xe2\x80\xa9"),
    ),
    Target(
        "damaged",
        damaged,
        [
            b"Bearer abcdefghijklmnop-0123456789",
            b'"abcdefghijklmnop"',
            b"YWJjZGVmZ2hpamtsbW5vcA==",
            b"abc%20def%2D",
            b"&quot;abcdefghijklmnopq&quot;",
            b"abababababababababababababab",
            b"",
        ],
        words(b'% &amp; &# == " \\', b"Bearer ", b"Basic ", b"\xe2\x80\x9c", b"\xc2\xa0"),
        limit=1_200,
    ),
    Target(
        "asked",
        asked,
        [
            b"/api/v1/incidents?tenant=acme&kind=refusal&limit=10&token=" + b"0" * 32,
            b"/x?from=1779000000&to=1780000000",
            b"/x?token=" + CANARY.encode(),
            b"/%2F/%ff?tenant=%E2%80%AE&before=x&reason=a+b",
            b"/x?from=nan&to=inf&limit=0",
            b"/x",
        ],
        words(b"tenant= token= reason= kind= before= from= to= limit= & ? % 1e400 nan 1_0", b"\xd9\xa1", CANARY.encode()),
    ),
    Target(
        "moment",
        moment,
        [
            b"2026-11-24T16:19",
            b"2026-11-24T16:19:04+01:00",
            b"2h",
            b"now",
            b"0001-01-01T00:00+14:00",
            b"9999-12-31T23:59:59-14:00",
            b"x",
        ],
        words(b"T +23:59 -23:59 W01 999999w Z 0001 9999 .5"),
        limit=64,
    ),
)
