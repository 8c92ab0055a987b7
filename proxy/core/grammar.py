"""What both directions of HTTP/1 share (RFC 9112): field lines, bounds, and how a message says where its body ends.

Strict on purpose: a proxy that guesses what a message means guesses otherwise than the server behind it. Whatever is not
in the grammar is a `Fault`; nothing here repairs, folds or trims more than RFC 9110 section 5.5 allows.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec


class Fault(msgspec.Struct, frozen=True):
    """A message that is not understood. `status` is for a client that sent it; `why` a word of a closed set for the log;
    `bodiless` says that it was a HEAD, so that the answer must not have a body."""

    status: int
    why: str
    bodiless: bool = False


class Limits(msgspec.Struct, frozen=True):
    """Bounds of a message head, in octets and fields. RFC 9110 section 5.4 leaves them to us; 8000 octets of target must
    pass (RFC 9112 section 3). 64 KiB is above every limit of the servers we know."""

    head: int = 65_536
    target: int = 16_384
    fields: int = 128
    methods: frozenset[bytes] = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))


Field = tuple[bytes, bytes, bytes, bytes]
"""A field line: lower-case name, name, value without outer white space, and the line as we write it, CR LF included."""
Fields = list[Field]
"""Field lines in the order in which they were received."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
DIGITS: Final = re.compile(rb"[0-9]{1,18}")
"""A Content-Length: RFC 9110 section 8.6 wants 1*DIGIT; 18 digits stay below 2**63 and below Python's own limits."""

_is_plain: Final = re.compile(rb"[\t -~]+").fullmatch
_TEXT: Final = bytes(b for b in range(256) if b == 9 or (b >= 32 and b != 127))
STEADY: Final = frozenset(
    (b"accept", b"accept-charset", b"accept-encoding", b"accept-language", b"cache-control", b"connection", b"content-encoding",
     b"content-length", b"content-type", b"date", b"host", b"pragma", b"server", b"strict-transport-security",
     b"transfer-encoding", b"user-agent", b"vary", b"via", b"x-content-type-options", b"x-frame-options", b"x-xss-protection")
)  # fmt: skip
"""Fields whose lines come again and again and hold no secret: parsed once, then remembered whole."""
_LINES: dict[bytes, Field] = {}
_LINES_LIMIT: Final = 4_096
"""Lines remembered: real traffic has hundreds. When strangers have filled it, it is emptied and fills with real ones again."""
MEMORABLE: Final = 192
"""Octets of a line that is remembered: the longest user agents; all lines together stay below 3 MB."""
_NAMES: dict[bytes, bytes] = {}
"""Field names that were found right, with their lower case; as many as lines, in the same way."""
MEMORABLE_NAME: Final = 64
"""Octets of a name that is remembered: with longer ones a stranger could fill hundreds of megabytes."""


def parse_fields(lines: list[bytes]) -> Fields | str:
    """Split field lines (RFC 9112 section 5). Returns a word for the first that is not one. Lines were parted at CR LF, so
    that a CR or LF within one is bare (section 2.2)."""
    fields: Fields = []
    for line in lines:
        field = _LINES.get(line)
        if field is None:
            parsed = _parse_field(line)
            if isinstance(parsed, str):
                return parsed
            field = parsed
        fields.append(field)
    return fields


def _parse_field(line: bytes) -> Field | str:
    name, colon, value = line.partition(b":")
    lower = _NAMES.get(name)
    why = text_fault(line) or (_name_fault(name, colon) if lower is None or not colon else None)
    if why is not None:
        return why
    if lower is None:
        lower = _remembered(name)
    value = value.strip(b" \t")
    field = (lower, name, value, b"%b: %b\r\n" % (name, value))
    if lower in STEADY and len(line) <= MEMORABLE:
        if len(_LINES) >= _LINES_LIMIT:
            _LINES.clear()
        _LINES[line] = field
    return field


def _remembered(name: bytes) -> bytes:
    lower = name.lower()
    if len(name) <= MEMORABLE_NAME:
        if len(_NAMES) >= _LINES_LIMIT:
            _NAMES.clear()
        _NAMES[name] = lower
    return lower


def text_fault(line: bytes) -> str | None:
    """Tell what is wrong with the characters of a line, or None."""
    if _is_plain(line):
        return None  # nearly every line, and faster than what follows
    if line.translate(None, _TEXT):
        return "bare_cr_or_lf" if b"\r" in line or b"\n" in line else "control_character"
    return None


def has_bare(received: bytes) -> bool:
    """Whether a CR or LF stands in it that is not of a pair. A CR at its end may still become one."""
    pairs = received.count(b"\r\n")
    return received.count(b"\n") != pairs or received.count(b"\r") - received.endswith(b"\r") != pairs


def _name_fault(name: bytes, colon: bytes) -> str | None:
    if name[:1] in (b" ", b"\t"):
        return "folded_line"
    if not colon:
        return "field_without_colon"
    if not name:
        return "empty_field_name"
    if name[-1:] in (b" ", b"\t"):
        return "space_before_colon"
    return None if TOKEN.fullmatch(name) else "field_name"


def options(value: bytes) -> list[bytes]:
    """Split a comma-separated list of tokens such as Connection's, in lower case, without empty members (RFC 9110 5.6.1)."""
    if value.find(b",") < 0:  # as `in`, at half the cost
        word = value.strip(b" \t").lower()
        return [word] if word else []
    return [word for part in value.split(b",") if (word := part.strip(b" \t").lower())]
