"""Which fields pass through, and which are ours (RFC 9110 sections 5.3 and 7.6). Pure.

A client's forwarding and identity fields are dropped in every spelling (case, and whatever stands for a hyphen): a backend
that trusts them trusts us, not it.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.core.familiar import Familiar
from proxy.core.grammar import MEMORABLE_NAME, Fields
from proxy.core.inbound import METHOD_OVERRIDES, Inbound
from proxy.core.outbound import Outbound

_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
     b"http2-settings", b"proxy-authorization", b"proxy-authenticate")
)  # fmt: skip
_OURS_IN_REQUEST: Final = frozenset((b"host", b"expect", b"via", b"forwarded"))
_OURS_IN_ANSWER: Final = frozenset((b"content-length", b"x-incident-id"))
_NOT_PASSED_BACK: Final = _HOP_BY_HOP | _OURS_IN_ANSWER
_IDENTITY: Final = frozenset(
    (b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip",
     b"x-original-url", b"x-original-uri", b"x-original-method", b"x-original-host", b"x-rewrite-url", b"x-remote-user",
     b"remote-user", b"x-authenticated-user", b"x-authenticated-userid", b"x-user", b"x-user-id", b"x-username",
     b"x-webauth-user", b"x-ssl-client-cert", b"x-ssl-client-verify", b"x-client-cert", b"x-proxyuser-ip", b"client-ip")
)  # fmt: skip
_IDENTITY_PREFIXES: Final = (b"x-forwarded-", b"x-auth-request-", b"x-envoy-", b"x-ssl-", b"ssl-client-")
_NEVER_RESPELT: Final = METHOD_OVERRIDES | {b"content-type", b"content-encoding", b"user-agent"}
"""Fields of meaning that a gateway interface (CGI, WSGI, Rack) would confuse with another spelling: `Content_Type`."""
_NOT_A_LETTER: Final = re.compile(rb"[^0-9a-z]")
_PASS, _DROP, _VIA, _FORWARDED_FOR, _TRUSTED, _COUNTED, _LENGTH = range(7)
_KINDS: dict[bytes, int] = {}
_KINDS_LIMIT: Final = 4_096
"""Names remembered with what becomes of them: real traffic has dozens, and strangers cannot fill more than this."""


class Forwarding(msgspec.Struct, frozen=True):
    """What the backend is told of the client. `host` is None to preserve the client's, `forwarded` adds X-Forwarded-For,
    -Host and -Proto, `via` is our pseudonym (RFC 9110 section 7.6.3)."""

    host: bytes | None = None
    forwarded: bool = True
    via: bytes = b"scim-witness"


class Peer(msgspec.Struct, frozen=True):
    """Who is on the connection: `trusted` when it is one of our own proxies, `scheme` as the client used it."""

    address: bytes
    trusted: bool
    scheme: bytes


def request_head(request: Inbound, peer: Peer, forwarding: Forwarding, default_host: bytes) -> bytes:
    """Write the head for the backend: same target bytes, same end-to-end fields in the same order, our own framing."""
    familiar = request.familiar
    if familiar is not None and familiar.stands:
        return _familiar_head(request, familiar, peer, forwarding, default_host)
    host = forwarding.host or request.host or default_host
    out = [request.method, b" ", request.target, b" HTTP/1.1\r\nHost: ", host, b"\r\n"]
    via = b""
    forwarded_for = b""
    sized = False
    named = request.connection
    trusted = peer.trusted
    for lower, _, value, line in request.fields:
        kind = _KINDS.get(lower)
        if kind is None:
            kind = _kind_of(lower)
        if kind == _PASS:
            if not named or lower not in named:
                out.append(line)
        elif kind == _VIA:
            via = b"%b, %b" % (via, value) if via else value
        elif trusted and kind == _FORWARDED_FOR:
            forwarded_for = b"%b, %b" % (forwarded_for, value) if forwarded_for else value
        elif trusted and kind == _TRUSTED and forwarding.forwarded:
            out.append(line)
        elif kind == _COUNTED:
            out.append(b"Max-Forwards: %d\r\n" % (int(value) - 1) if request.method == b"OPTIONS" else line)
        elif kind == _LENGTH:
            sized = True
    if via:
        via += b", "
    out += (b"Via: ", via, b"1.1 " if request.minor else b"1.0 ", forwarding.via, b"\r\n")
    if forwarding.forwarded:
        _add_forwarded_lines(out, request, peer, forwarded_for)
    out.append(_framing(request, sized=sized))
    return b"".join(out)


def _framing(request: Inbound, *, sized: bool) -> bytes:
    """The field that says where the body ends, where there is one, and the end of the head."""
    if request.length is None:
        return b"Transfer-Encoding: chunked\r\n\r\n"
    if sized or request.length or request.method in (b"POST", b"PUT", b"PATCH"):
        return b"Content-Length: %d\r\n\r\n" % request.length
    return b"\r\n"


def _familiar_head(request: Inbound, familiar: Familiar, peer: Peer, forwarding: Forwarding, default_host: bytes) -> bytes:
    """The same for fields that were written before: none of them tells of another proxy, so all but the credential and the
    client's address stand."""
    written_for = familiar.written_for
    if written_for[0] is not forwarding or written_for[1] != default_host or written_for[2] != peer.scheme:
        familiar.written = _written(familiar, peer.scheme, forwarding, default_host)
        familiar.written_for = (forwarding, default_host, peer.scheme)
    start, middle, end = familiar.written
    credential = request.fields[len(familiar.before)][3]
    address = peer.address if forwarding.forwarded else b""
    framing = _framing(request, sized=familiar.sized)
    return b"".join((request.method, b" ", request.target, start, credential, middle, address, end, framing))


def _written(familiar: Familiar, scheme: bytes, forwarding: Forwarding, default_host: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands between a request's target and its credential, that and the client's address, and that and the framing."""
    host = forwarding.host or familiar.host or default_host
    start = b" HTTP/1.1\r\nHost: %b\r\n%b" % (host, _passed(familiar, familiar.before))
    middle = b"%bVia: 1.1 %b\r\n" % (_passed(familiar, familiar.after), forwarding.via)
    if not forwarding.forwarded:
        return start, middle, b""
    asked = b"X-Forwarded-Host: %b\r\n" % familiar.host if familiar.host else b""
    return start, middle + b"X-Forwarded-For: ", b"\r\n%bX-Forwarded-Proto: %b\r\n" % (asked, scheme)


def _passed(familiar: Familiar, fields: Fields) -> bytes:
    return b"".join(line for lower, _, _, line in fields if _kind_of(lower) == _PASS and lower not in familiar.connection)


def _add_forwarded_lines(out: list[bytes], request: Inbound, peer: Peer, forwarded_for: bytes) -> None:
    if forwarded_for:
        forwarded_for += b", "
    out += (b"X-Forwarded-For: ", forwarded_for, peer.address, b"\r\n")
    names = {lower for lower, _, _, _ in request.fields} if peer.trusted else ()
    if b"x-forwarded-host" not in names and request.host:
        out += (b"X-Forwarded-Host: ", request.host, b"\r\n")
    if b"x-forwarded-proto" not in names:
        out += (b"X-Forwarded-Proto: ", peer.scheme, b"\r\n")


def _kind_of(lower: bytes) -> int:
    plain = _NOT_A_LETTER.sub(b"-", lower)
    kind = _PASS
    if plain == b"via":
        kind = _VIA if lower == plain else _DROP
    elif plain == b"content-length":
        kind = _LENGTH if lower == plain else _DROP
    elif plain == b"max-forwards":
        kind = _COUNTED if lower == plain else _DROP
    elif plain == b"x-forwarded-for":
        kind = _FORWARDED_FOR if lower == plain else _DROP
    elif plain in (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port"):
        kind = _TRUSTED if lower == plain else _DROP
    elif plain in _HOP_BY_HOP or plain in _OURS_IN_REQUEST or plain in _IDENTITY or plain.startswith(_IDENTITY_PREFIXES):
        kind = _DROP
    elif plain in _NEVER_RESPELT:
        kind = _PASS if lower == plain else _DROP
    if len(_KINDS) < _KINDS_LIMIT and len(lower) <= MEMORABLE_NAME:
        _KINDS[lower] = kind
    return kind


def answer_fields(answer: Outbound) -> list[bytes]:
    """The end-to-end fields of a backend's answer as lines, in their order, without framing and hop-by-hop fields."""
    named = answer.connection
    return [line for lower, _, _, line in answer.fields if lower not in _NOT_PASSED_BACK and (not named or lower not in named)]


def value_of(fields: Fields, wanted: bytes) -> bytes:
    """The first value of a field, or nothing."""
    for lower, _, value, _ in fields:
        if lower == wanted:
            return value
    return b""


def values_of(fields: Fields, wanted: bytes) -> list[bytes]:
    """All values of a field, in order."""
    return [value for lower, _, value, _ in fields if lower == wanted]
