"""A request head: bytes in, a value or a fault out (RFC 9112 sections 3, 5 and 6). No I/O."""

from __future__ import annotations

import enum
import re
from typing import Final

import msgspec

from proxy.core.credential import Why
from proxy.core.familiar import Familiar
from proxy.core.grammar import DIGITS, MEMORABLE, TOKEN, Fault, Fields, Limits, has_bare, options, parse_fields, text_fault


class Here(enum.StrEnum):
    """Why a request ends here: an OPTIONS that may not be forwarded once more, or a front that only asks."""

    NO = ""
    LAST = "last"
    ASKED = "asked"


class Inbound(msgspec.Struct, frozen=True):
    """An unambiguous request head.

    `target` is in origin-form (or `*`) exactly as received, less scheme and authority of an absolute-form. `length` is the
    number of body octets, 0 without a body, None when chunked. `connection` holds Connection's options in lower case.
    `authorization` holds the values of all Authorization fields. `keep_alive` is never said of HTTP/1.0 (RFC 9112 section
    9.3: a proxy keeps no connection with such a client). `expects_continue`: a body follows once it has been asked for.
    `answered_here`: not for the backend, whatever the verdict; why, or NO. `agent` and `trace` are the first User-Agent and
    traceparent that are not empty. `overrides`: a field is there by which a backend may take it for another method.
    `familiar`: what was remembered of the fields, if they are these.
    """

    method: bytes
    target: bytes
    minor: int
    host: bytes
    fields: Fields
    authorization: list[bytes]
    connection: list[bytes]
    length: int | None
    keep_alive: bool
    expects_continue: bool
    answered_here: Here = Here.NO
    agent: bytes = b""
    trace: bytes = b""
    overrides: bool = False
    familiar: Familiar | None = None

    @property
    def has_body(self) -> bool:
        """Whether body octets follow the head."""
        return self.length != 0


class BadCredential(msgspec.Struct, frozen=True):
    """The head is broken, and only within its Authorization field: a refusal with a reason, and the connection closed.

    `presented` is that field's value, empty when it never ended; `request` is the head without the field, where it ended.
    """

    why: Why
    presented: bytes = b""
    request: Inbound | None = None
    bodiless: bool = False


REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-\"$-~]+) HTTP/([0-9])\.([0-9])")
"""A target is visible ASCII without `#` (RFC 3986 section 2): servers refuse or cut what else stands there, each in its way."""
_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=\-]+(?::[0-9]{0,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{0,5})?")
_hosts: set[bytes] = set()
"""Good ones that were seen: a backend has a handful of names. When strangers have filled it, it is emptied."""
_HOSTS_LIMIT: Final = 256
_ABSOLUTE: Final = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?]*)(.*)", re.DOTALL)
_METHOD_LIMIT: Final = 32
_NEVER: Final = frozenset((b"CONNECT", b"TRACE"))
"""CONNECT would tunnel past the verdict, TRACE repeats credentials (RFC 9110 section 9.3.8)."""
_NOT_OPTIONS: Final = frozenset(
    (b"authorization", b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"max-forwards")
)
"""Fields that Connection may not take away: the backend would see another request than the one that was judged."""


def parse_request(head: bytes, limits: Limits) -> Inbound | Fault | BadCredential:
    """Parse a request head without its final empty line. Any bytes give a value, never an exception."""
    parsed = _parse(head, limits)
    if isinstance(parsed, Fault):
        if parsed.why == "control_character" and (bad := _only_the_credential(head, limits)) is not None:
            return bad
        if 0 < (lost := lost_at(head, limits)) < len(head):
            return parse_request(head[:lost], limits)  # as it is refused when it comes bit by bit
        return Fault(parsed.status, parsed.why, bodiless=is_head(head))
    return parsed


def is_head(head: bytes) -> bool:
    """Whether a head, broken or not, begins as a HEAD request's: its answer has no body."""
    return head[:5] == b"HEAD "


def _parse(head: bytes, limits: Limits) -> Inbound | Fault:
    lines = head.split(b"\r\n")
    line = REQUEST_LINE.fullmatch(lines[0])
    if line is None:
        return _line_fault(lines[0], limits)
    method, target, major, minor = line.groups()
    fault = _version_fault(major, minor) or _method_fault(method, limits)
    if fault is not None:
        return fault
    if len(target) > limits.target:
        return Fault(414, "target_too_long")
    if len(lines) - 1 > limits.fields:
        return Fault(431, "too_many_fields")
    del lines[0]
    fields = parse_fields(lines)
    if isinstance(fields, str):
        return Fault(400, fields)
    return _assemble(method, target, minor == b"1", fields)


def _line_fault(line: bytes, limits: Limits) -> Fault:
    why = text_fault(line)
    if why is not None:
        return Fault(400, why)
    parts = line.split(b" ")
    if len(parts) == 3 and len(parts[1]) > limits.target:
        return Fault(414, "target_too_long")
    return Fault(400, "request_line")


def _method_fault(method: bytes, limits: Limits) -> Fault | None:
    if method in limits.methods:
        return None
    if method in _NEVER:
        return Fault(405, "method_refused")
    return Fault(501, "method_too_long" if len(method) > _METHOD_LIMIT else "method_unknown")


def _version_fault(major: bytes, minor: bytes) -> Fault | None:
    return None if major == b"1" and minor in (b"0", b"1") else Fault(505, "version")


METHOD_OVERRIDES: Final = frozenset((b"x-http-method-override", b"x-http-method", b"x-method-override"))
"""Fields by which a backend may take a request for another method than the one that was judged."""
_SPECIAL: Final = METHOD_OVERRIDES | {
    b"host", b"authorization", b"connection", b"content-length", b"transfer-encoding", b"expect", b"max-forwards",
    b"user-agent", b"traceparent",
}  # fmt: skip
_NONE: Final[list[bytes]] = []


def _assemble(method: bytes, target: bytes, http11: bool, fields: Fields) -> Inbound | Fault:  # noqa: FBT001
    special: dict[bytes, list[bytes]] = {}
    for lower, _, value, _ in fields:
        if lower in _SPECIAL:
            if lower in special:
                special[lower].append(value)
            else:
                special[lower] = [value]
    hosts = special.get(b"host", _NONE)
    connection = [option for value in special.get(b"connection", _NONE) for option in options(value)]
    expect = [option for value in special.get(b"expect", _NONE) for option in options(value)]
    place = _place(method, target, hosts, http11=http11)
    if isinstance(place, Fault):
        return place
    length = _body_length(special.get(b"content-length", _NONE), special.get(b"transfer-encoding", _NONE), http11=http11)
    if isinstance(length, Fault):
        return length
    if not _NOT_OPTIONS.isdisjoint(connection):
        return Fault(400, "connection_names_end_to_end_field")
    if http11 and expect and expect != [b"100-continue"]:
        return Fault(417, "expectation")
    last = b"max-forwards" in special and method == b"OPTIONS" and _is_last(special[b"max-forwards"])
    if isinstance(last, Fault):
        return last
    keep_alive = http11 and b"close" not in connection
    expects = http11 and bool(expect) and length != 0
    return Inbound(
        method, place[0], int(http11), place[1], fields, special.get(b"authorization", _NONE), connection,
        None if length < 0 else length, keep_alive, expects, Here.LAST if last else Here.NO,
        _first(special, b"user-agent"), _first(special, b"traceparent"), not METHOD_OVERRIDES.isdisjoint(special),
    )  # fmt: skip


def _first(special: dict[bytes, list[bytes]], name: bytes) -> bytes:
    """The first value of a field that is not empty, or nothing."""
    for value in special.get(name, _NONE):
        if value:
            return value
    return b""


def _is_last(values: list[bytes]) -> bool | Fault:
    """Whether Max-Forwards says that nobody further may answer (RFC 9110 section 7.6.2, which binds us for OPTIONS alone)."""
    if len(values) > 1 or DIGITS.fullmatch(values[0]) is None:
        return Fault(400, "max_forwards")
    return int(values[0]) == 0


def _place(method: bytes, target: bytes, hosts: list[bytes], *, http11: bool) -> tuple[bytes, bytes] | Fault:
    """Return target in origin-form and authority (RFC 9112 sections 3.2 and 3.2.2)."""
    if len(hosts) > 1:
        return Fault(400, "several_hosts")
    if not hosts and http11:
        return Fault(400, "no_host")
    host = hosts[0] if hosts else b""
    if host not in _hosts and ((hosts and not host) or (host and not _is_host(host))):
        return Fault(400, "host")
    if target[:1] == b"/":
        return target, host
    if target == b"*":
        return (target, host) if method == b"OPTIONS" else Fault(400, "target")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return Fault(400, "target")
    authority, rest = absolute.groups()
    if not _HOST.fullmatch(authority):
        return Fault(400, "authority")
    if not rest and method == b"OPTIONS":
        return b"*", authority
    return (rest if rest[:1] == b"/" else b"/" + rest), authority


def _is_host(host: bytes) -> bool:
    if _HOST.fullmatch(host) is None:
        return False
    if len(host) <= MEMORABLE:
        if len(_hosts) >= _HOSTS_LIMIT:
            _hosts.clear()
        _hosts.add(host)
    return True


def _body_length(lengths: list[bytes], codings: list[bytes], *, http11: bool) -> int | Fault:
    """Return the body's length, -1 for chunked (RFC 9112 section 6.3). Both fields, or either twice, is refused."""
    if codings:
        if not http11:
            return Fault(400, "coding_in_http10")
        if lengths:
            return Fault(400, "length_and_coding")
        if len(codings) > 1:
            return Fault(400, "several_codings")
        if codings[0].lower() == b"chunked":
            return -1
        return Fault(400 if b"chunked" in codings[0].lower() else 501, "coding")
    if not lengths:
        return 0
    if len(lengths) > 1:
        return Fault(400, "several_lengths")
    return int(lengths[0]) if DIGITS.fullmatch(lengths[0]) else Fault(400, "length")


_BARE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")


def _begins_badly(started: bytes) -> bool:
    """Whether its first octet is none of a method's: another protocol, such as TLS."""
    return TOKEN.match(started, 0, 1) is None and started[:1] not in (b"", b"\r")


def _is_bad_line(line: bytes, limits: Limits) -> bool:
    match = REQUEST_LINE.fullmatch(line)
    if match is None or len(match[2]) > limits.target:
        return True
    return (_version_fault(match[3], match[4]) or _method_fault(match[1], limits)) is not None


def lost_at(started: bytes, limits: Limits) -> int:
    """How many octets of it can no longer become a head, 0 while they can: up to a bare CR or LF, or a broken first line."""
    if _begins_badly(started):
        return 1
    bare = _BARE.search(started)
    line = started.find(b"\r\n", 0, bare.start() if bare is not None else len(started))
    if line > 0 and _is_bad_line(started[:line], limits):
        return line
    return bare.end() if bare is not None else 0


def is_lost(started: bytes, seen: int, limits: Limits) -> bool:
    """Whether `lost_at` says so of it, when it did not of its first `seen` octets. Who is refused need not wait for a
    deadline: a line that ends with LF alone is never followed by the end of a head."""
    if not seen and _begins_badly(started):
        return True
    at = max(0, seen - 1)
    if seen and started[at : at + 1] == b"\n":
        at += 1
    if has_bare(started[at:]):
        return True
    line = started.find(b"\r\n")
    return line + 2 > seen and line > 0 and _is_bad_line(started[:line], limits)


_AUTHORIZATION: Final = b"authorization:"


def _only_the_credential(head: bytes, limits: Limits) -> BadCredential | None:
    """A head whose only fault is an odd byte within an Authorization value is a bad credential, not a bad message."""
    first, *lines = head.split(b"\r\n")
    values = [line[14:].strip(b" \t") for line in lines if line[:14].lower() == _AUTHORIZATION]
    if not values or any(b"\r" in value or b"\n" in value for value in values):
        return None
    rest = _parse(b"\r\n".join((first, *(line for line in lines if line[:14].lower() != _AUTHORIZATION))), limits)
    if isinstance(rest, Fault):
        return None
    return BadCredential(Why.CHARACTERS, b", ".join(values), rest, bodiless=rest.method == b"HEAD")


def overlong(started: bytes, limit: int) -> Fault | BadCredential:
    """Judge a head of which more than `limit` octets came without its end. What it is judged by ends at the limit, so that
    it does not matter how it arrived. Too long a token is the credential's fault, not the message's."""
    started = started[:limit]
    bodiless = is_head(started)
    if b"\r\n" not in started:
        return Fault(414, "target_too_long", bodiless=bodiless)
    if started.rpartition(b"\r\n")[2][:14].lower() == _AUTHORIZATION:
        return BadCredential(Why.TOO_LONG, bodiless=bodiless)
    return Fault(431, "head_too_long", bodiless=bodiless)
