"""Where log lines go: a bounded buffer before a file or pipe that may be slow, full or gone.

A line is never worth a request: what cannot be written without waiting stays in the buffer, and when that is full, new
lines are dropped and counted. Lines leave whole and in order, so that several processes can share one pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Final

BUFFER_LIMIT: Final = 4 << 20
"""Bytes held for a destination that takes nothing: about 10,000 lines, some seconds of full load."""

FLUSH_AT: Final = 64 << 10
"""Bytes after which the buffer is written without waiting for the tick: one write for some 150 lines."""

ATOMIC: Final = select.PIPE_BUF
"""A pipe that polls writable takes this much at once, without waiting and without mixing with other writers."""


class Sink:
    """A destination for lines: `stdout`, `stderr` or the path of a file, which is opened to append with mode 0600.

    Raises OSError when the file cannot be opened; after that nothing raises. `dropped` counts lines that were lost.
    """

    def __init__(self, destination: str, limit: int = BUFFER_LIMIT) -> None:
        self.dropped = 0
        self._destination = destination
        self._limit = limit
        self._buffer = bytearray()
        self._writing = threading.Lock()
        self._open()

    def _open(self) -> None:
        self._owned = self._destination not in ("stdout", "stderr")
        if self._owned:
            self._fd = os.open(Path(self._destination), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        else:
            self._fd = 2 if self._destination == "stderr" else sys.__stdout__.fileno() if sys.__stdout__ else 1
        self._is_file = stat.S_ISREG(os.fstat(self._fd).st_mode)

    def append(self, line: bytes) -> None:
        """Take one line, its newline included. Nothing is written before the buffer has FLUSH_AT bytes."""
        buffer = self._buffer
        if len(buffer) + len(line) > self._limit:
            self.dropped += 1
            return
        buffer += line
        if len(buffer) >= FLUSH_AT:
            self.flush()

    write = append  # with flush, what structlog's BytesLogger asks of a file

    def flush(self) -> None:
        """Write what can be written now without waiting. While another thread does that, nothing."""
        if self._writing.acquire(blocking=False):
            try:
                self._write_out()
            except OSError:  # closed pipe, full disk: the lines wait for better times, within the limit
                pass
            finally:
                self._writing.release()

    def _write_out(self) -> None:
        while self._buffer and (self._is_file or self._takes_more(0)):
            piece = self._piece()
            written = os.write(self._fd, piece)
            del self._buffer[:written]
            if written < len(piece):
                return

    def _takes_more(self, wait: float) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(wait * 1000))

    def _piece(self) -> bytes:
        """Return the next bytes to write: all for a file, else whole lines that a pipe takes at once."""
        if self._is_file or len(self._buffer) <= ATOMIC:
            return bytes(self._buffer)
        end = self._buffer.rfind(b"\n", 0, ATOMIC) + 1
        return bytes(self._buffer[: end or ATOMIC])

    def reopen(self) -> None:
        """Open the file again by its name, after it was rotated away. When that fails the old one stays in use."""
        self.flush()
        if self._owned:
            old = self._fd
            with contextlib.suppress(OSError):
                self._open()
                os.close(old)

    def close(self, wait: float = 1.0) -> None:
        """Write the rest, for at most `wait` seconds; what is left then is dropped and counted."""
        deadline = time.monotonic() + wait
        self.flush()
        while self._buffer and not self._is_file and (left := deadline - time.monotonic()) > 0:
            before = len(self._buffer)
            if not self._takes_more(left):
                break
            self.flush()
            if len(self._buffer) == before:  # writable, yet it took nothing: the other end is gone
                break
        self.dropped += self._buffer.count(b"\n")
        self._buffer.clear()
        self._limit = -1  # what comes after the end is dropped: the descriptor's number may be another file's by then
        if self._owned:
            with contextlib.suppress(OSError):
                os.close(self._fd)
