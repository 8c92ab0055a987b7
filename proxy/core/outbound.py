"""A backend's response head: bytes in, a value or a fault out (RFC 9112 sections 4 and 6.3). No I/O.

A fault here is a 502 for the client. What is not understood is never passed on.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from proxy.core.framing import Chunked, Decoder, Length, UntilClose
from proxy.core.grammar import DIGITS, STEADY, Fault, Fields, Limits, options, parse_fields


class Outbound(msgspec.Struct, frozen=True):
    """An unambiguous response head. `length` is the body's length where the head names one, also for HEAD and 304, whose
    body is empty all the same; `bodiless` tells that. `reusable`: the connection may carry another request afterwards."""

    status: int
    phrase: bytes
    fields: Fields
    connection: list[bytes]
    length: int | None
    chunked: bool
    bodiless: bool
    reusable: bool

    def decoder(self) -> Decoder:
        """The decoder for its body."""
        if self.bodiless:
            return Length(0)
        if self.chunked:
            return Chunked(lenient=True)
        return UntilClose() if self.length is None else Length(self.length)


_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")


_HEADS: tuple[dict[bytes, Outbound], dict[bytes, Outbound]] = ({}, {})
"""Heads that were read before, of answers to anything and to HEAD: a backend that names no request in its answers sends a
handful of them, and another second's Date with each."""
_HEADS_LIMIT: Final = 256
_MEMORABLE: Final = 1_024
"""Octets of a head that is remembered."""
_MEMORABLE_FIELDS: Final = 24
"""Fields of one: each is five objects. With what is made of them all stay below 4 MB."""


def parse_response(head: bytes, method: bytes, limits: Limits) -> Outbound | Fault:
    """Parse a response head without its final empty line, as the answer to `method`. Any bytes give a value."""
    heads = _HEADS[method == b"HEAD"]
    known = heads.get(head)
    if known is not None and len(known.fields) <= limits.fields:
        return known
    parsed = _parse(head, method, limits)
    if isinstance(parsed, Outbound) and len(head) <= _MEMORABLE and _is_steady(parsed.fields):
        if len(heads) >= _HEADS_LIMIT:
            heads.clear()
        heads[head] = parsed
    return parsed


def _is_steady(fields: Fields) -> bool:
    return len(fields) <= _MEMORABLE_FIELDS and STEADY.issuperset([field[0] for field in fields])


def _parse(head: bytes, method: bytes, limits: Limits) -> Outbound | Fault:
    lines = head.split(b"\r\n")
    line = _STATUS_LINE.fullmatch(lines[0])
    if line is None:
        return Fault(502, "status_line")
    if len(lines) - 1 > limits.fields:
        return Fault(502, "too_many_fields")
    del lines[0]
    fields = parse_fields(lines)
    if isinstance(fields, str):
        return Fault(502, fields)
    return _assemble(int(line[2]), line[3] or b"", fields, method, http11=line[1] == b"1")


def _assemble(status: int, phrase: bytes, fields: Fields, method: bytes, *, http11: bool) -> Outbound | Fault:
    connection: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    for lower, _, value, _ in fields:
        if lower == b"content-length":
            lengths.append(value)
        elif lower == b"transfer-encoding":
            codings.append(value)
        elif lower == b"connection":
            connection += options(value)
    if codings and (not http11 or len(codings) > 1 or codings[0].lower() != b"chunked"):
        return Fault(502, "coding")
    length = _length(lengths)
    if isinstance(length, Fault):
        return length
    bodiless = method == b"HEAD" or status in (204, 304) or status < 200
    reusable = b"close" not in connection and (http11 or b"keep-alive" in connection)
    chunked = bool(codings)
    if chunked and length is not None:
        length, reusable = None, False
    if method == b"HEAD" or (not bodiless and not chunked and length is None):
        # a backend that sends a body after a HEAD's head would put it before the next answer
        reusable = False
    return Outbound(status, phrase, fields, connection, length, chunked, bodiless, reusable)


def _length(values: list[bytes]) -> int | Fault | None:
    """RFC 9112 section 6.3 rule 5: one plain number, or the same number repeated; anything else is a 502."""
    if not values:
        return None
    if len(values) == 1 and DIGITS.fullmatch(values[0]):
        return int(values[0])
    numbers = {part.strip(b" \t") for value in values for part in value.split(b",")}
    if len(numbers) == 1 and DIGITS.fullmatch(number := numbers.pop()):
        return int(number)
    return Fault(502, "length")
