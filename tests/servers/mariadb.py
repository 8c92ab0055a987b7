"""A real MariaDB server, from Debian's mariadb-server package."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from typing import Any, Final

import aiomysql

from tests.servers import process

PASSWORD: Final = "maria"
USER: Final = "tester"

_ON_NO_DISK: Final = ("--innodb-flush-method=nosync", "--innodb-doublewrite=0", "--innodb-log-file-size=8M")
"""What is killed is the process, not the machine: nothing has to reach the disk, and a slow one holds nobody up."""

_PLACES: Final = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


class MariadbServer:
    """One server with its own data, on a TCP port of loopback and on a unix socket. `tester` may do everything."""

    def __init__(self, program: str, directory: pathlib.Path) -> None:
        self.directory = directory
        self.socket = directory / "mariadb.sock"
        self.port = process.free_port()
        self._process = process.ServerProcess(
            [
                *(program, "--no-defaults", f"--datadir={directory / 'data'}", f"--socket={self.socket}", *_as_root()),
                *(f"--port={self.port}", "--bind-address=127.0.0.1", f"--init-file={directory / 'init.sql'}"),
                *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=64M", "--skip-name-resolve", *_ON_NO_DISK),
                *("--default-time-zone=+00:00", f"--pid-file={directory / 'pid'}", f"--tmpdir={directory}"),
            ],
            directory=directory,
            ready=self._is_ready,
        )

    def start(self) -> None:
        self._process.start()

    def stop(self) -> None:
        self._process.stop()

    def kill(self) -> None:
        self._process.kill()

    def freeze(self) -> None:
        self._process.freeze()

    def thaw(self) -> None:
        self._process.thaw()

    def restart(self) -> None:
        self._process.restart()

    def dsn(self, database: str = "mysql", *, user: str = USER, password: str = PASSWORD) -> str:
        """mysql://USER:PASSWORD@127.0.0.1:PORT/DATABASE."""
        who = f"{urllib.parse.quote(user, safe='')}:{urllib.parse.quote(password, safe='')}"
        return f"mysql://{who}@127.0.0.1:{self.port}/{database}"

    async def connect(self, database: str | None = None, **more: Any) -> aiomysql.Connection:
        return await aiomysql.connect(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, db=database, autocommit=True, **more
        )

    async def create_database(self, prefix: str = "db") -> str:
        """A fresh, empty database; its name is returned."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        await self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return name

    async def drop_database(self, name: str) -> None:
        await self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    async def _execute(self, statement: str) -> None:
        connection = await self.connect()
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
        finally:
            connection.close()

    def _is_ready(self) -> bool:
        return self.socket.exists() and process.accepts(socket.AF_UNIX, str(self.socket))


@contextlib.contextmanager
def mariadb_server() -> Iterator[MariadbServer]:
    """A running server of its own; takes about two seconds."""
    program, install = (shutil.which(name, path=_PLACES) for name in ("mariadbd", "mariadb-install-db"))
    if program is None or install is None:
        process.missing("Debian's mariadb-server is not installed")
    with process.room() as directory:
        done = subprocess.run(
            [
                *(install, "--no-defaults", f"--datadir={directory / 'data'}", "--skip-test-db", *_as_root()),
                *("--auth-root-authentication-method=normal", *_ON_NO_DISK),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise process.ServerFailedError(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
        (directory / "init.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL PRIVILEGES ON *.* TO '{USER}'@'%' WITH GRANT OPTION;\n"
        )
        server = MariadbServer(program, directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _as_root() -> list[str]:
    return [] if os.geteuid() else ["--user=root"]
