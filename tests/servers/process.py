"""A server process of a test: it ends with the test run whatever happens, and can be killed or frozen on purpose.

Nothing here knows which server it is. Directories are short, because a unix socket's path must be.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NoReturn

import psutil
import pytest

READY_SECONDS: Final = 60.0
"""For a server to answer on a machine that is busy with other tests."""

STOP_SECONDS: Final = 10.0
"""For a server to end when asked to; afterwards it is killed."""

_LAUNCH: Final = """
import ctypes, os, sys
parent, death, uid, gid = map(int, sys.argv[1:5])
if uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, death)  # PR_SET_PDEATHSIG, after setuid, which resets it
if os.getppid() != parent:
    sys.exit("the test run is gone")
os.execv(sys.argv[5], sys.argv[5:])
"""


class ServerFailedError(Exception):
    """A server did not start; the message holds the end of its log."""


def missing(reason: str) -> NoReturn:
    """A program that the test needs is not here: a failure in CI, a skip on a developer's machine."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port that was free on loopback a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def room(uid: int = 0, gid: int = 0) -> Iterator[pathlib.Path]:
    """A directory with a short name, private to `uid` (0: to us), removed at the end."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sw-", dir="/tmp"))
    try:
        if uid:
            os.chown(path, uid, gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def unprivileged() -> tuple[int, int]:
    """User and group for a server that refuses to run as root; zeros when we are not root ourselves."""
    if os.geteuid():
        return 0, 0
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


class ServerProcess:
    """One program, started with a fixed command line as often as a test likes."""

    def __init__(
        self,
        command: Sequence[str | pathlib.Path],
        *,
        directory: pathlib.Path,
        ready: Callable[[], bool],
        owner: tuple[int, int] = (0, 0),
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.command = [str(part) for part in command]
        self.directory = directory
        self.log = directory / "server.log"
        self._ready = ready
        self._owner = owner
        self._stop_signal = stop_signal
        self._death_signal = death_signal
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until the server answers."""
        assert not self.running(), "already running"
        arguments = (os.getpid(), int(self._death_signal), *self._owner)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _LAUNCH, *map(str, arguments), *self.command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if not self.running() or time.monotonic() > deadline:
                self.kill()
                end = self.log.read_text(errors="replace")[-2000:]
                raise ServerFailedError(f"{self.command[0]} did not become ready:\n{end}")
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask the server to end, as an operator would."""
        if self._process is None:
            return
        if self.running():
            self.thaw()
            self._process.send_signal(self._stop_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """kill -9 to the server and all its children."""
        if self._process is None:
            return
        everyone = self._tree()
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(everyone, STOP_SECONDS)

    def restart(self) -> None:
        """Stop in order, and start on the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. New ones are taken by the kernel alone."""
        everyone = self._tree()
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        while not all(_stands_still(process.pid) for process in everyone):  # a thread on another core goes on for a moment
            time.sleep(0.001)

    def thaw(self) -> None:
        for process in reversed(self._tree()):
            with contextlib.suppress(psutil.NoSuchProcess):  # a child ends whenever it likes
                process.resume()

    def _tree(self) -> list[psutil.Process]:
        assert self._process is not None, "not started"
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def _stands_still(pid: int) -> bool:
    """Every thread of the process is stopped, or it is gone."""
    try:
        return all(_state(task) in "TtZX" for task in pathlib.Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return not pathlib.Path(f"/proc/{pid}").exists()


def _state(task: pathlib.Path) -> str:
    return (task / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def accepts(family: socket.AddressFamily, address: str | tuple[str, int]) -> bool:
    """Somebody listens there."""
    with socket.socket(family) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True
