"""Every fault of every part: how it is made, and how it is mended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import msgspec
import pytest
import redis

from tests.faults.load import PATIENCE, Load
from tests.faults.relay import Relay, Way
from tests.faults.rig import FRESH_FOR, ROLE, STALE_GRACE, Rig
from tests.servers.process import missing

FRESH: Final = FRESH_FOR + 0.5
"""Seconds after its revocation for which a token may be let through with the source up: fresh_for, and half a second for a
busy machine between the client's clock and the proxy's."""
STALE: Final = FRESH_FOR + STALE_GRACE + 0.5
"""The same with the source away."""

Inject = Callable[[Rig, Load], AbstractAsyncContextManager[None]]


class Cell(msgspec.Struct, frozen=True):
    """One fault of one part. `hold` and `bound` in seconds; `cuts`: clients may lose connections; `patience` of the clients."""

    part: str
    fault: str
    inject: Inject
    hold: float = 2.0
    bound: float = FRESH
    cuts: bool = False
    hangs: bool = False
    patience: float = PATIENCE
    faked_clock: str = ""


CELLS: Final[list[Cell]] = []


def cell(
    part: str,
    fault: str,
    *,
    hold: float = 2.0,
    bound: float = FRESH,
    cuts: bool = False,
    hangs: bool = False,
    patience: float = PATIENCE,
    faked_clock: str = "",
) -> Callable[[Callable[[Rig, Load], AsyncIterator[None]]], None]:
    """Put a fault into the table."""

    def add(inject: Callable[[Rig, Load], AsyncIterator[None]]) -> None:
        CELLS.append(Cell(part, fault, contextlib.asynccontextmanager(inject), hold, bound, cuts, hangs, patience, faked_clock))

    return add


def _process(part: str, of: Callable[[Rig], object], bound: float = FRESH) -> None:
    """A server that is killed, and one that is frozen."""

    @cell(part, "killed", bound=bound)
    async def _killed(rig: Rig, load: Load) -> AsyncIterator[None]:
        server = of(rig)
        await asyncio.to_thread(server.kill)  # type: ignore[attr-defined]
        yield
        await asyncio.to_thread(server.start)  # type: ignore[attr-defined]

    @cell(part, "hung", bound=bound, hold=2.5)
    async def _hung(rig: Rig, load: Load) -> AsyncIterator[None]:
        server = of(rig)
        await asyncio.to_thread(server.freeze)  # type: ignore[attr-defined]
        yield
        await asyncio.to_thread(server.thaw)  # type: ignore[attr-defined]


def _way(part: str, of: Callable[[Rig], Relay], bound: float = FRESH, *, cuts: bool = False) -> None:
    """A bad way to a part."""

    def add(fault: str, way: Way, hold: float = 2.0, patience: float = PATIENCE) -> None:
        hangs = cuts and way is Way.HALF_OPEN

        @cell(part, fault, bound=bound, hold=hold, cuts=cuts, hangs=hangs, patience=patience)
        async def _turned(rig: Rig, load: Load) -> AsyncIterator[None]:
            relay = of(rig)
            relay.turn(way)
            yield
            relay.turn(Way.PASS)

    add("slow", Way.SLOW)
    add("reset", Way.RESET)
    # long enough for a token that is revoked meanwhile to be refused within it; the clients of a dead network give up early
    add("half-open", Way.HALF_OPEN, 5.5 if bound > FRESH else 2.5, 2.0 if cuts else PATIENCE)
    add("wrong answer", Way.GARBLE)


_process("source primary", lambda rig: rig.primary, STALE)
_way("source primary", lambda rig: rig.to_primary, STALE)
_process("source replica", lambda rig: rig.replica)
_way("source replica", lambda rig: rig.to_replica)
_process("store", lambda rig: rig.store)
_way("store", lambda rig: rig.to_store)
_process("backend", lambda rig: rig.backend)
_way("backend", lambda rig: rig.to_backend)
_way("network", lambda rig: rig.to_proxy, cuts=True)


@cell("source primary", "out of descriptors", bound=STALE)
async def _no_connection_to_spare(rig: Rig, load: Load) -> AsyncIterator[None]:
    """Every session of ours ends and no new one is granted: 53300, as from a pool that is exhausted."""
    await rig.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT 0")
    await rig.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", ROLE)
    yield
    await rig.sql(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@contextlib.contextmanager
def _asking(rig: Rig) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(rig.store.unix_url, socket_timeout=5, single_connection_client=True)
    try:
        yield client
    finally:
        client.close()


@cell("store", "full disk")
async def _store_full(rig: Rig, load: Load) -> AsyncIterator[None]:
    """The append-only file cannot grow: writes are answered MISCONF."""
    with _filled(rig.disks["store"]):
        yield


@cell("store", "read-only disk")
async def _store_read_only(rig: Rig, load: Load) -> AsyncIterator[None]:
    """Demoted to a replica of nobody's, as after a failover that the proxy did not notice: READONLY."""
    with _asking(rig) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        yield
        client.execute_command("REPLICAOF", "NO", "ONE")


@cell("store", "out of descriptors")
async def _store_without_clients(rig: Rig, load: Load) -> AsyncIterator[None]:
    """It turns everybody away but us."""
    with _asking(rig) as client:
        client.execute_command("CONFIG", "SET", "maxclients", "1")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield
        client.execute_command("CONFIG", "SET", "maxclients", "10000")


@cell("backend", "out of descriptors", hold=3)
async def _backend_accepts_no_more(rig: Rig, load: Load) -> AsyncIterator[None]:
    with _descriptors(rig.backend.pid, 3):
        rig.to_backend.reset()
        yield


@cell("disk", "full disk", hold=1)
async def _disk_full(rig: Rig, load: Load) -> AsyncIterator[None]:
    """And full again, once the room that was held in reserve is used up too."""
    with _filled(rig.disks["proxy"]):
        yield
        with _filled(rig.disks["proxy"], "fills-the-reserve"):
            await asyncio.sleep(1)


@cell("disk", "read-only disk")
async def _disk_read_only(rig: Rig, load: Load) -> AsyncIterator[None]:
    """Every write to the spool is answered EROFS, as after an error that remounts a file system read-only."""
    async with _tampered(rig, "error=EROFS"):
        yield


@cell("disk", "slow")
async def _disk_slow(rig: Rig, load: Load) -> AsyncIterator[None]:
    async with _tampered(rig, "delay_enter=20000"):
        yield


@cell("worker", "killed", cuts=True)
async def _worker_killed(rig: Rig, load: Load) -> AsyncIterator[None]:
    await asyncio.to_thread(rig.proxy.kill)
    yield
    await rig.start_proxy()


@cell("worker", "hung", cuts=True)
async def _worker_hung(rig: Rig, load: Load) -> AsyncIterator[None]:
    os.kill(rig.proxy.pid, signal.SIGSTOP)
    yield
    os.kill(rig.proxy.pid, signal.SIGCONT)


@cell("worker", "out of descriptors", cuts=True)
async def _worker_out_of_descriptors(rig: Rig, load: Load) -> AsyncIterator[None]:
    """All are taken by clients that connect and say nothing."""
    pid = rig.proxy.pid
    numbers = [int(name.name) for name in pathlib.Path(f"/proc/{pid}/fd").iterdir()]
    with _descriptors(pid, max(numbers) + 4), contextlib.ExitStack() as stack:
        for _ in range(60):
            client = stack.enter_context(socket.socket())
            client.connect(("127.0.0.1", rig.to_proxy.to))
        yield


def _clock(fault: str, shift: str) -> None:
    async def jump(rig: Rig, offset: float) -> AsyncIterator[None]:
        rig.clock.write_text(shift)
        await rig.until_offset(offset)
        yield
        rig.clock.write_text("+0")
        await rig.until_offset(0)

    @cell("clock", fault, faked_clock="proxy")
    async def _ours(rig: Rig, load: Load) -> AsyncIterator[None]:
        async for _ in jump(rig, -float(shift)):
            yield

    @cell("source primary", fault, faked_clock="primary")
    async def _the_source_s(rig: Rig, load: Load) -> AsyncIterator[None]:
        async for _ in jump(rig, float(shift)):
            yield


_clock("jump of an hour", "+3600")
_clock("jump back an hour", "-3600")


@contextlib.contextmanager
def _filled(disk: pathlib.Path, name: str = "fills-the-disk") -> Iterator[None]:
    if not disk.is_mount():
        missing("only root can mount a small disk to fill")
    rest = disk / name
    # Unbuffered: what a buffer could not write, close() would try once more, and raise what is expected here.
    with rest.open("wb", buffering=0) as file:
        try:
            with pytest.raises(OSError, match="No space left on device"):
                file.writelines(itertools.repeat(b"\0" * 65_536))
            yield
        finally:
            rest.unlink()


@contextlib.contextmanager
def _descriptors(pid: int, number: int) -> Iterator[None]:
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def _tampered(rig: Rig, what: str) -> AsyncIterator[None]:
    """strace changes what becomes of writes to the spool's newest segments."""
    program = shutil.which("strace")
    if program is None:
        missing("Debian's strace is not installed")
    pid = rig.proxy.pid
    opened = [path.readlink() for path in pathlib.Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    segments = [str(path) for path in opened if path.suffix == ".seg"]
    paths = [part for segment in segments for part in ("-P", segment)]
    command = [program, "-qq", "-o", "/dev/null", "-p", str(pid), *paths, "-e", "trace=write", "-e", f"inject=write:{what}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        status = pathlib.Path(f"/proc/{pid}/status")
        deadline = time.monotonic() + 30
        while f"TracerPid:\t{tracer.pid}" not in status.read_text():
            if tracer.poll() is not None or time.monotonic() > deadline:
                missing(f"strace cannot trace here: {tracer.stderr.read().decode() if tracer.stderr else ''}")
            await asyncio.sleep(0.02)
        try:
            yield
        finally:
            tracer.terminate()
