"""Reads a spool directory from the first record that the store has not acknowledged yet, and removes what it has.

The place reached is kept in a file beside the segments, so that a restart goes on from there; what was delivered but not
acknowledged is delivered again (at least once; the store makes it once).
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from proxy.evidence import segment
from proxy.evidence.spool import SEGMENT_SUFFIX

READ_BYTES: Final = 1 << 21
"""Read at once: more than the largest record, so that a whole line always fits."""

_POSITION: Final = "position"


class Tail:
    """One reader of one spool directory. `living` tells that its writer may still append to the last segment."""

    def __init__(self, path: Path, *, living: bool, released: Callable[[int], None] = lambda _: None) -> None:
        self.path = path
        self.living = living
        self.damaged = 0
        self._released = released
        self._acknowledged = _read_position(path)
        self._segment, self._offset = self._acknowledged

    @property
    def chain(self) -> str:
        """The name of the hash chain in this directory."""
        return self.path.name

    def read(self, records: int) -> list[segment.Line]:
        """Return up to so many of the next lines; nothing at the end. Reading again goes on behind them. OSError when there is
        nothing before what cannot be read."""
        found: list[segment.Line] = []
        names = segments(self.path)
        for index, name in enumerate(names):
            if name < self._segment:
                continue
            last = index == len(names) - 1
            if name > self._segment:
                self._segment, self._offset = name, 0
            try:
                self._read_segment(name, found, records, final=not (last and self.living))
            except OSError:
                if not found:
                    raise
                break  # what was found is not read again: it must be returned
            if len(found) >= records:
                break
        return found

    def acknowledge(self) -> None:
        """The store has everything that was read: remember it, and remove the segments that are done with."""
        place = (self._segment, self._offset)
        if place == self._acknowledged:
            return
        with contextlib.suppress(OSError):  # a full disk: some is delivered twice, and what follows here makes room
            _write_position(self.path, place)
        self._acknowledged = place
        for name in segments(self.path):
            if name >= self._segment:
                break
            self._remove(name)

    def _remove(self, name: str) -> None:
        path = self.path / name
        size = path.stat().st_size
        path.unlink()
        self._released(size)

    def _read_segment(self, name: str, found: list[segment.Line], records: int, *, final: bool) -> None:
        fd = os.open(self.path / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while len(found) < records:
                block = os.pread(fd, READ_BYTES, self._offset)
                if not self._take(block, found, records):
                    if not (final and block):
                        return
                    # a torn last line: its writer died within the write, and no 401 left for it
                    self._skip(len(block))
        finally:
            os.close(fd)

    def _take(self, block: bytes, found: list[segment.Line], records: int) -> bool:
        """Move over the whole lines of a block. False when there is none."""
        start = self._offset
        position = 0
        for line in segment.scan(block, start):
            position = block.index(b"\n", position) + 1
            self._offset = start + position
            if line is None:
                self.damaged += 1
                continue
            found.append(line)
            if len(found) >= records:
                break
        return position > 0

    def _skip(self, octets: int) -> None:
        self.damaged += 1
        self._offset += octets


def segments(path: Path) -> list[str]:
    """The names of the segments, oldest first."""
    return sorted(name for name in os.listdir(path) if name.endswith(SEGMENT_SUFFIX))  # noqa: PTH208 - names are wanted


def _read_position(path: Path) -> tuple[str, int]:
    try:
        crc, name, offset = (path / _POSITION).read_bytes().split()
    except (OSError, ValueError):
        return "", 0  # none, or one that cannot be read
    if crc != b"%08x" % zlib.crc32(name + offset) or not offset.isdigit():
        return "", 0  # torn: deliver everything again rather than skip something
    return name.decode("latin-1"), int(offset)


def _write_position(path: Path, place: tuple[str, int]) -> None:
    """One write over the old one. Torn by a crash it is recognised, and everything there is delivered again."""
    name, offset = place[0].encode("ascii"), b"%016d" % place[1]
    fd = os.open(path / _POSITION, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, b"%08x %b %b\n" % (zlib.crc32(name + offset), name.ljust(64), offset), 0)
    finally:
        os.close(fd)
