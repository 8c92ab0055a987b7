"""The spool: where a record lies before its 401 leaves, so that nothing that happens afterwards can lose it.

`append` is one write(2) of one line to an open file: kill -9 right after it loses nothing (the page cache outlives the
process; with `fsync` also a power cut). The files are read by `tail.py` and shipped by `shipper.py`.

Every Spool has a directory of its own below the common one, named after its instance and start, locked for as long as its
process lives. What a dead process left there is adopted by any living one (`leftovers.py`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from pathlib import Path
from typing import Final

from proxy.evidence import segment

RECORD_LIMIT: Final = 1 << 20
"""Octets of one record: an incident with the fullest history stays below 64 KiB; more is a fault of ours."""

RESERVE_BYTES: Final = 1 << 20
"""Held back on the disk, given up when it is full: room for some 500 more incidents while somebody comes to help."""

LOCK: Final = "lock"
RESERVE: Final = "reserve"
SEGMENT_SUFFIX: Final = ".seg"
UNNAMED: Final = ".new-"
"""Begins the name of a directory that is being made, or removed."""

_INSTANCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class SpoolError(Exception):
    """The record is not on disk. The caller answers 503 and says so."""


class SpoolFull(SpoolError):  # noqa: N818 - a state of the spool that callers name
    """The record is not on disk because there is no room: the spool's own bound, or the disk."""


class Spool:
    """Append-only segment files of one process. Synchronous; not for several threads."""

    def __init__(self, directory: Path, segment_bytes: int, total_bytes: int, instance: str, *, fsync: bool = False) -> None:
        """Take a directory of its own. SpoolError when it cannot be had. `total_bytes` bounds what waits to be shipped."""
        if not _INSTANCE.fullmatch(instance):
            raise ValueError(f"instance {instance!r} must be letters, digits and _ . - only")
        self._segment_bytes = min(segment_bytes, total_bytes // 4)  # a segment is freed as a whole
        self._total_bytes = total_bytes
        self._fsync = fsync
        self._sequence = 0
        self._previous = segment.GENESIS
        self._fd = -1
        self._size = 0
        self._torn = False
        self._segments = 0
        self.held = 0
        self.elsewhere = 0
        self.reserve_spent = False
        self.root = directory
        try:
            self.path, self._lock = _claim(directory, instance)
        except OSError as error:
            raise SpoolError(f"spool directory {directory}: {error.strerror}") from error
        self.rearm()

    @property
    def chain(self) -> str:
        """The name of this hash chain: instance and start."""
        return self.path.name

    @property
    def appended(self) -> int:
        """How many records were written: the sequence number of the last one."""
        return self._sequence

    @property
    def octets(self) -> int:
        """Octets that wait to be shipped: our own, and those of dead processes, which share the bound."""
        return self.held + self.elsewhere

    def append(self, record: bytes) -> None:
        """Put one record on disk, whole or not at all. SpoolFull or SpoolError when it is not there."""
        line, digest = segment.encode(self._sequence + 1, self._previous, record)
        if len(line) > RECORD_LIMIT:
            raise SpoolError(f"a record of {len(line)} octets is larger than {RECORD_LIMIT}")
        if self.held + self.elsewhere + len(line) > self._total_bytes:
            raise SpoolFull(f"the spool holds its {self._total_bytes} octets; the store has not taken them")
        try:
            self._put(line)
        except OSError as error:
            if error.errno not in _FULL or not self._spend_reserve():
                raise _refusal(error) from error
            try:
                self._put(line)
            except OSError as again:
                raise _refusal(again) from again
        self._sequence += 1
        self._previous = digest

    def release(self, octets: int) -> None:
        """A segment of this many octets was shipped and removed."""
        self.held = max(0, self.held - octets)
        if self.reserve_spent:
            self.rearm()

    def close(self) -> None:
        """Let go of the files. What is not shipped yet is adopted by the next process."""
        for fd in (self._fd, self._lock):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock = -1

    def _put(self, line: bytes) -> None:
        if self._fd < 0 or self._torn or self._size >= self._segment_bytes:
            self._rotate()
        try:
            written = os.write(self._fd, line)
            if self._fsync and written == len(line):
                os.fdatasync(self._fd)
        except OSError:
            self._cut_back()
            raise
        if written != len(line):
            self._cut_back()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(line)
        self.held += len(line)

    def _cut_back(self) -> None:
        """Remove what a failed write left behind, so that the file ends with a whole line; else use it no more."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._torn = True

    def _rotate(self) -> None:
        """Begin a segment. Names are in the order of the segments."""
        name = self.path / f"{self._segments + 1:016d}{SEGMENT_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size, self._torn = fd, 0, False
        self._segments += 1

    def rearm(self) -> None:
        """Hold room back on the disk again; `reserve_spent` tells whether there was any."""
        reserve = self.path / RESERVE
        try:
            fd = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self.reserve_spent = True
            return
        try:
            os.posix_fallocate(fd, 0, RESERVE_BYTES)
            self.reserve_spent = False
        except OSError:
            reserve.unlink(missing_ok=True)
            self.reserve_spent = True
        finally:
            os.close(fd)

    def _spend_reserve(self) -> bool:
        if self.reserve_spent:
            return False
        self.reserve_spent = True
        with contextlib.suppress(OSError):
            (self.path / RESERVE).unlink()
        return True


def _refusal(error: OSError) -> SpoolError:
    kind = SpoolFull if error.errno in _FULL else SpoolError
    return kind(f"spool: {error.strerror or error}")


def _claim(directory: Path, instance: str) -> tuple[Path, int]:
    """Make a directory that is ours from the moment at which others can see it: it gets its name when it is locked."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(100):
        name = f"{instance}.{time.time_ns() // 1000:014x}"
        hidden, path = directory / f"{UNNAMED}{name}", directory / name
        try:
            hidden.mkdir(mode=0o700)
        except FileExistsError:
            continue
        fd = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(path)
        return path, fd
    raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
