"""One line of a spool file: a checksum, a place in the chain of its writer, the record. Pure.

    <crc32 of the rest, 8 hex> <sequence number> <sha256 of the line before, 64 hex> <record>\n

The checksum finds a torn or damaged line where it lies. The hash chain finds, long after the file is gone, that a record was
altered or removed: the store keeps number and hash of the line before beside each record.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

GENESIS: Final = "0" * 64
"""Stands for the line before the first one."""

_REST: Final = re.compile(rb"([1-9][0-9]{0,18}) ([0-9a-f]{64}) ([^\n]*)")
"""What the checksum is of, as `encode` writes it: nothing else has this digest when it is written again."""


class Line(msgspec.Struct, frozen=True):
    """A whole line. `digest` is its own SHA-256, `previous` that of the line before, `end` the offset behind it in its file."""

    sequence: int
    previous: str
    record: bytes
    digest: str
    end: int = 0


def encode(sequence: int, previous: str, record: bytes) -> tuple[bytes, str]:
    """Return the line with its newline, and its digest. ValueError when the record holds a newline."""
    if b"\n" in record:
        raise ValueError("a record is one line")
    rest = b"%d %b %b" % (sequence, previous.encode("ascii"), record)
    line = b"%08x %b" % (zlib.crc32(rest), rest)
    return line + b"\n", hashlib.sha256(line).hexdigest()


def decode(line: bytes, end: int = 0) -> Line | None:
    """Read a line without its newline; None when it is not what `encode` wrote."""
    rest = _REST.fullmatch(line, 9)
    if rest is None or line[:9] != b"%08x " % zlib.crc32(rest[0]):
        return None
    return Line(int(rest[1]), rest[2].decode("ascii"), rest[3], hashlib.sha256(line).hexdigest(), end)


def scan(block: bytes, offset: int) -> Iterator[Line | None]:
    """Yield every line that ends within `block`, which starts at `offset` of its file; None for each damaged one."""
    start = 0
    while (stop := block.find(b"\n", start)) >= 0:
        yield decode(block[start:stop], offset + stop + 1)
        start = stop + 1
