"""Finds spool directories whose process is dead, takes them over, and removes them when they are shipped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from proxy.evidence.spool import LOCK, UNNAMED
from proxy.evidence.tail import Tail, segments

STILLBORN_SECONDS: Final = 60.0
"""A directory that is hidden for longer than this belongs to a process that died while it made or removed it; it holds nothing
that is not shipped."""


class Leftover:
    """A dead process's spool, held by its lock."""

    def __init__(self, path: Path, lock: int) -> None:
        self._lock = lock
        self.tail = Tail(path, living=False)

    def remove(self) -> None:
        """Everything is shipped: remove it and let go. It loses its name first: of what is left when this is cut off,
        nothing is shipped or shown once more."""
        gone = self.tail.path.with_name(f"{UNNAMED}{self.tail.path.name}")
        with contextlib.suppress(OSError):
            self.tail.path.rename(gone)
        for path in (gone, self.tail.path):
            shutil.rmtree(path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let go; another process may take it."""
        os.close(self._lock)


def adopt(root: Path, own: Path, but: Collection[Path] = ()) -> Leftover | None:
    """Take over one directory whose lock is free, and that is none of `but`; None when there is none."""
    for path in directories(root):
        if path != own and path not in but and (lock := _lock(path)) is not None:
            return Leftover(path, lock)
    return None


def sweep(root: Path, now: float) -> None:
    """Remove what a process left that died before its spool had a name, or after. `now` in epoch seconds."""
    for path in root.glob(f"{UNNAMED}*"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > STILLBORN_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def size(root: Path, own: Path) -> int:
    """Octets in the spools of dead processes. Those of living ones have their own bound."""
    total = 0
    for path in directories(root):
        if path == own or (lock := _lock(path)) is None:
            continue
        try:
            total += octets(path)
        finally:
            os.close(lock)
    return total


def octets(path: Path) -> int:
    """Octets in the segments of a spool directory."""
    total = 0
    for name in segments(path):
        with contextlib.suppress(FileNotFoundError):
            total += (path / name).stat().st_size
    return total


def directories(root: Path) -> Iterator[Path]:
    """All spool directories, of the living and the dead, oldest start first."""
    if not root.is_dir():
        return
    found = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    yield from sorted(found, key=lambda path: path.name.rpartition(".")[2])


def is_served(root: Path) -> bool:
    """Tell whether a living process has its spool here. OSError where this user may not look."""
    for path in directories(root):
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(fd)
    return False


def age(path: Path) -> float:
    """Seconds since the oldest segment was last written, 0 without one."""
    for name in segments(path):
        with contextlib.suppress(FileNotFoundError):
            return max(0.0, time.time() - (path / name).stat().st_mtime)
    return 0.0


def _lock(path: Path) -> int | None:
    """Lock a directory if nobody has it. It may vanish while we look: then somebody else was faster."""
    try:
        fd = os.open(path / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = os.path.samestat(os.fstat(fd), (path / LOCK).stat())
    except OSError:
        same = False
    if not same:
        os.close(fd)
        return None
    return fd
