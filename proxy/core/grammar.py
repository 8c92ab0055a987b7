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


Fields = list[tuple[bytes, bytes, bytes]]
"""Field lines as received: (lower-case name, name, value without outer white space), in order."""

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
DIGITS: Final = re.compile(rb"[0-9]{1,18}")
"""A Content-Length: RFC 9110 section 8.6 wants 1*DIGIT; 18 digits stay below 2**63 and below Python's own limits."""

_ALLOWED: Final = bytes(b for b in range(256) if b in (9, 10, 13) or (b >= 32 and b != 127))
_NAMES: dict[bytes, bytes] = {}
_NAMES_LIMIT: Final = 4_096
"""Field names remembered with their lower-case form: real traffic has dozens, and strangers cannot fill more than this."""
MEMORABLE_NAME: Final = 64
"""Octets of a field name that is remembered: with longer ones a stranger could fill hundreds of megabytes."""


def line_fault(head: bytes) -> str | None:
    """Tell what is wrong with the characters of a head, or None. CR and LF only as a pair (RFC 9112 section 2.2)."""
    if head.translate(None, _ALLOWED):
        return "control_character"
    pairs = head.count(b"\r\n")
    if head.count(b"\r") != pairs or head.count(b"\n") != pairs:
        return "bare_cr_or_lf"
    return None


def parse_fields(lines: list[bytes]) -> Fields | str:
    """Split field lines (RFC 9112 section 5). Returns a word for the first that is not one."""
    fields: Fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        lower = _NAMES.get(name)
        if lower is None:
            why = _name_fault(name, colon)
            if why is not None:
                return why
            lower = name.lower()
            if len(_NAMES) < _NAMES_LIMIT and len(name) <= MEMORABLE_NAME:
                _NAMES[name] = lower
        elif not colon:
            return "field_without_colon"
        fields.append((lower, name, value.strip(b" \t")))
    return fields


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
    if b"," not in value:
        word = value.strip(b" \t").lower()
        return [word] if word else []
    return [word for part in value.split(b",") if (word := part.strip(b" \t").lower())]
