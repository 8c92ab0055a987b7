"""One line of a spool file: a checksum, a place in the chain of its writer, the record. Pure.

    <crc32 of the rest, 8 hex> <sequence number> <sha256 of the line before, 64 hex> <record>\n

The checksum finds a torn or damaged line where it lies. The hash chain finds, long after the file is gone, that a record was
altered or removed: the store keeps number and hash of the line before beside each record.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import Final

import msgspec

GENESIS: Final = "0" * 64
"""Stands for the line before the first one."""


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
    rest = line[9:]
    parts = rest.split(b" ", 2)
    if len(parts) != 3 or line[:9] != b"%08x " % zlib.crc32(rest) or not parts[0].isdigit() or len(parts[1]) != 64:
        return None
    return Line(int(parts[0]), parts[1].decode("latin-1"), parts[2], hashlib.sha256(line).hexdigest(), end)


def scan(block: bytes, offset: int) -> Iterator[Line | None]:
    """Yield every line that ends within `block`, which starts at `offset` of its file; None for each damaged one."""
    start = 0
    while (stop := block.find(b"\n", start)) >= 0:
        yield decode(block[start:stop], offset + stop + 1)
        start = stop + 1
