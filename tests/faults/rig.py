"""The wired program with real servers around it, and a relay on every way between them, so that each can be made to fail.

load -> relay -> proxy -> relay -> backend
                   |----> relay -> PostgreSQL primary --streaming--> replica <- relay <- proxy
                   '----> relay -> Valkey
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import os
import pathlib
import platform
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import asyncpg
import redis

from tests.end_to_end.running import Proxy, get
from tests.faults.load import Load
from tests.faults.relay import Relay
from tests.servers.postgres import Installation, PostgresServer, installation
from tests.servers.process import ServerProcess, accepts, free_port, missing, room
from tests.servers.valkey import StoreServer, engine
from tests.sources.doorkeeper_tables import MODERN

STALE_GRACE: Final = 2.0
FRESH_FOR: Final = 2.0
"""As configured below, in seconds: a revocation is enforced within FRESH_FOR, and with the source away STALE_GRACE later."""

NEVER_SEEN: Final = 4_000
"""Tokens that lie in the table and are used in turn: in a run of the matrix once each."""

VALID: Final = 12
REVOKED: Final = 4

_SETTINGS: Final = """
[source]
kind = "doorkeeper_postgres"
dsn = "{primary}"
replica_dsn = "{replica}"
query_timeout = 0.5
connect_timeout = 1
surroundings_timeout = 0.5
[fresh]
fresh_for = {fresh_for}
stale_grace = {stale_grace}
[store]
url = "{store}"
[evidence]
reread_after = [1]
flood_threshold = 1000000
"""

_ENVIRON: Final = {
    "SCIM_WITNESS_UPSTREAM__CONNECT_TIMEOUT": "1",
    "SCIM_WITNESS_UPSTREAM__HEAD_TIMEOUT": "2",
    "SCIM_WITNESS_UPSTREAM__QUEUE_TIMEOUT": "1",
}
FAKETIME: Final = pathlib.Path(f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketime.so.1")
ROLE: Final = "witness"
PASSWORD: Final = "witness-password"

_STATE_MIB: Final = 24
_STORE_MIB: Final = 48
"""Of the tmpfs below the proxy's state and below the store's data: a full disk for one must be none for the other."""


class Rig:
    """All parts, running. Everything that blocks is done in a thread, so that the load goes on meanwhile."""

    def __init__(self, primary: PostgresServer, replica: PostgresServer, store: StoreServer, backend: ServerProcess) -> None:
        self.primary = primary
        self.replica = replica
        self.store = store
        self.backend = backend
        self.proxy: Proxy
        self.to_primary: Relay
        self.to_replica: Relay
        self.to_store: Relay
        self.to_backend: Relay
        self.to_proxy: Relay
        self.disks: dict[str, pathlib.Path] = {}
        self.environ: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        self.clock = primary.directory / "clock"  # where the server's user may read it
        self.never_seen = (f"never-seen-{number % NEVER_SEEN + 1}" for number in itertools.count())
        self._names = itertools.count(1)
        self._command = [*primary._process.command]

    def new_load(self, patience: float) -> Load:
        """A load with tokens that every earlier one left as they were."""
        return Load(
            f"http://127.0.0.1:{self.to_proxy.port}",
            [f"valid-{number}" for number in range(1, VALID + 1)],
            [f"revoked-{number}" for number in range(1, REVOKED + 1)],
            self.never_seen,
            patience,
        )

    async def start_proxy(self) -> None:
        """Start the proxy, and send the relay there."""
        await asyncio.to_thread(self.proxy.start, self.settings | self.environ)
        self.to_proxy.to = int(self.proxy.data.rpartition(":")[2])

    @contextlib.asynccontextmanager
    async def faked_clock(self, part: str) -> AsyncIterator[None]:
        """The proxy or the primary runs under libfaketime, by the clock that stands in `self.clock`."""
        if not FAKETIME.exists():
            missing("Debian's faketime is not installed")
        self.clock.write_text("+0")
        faked = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        restart = self._restart_proxy if part == "proxy" else self._restart_primary
        await restart(faked)
        try:
            yield
        finally:
            await restart({})

    async def until_offset(self, seconds: float) -> None:
        """Wait until the proxy itself finds that the source's clock is ahead of its own by so much: the jump has happened."""
        deadline = time.monotonic() + 30
        while abs(await self._offset() - seconds) > 60:
            assert time.monotonic() < deadline, "the clock did not jump"
            await asyncio.sleep(0.05)

    async def _offset(self) -> float:
        _, _, text = await get(f"{self.proxy.ops}/metrics")
        lines = [line for line in text.decode().splitlines() if line.startswith("scim_witness_clock_offset_seconds{")]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    async def _restart_primary(self, environ: dict[str, str]) -> None:
        await asyncio.to_thread(self.primary.stop)
        # by env(1), when the user is the server's: what libfaketime makes as root nobody else may open
        of_server = self.primary._process
        of_server.command = [*self._command]
        if environ:
            of_server.command = ["/usr/bin/env", *(f"{name}={value}" for name, value in environ.items()), *self._command]
        await asyncio.to_thread(self.primary.start)

    async def _restart_proxy(self, environ: dict[str, str]) -> None:
        await asyncio.to_thread(self.proxy.stop)
        self.environ = environ
        await self.start_proxy()

    async def sql(self, statement: str, *parameters: object) -> list[Any]:
        """Ask the primary, past its relay."""
        connection = await asyncpg.connect(self.primary.dsn("faults"))
        try:
            return list(await connection.fetch(statement, *parameters))
        finally:
            await connection.close()

    async def a_new_token(self) -> str:
        """A token that is good from now on and lives for half an hour: no clock that jumps by an hour may end it."""
        token = f"new-{next(self._names)}-{secrets.token_hex(6)}"
        await self.sql(
            "INSERT INTO oauth_access_tokens (token, application_id, created_at, expires_in) VALUES ($1, 1, $2, 1800)",
            token,
            _now(),
        )
        return token

    async def revoke(self, load: Load, token: str) -> None:
        """Revoke as Doorkeeper does."""
        load.revoking(token)
        await self.sql("UPDATE oauth_access_tokens SET revoked_at = $2 WHERE token = $1", token, _now())
        load.revoke(token)

    async def stored(self) -> dict[str, int]:
        """Every incident in the store, and how often it is there."""
        return await asyncio.to_thread(self._stored)

    def _stored(self) -> dict[str, int]:
        client = redis.Redis.from_url(self.store.unix_url, socket_timeout=5)
        found: dict[str, int] = {}
        with contextlib.closing(client):
            for key in client.scan_iter("sw:*:inc", count=1000):
                if client.type(key) == b"stream":
                    entries: Any = client.xrange(key)
                    for _, fields in entries:
                        name = fields[b"i"].decode()
                        found[name] = found.get(name, 0) + 1
        return found

    async def until_stored(self, wanted: set[str], seconds: float) -> tuple[set[str], int]:
        """Wait until the store has them all; what is missing in the end, and how many are there more than once."""
        deadline = time.monotonic() + seconds
        while True:
            found: dict[str, int] = {}
            with contextlib.suppress(redis.RedisError):
                found = await self.stored()
            missing = wanted - set(found)
            if not missing or time.monotonic() > deadline:
                return missing, sum(found.get(one, 0) > 1 for one in wanted)
            await asyncio.sleep(0.1)


def _now() -> dt.datetime:
    """As Doorkeeper writes it: by the application's clock, in UTC."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


@contextlib.contextmanager
def tmpfs(directory: pathlib.Path, mebibytes: int) -> Iterator[None]:
    """A disk of its own, where we may mount one; else nothing, and the cells that need one say so."""
    if os.geteuid():
        yield
        return
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "tmpfs", directory], check=False)
    try:
        yield
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", directory], check=True)


async def _fill(primary: PostgresServer) -> None:
    await primary._execute('CREATE DATABASE "faults"')
    connection = await asyncpg.connect(primary.dsn("faults"))
    await connection.execute(MODERN)
    await connection.execute("INSERT INTO oauth_applications (name, uid, secret) VALUES ('acme', 'uid-acme', 's')")
    insert = """INSERT INTO oauth_access_tokens (token, application_id, created_at, expires_in, revoked_at)
        SELECT '{name}-' || n, 1, (now() AT TIME ZONE 'utc') - interval '1 day', 315360000, {revoked}
        FROM generate_series(1, {count}) n"""
    for name, count, revoked in (
        ("valid", VALID, "NULL"),
        ("never-seen", NEVER_SEEN, "NULL"),
        ("revoked", REVOKED, "(now() AT TIME ZONE 'utc') - interval '1 hour'"),
    ):
        await connection.execute(insert.format(name=name, count=count, revoked=revoked))
    await connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
    await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {ROLE}")
    await connection.close()


def _backend(stack: contextlib.ExitStack) -> tuple[ServerProcess, int]:
    port = free_port()

    def ready() -> bool:
        return accepts(socket.AF_INET, ("127.0.0.1", port))

    directory = stack.enter_context(room())
    command = [sys.executable, str(pathlib.Path(__file__).with_name("backend.py")), str(port)]
    backend = ServerProcess(command, directory=directory, ready=ready)
    backend.start()
    stack.callback(backend.kill)
    return backend, port


def _servers(stack: contextlib.ExitStack) -> tuple[PostgresServer, Installation]:
    install = stack.enter_context(installation())
    return stack.enter_context(install.server()), install


@contextlib.asynccontextmanager
async def running_rig(environ: Mapping[str, str] = MappingProxyType({}), *, small_disks: bool = True) -> AsyncIterator[Rig]:
    """Build everything; some five seconds. `environ` holds further settings of the proxy."""
    async with contextlib.AsyncExitStack() as relays:
        stack = relays.enter_context(contextlib.ExitStack())
        primary, install = _servers(stack)
        await _fill(primary)
        replica = stack.enter_context(install.replica(primary))
        store_directory = stack.enter_context(room())
        if small_disks:
            stack.enter_context(tmpfs(store_directory, _STORE_MIB))
        store = StoreServer(engine("bundled"), store_directory, tcp=True, arguments=("--appendfsync", "everysec"))
        store.start()
        stack.callback(store.kill)
        backend, backend_port = _backend(stack)
        rig = Rig(primary, replica, store, backend)
        rig.settings = {**_ENVIRON, **environ}
        ports = (primary.port, replica.port, store.port, backend_port, 0)
        ways = [await relays.enter_async_context(Relay(port)) for port in ports]
        rig.to_primary, rig.to_replica, rig.to_store, rig.to_backend, rig.to_proxy = ways
        directory = stack.enter_context(room())
        (directory / "state").mkdir()
        if small_disks:
            stack.enter_context(tmpfs(directory / "state", _STATE_MIB))
        rig.disks = {"proxy": directory / "state", "store": store_directory}
        settings = _SETTINGS.format(
            primary=_through(primary, rig.to_primary),
            replica=_through(replica, rig.to_replica),
            store=f"redis://127.0.0.1:{rig.to_store.port}",
            fresh_for=FRESH_FOR,
            stale_grace=STALE_GRACE,
        )
        rig.proxy = Proxy(directory, f"http://127.0.0.1:{rig.to_backend.port}", settings)
        await rig.start_proxy()
        stack.callback(_end, rig.proxy)
        yield rig


def _through(server: PostgresServer, relay: Relay) -> str:
    return server.dsn("faults", user=ROLE, password=PASSWORD, tcp=True).replace(f":{server.port}/", f":{relay.port}/")


def _end(proxy: Proxy) -> None:
    with contextlib.suppress(Exception):
        proxy.kill()
