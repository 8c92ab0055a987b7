"""The embedded store with its real programs: it keeps what it has, lets nobody else in, and ends with its proxy."""

from __future__ import annotations

import asyncio
import os
import pathlib
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import psutil
import pytest
import redis.asyncio
import redis.exceptions

from proxy.evidence import embedded
from proxy.evidence.embedded import EmbeddedStore, EmbeddedStoreError, Program, url_of
from tests.servers import process
from tests.servers.valkey import Engine, engine

Start = Callable[..., Awaitable[EmbeddedStore]]


@pytest.fixture
def state() -> Iterator[pathlib.Path]:
    with process.room() as directory:
        yield directory


@pytest.fixture
async def start(store_engine: Engine) -> AsyncIterator[Start]:
    """Start a store with the engine of the test, and stop it at the end."""
    started: list[EmbeddedStore] = []

    async def begin(directory: pathlib.Path, binary: pathlib.Path | None = None) -> EmbeddedStore:
        store = await embedded.start(directory, binary or store_engine.binary)
        started.append(store)
        return store

    yield begin
    for store in started:
        await store.stop()


PROXY = """
import asyncio, pathlib, sys
from proxy.evidence import embedded

async def main():
    store = await embedded.start(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    print(store.pid, store.url, flush=True)
    await asyncio.Event().wait()

if len(sys.argv) > 3:
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.fixture
def other_proxy(state: pathlib.Path, store_engine: Engine) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int, str]]]:
    """A second process that runs a store in the same state directory: the process, its store's pid, the URL."""
    with_store: list[subprocess.Popen[str]] = []

    def begin(*more: str) -> tuple[subprocess.Popen[str], int, str]:
        command = [sys.executable, "-c", PROXY, str(state), str(store_engine.binary), *more]
        other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=pathlib.Path(__file__).parents[2])
        with_store.append(other)
        assert other.stdout is not None
        pid, url = other.stdout.readline().split()
        return other, int(pid), url

    yield begin
    for other in with_store:
        other.kill()
        other.communicate()


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_it_does_all_that_the_evidence_needs(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    client: Any = redis.asyncio.from_url(store.url)
    async with client:
        await client.xadd("sw:{t}:inc", {"d": "x"}, minid="0-1", approximate=True)
        (_, entries), *_ = await client.xread({"sw:{t}:inc": "0"}, block=10)
        assert len(entries) == 1
        await client.hset("sw:{t}:tok", mapping={"first": 1})
        await client.expire("sw:{t}:tok", 60)
        await client.zadd("sw:{t}:by", {"one": 1.5})
        await client.set("sw:{t}:dd", "1", nx=True, ex=10)
        await client.sadd("sw:{t}:s", "a")
        await client.rpush("sw:{t}:l", "a")
        digest = await client.script_load("return redis.call('GET', KEYS[1])")
        assert await client.evalsha(digest, 1, "sw:{t}:dd") == b"1"
        assert await client.eval("return 7", 0) == 7
        assert len([key async for key in client.scan_iter("sw:*")]) == 6
        assert (await client.info("persistence"))["aof_enabled"] == 1
        assert (await client.info("memory"))["maxmemory"] == 256 * 1024 * 1024
        assert await client.memory_usage("sw:{t}:inc") > 0
        async with client.pipeline(transaction=True) as pipe:
            pipe.incr("sw:{t}:n")
            pipe.unlink("sw:{t}:l")
            assert await pipe.execute() == [1, 1]
        assert await client.client_id() > 0
        assert await client.client_setname("scim-witness")
        if tuple(map(int, store.version.split("."))) >= (7, 2, 0):
            assert await client.waitaof(1, 0, 1000) == [1, 0]


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "FLUSHDB", "CONFIG GET dir", "CONFIG SET dir /tmp", "KEYS *", "SHUTDOWN", "DEBUG SLEEP 0", "ACL LIST",
        "SUBSCRIBE x", "PUBLISH x y", "MONITOR", "CLIENT LIST", "CLIENT KILL ID 1", "SAVE", "BGREWRITEAOF", "REPLICAOF x 1",
        "SCRIPT FLUSH", "SORT sw:x", "MIGRATE x 1 sw:x 0 1", "RESTORE sw:x 0 x", "MODULE LIST", "SWAPDB 0 1", "FUNCTION FLUSH",
        "GET foreign", "SET foreign 1", "EVAL return(redis.call('GET','foreign')) 0", "EVAL return(redis.call('FLUSHALL')) 0",
    ],
)  # fmt: skip
async def test_what_the_proxy_does_not_need_is_denied(state: pathlib.Path, start: Start, command: str) -> None:
    store = await start(state)
    async with redis.asyncio.from_url(store.url) as client:
        if command.startswith("FUNCTION") and store.version < "7":
            pytest.skip("this server has no functions")
        with pytest.raises((redis.exceptions.NoPermissionError, redis.exceptions.ResponseError)) as refused:
            await client.execute_command(*command.split())
        assert any(
            word in str(refused.value) for word in ("permission", "No permissions", "can't access", "can't run", "not allowed")
        )


async def test_only_our_user_opens_it_and_only_with_the_password(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    path = store.url.partition("@")[2]
    for who, says in {
        "": "NOAUTH|HELLO must be called with",
        "proxy:wrong@": "invalid username-password",
        "default:default@": "invalid username-password",
    }.items():
        async with redis.asyncio.from_url(f"unix://{who}{path}") as client:
            with pytest.raises(redis.exceptions.RedisError, match=says):
                await client.ping()


async def test_its_files_are_ours_alone_and_only_one_holds_the_password(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    password = store.url.split(":")[2].partition("@")[0]
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    files = [path for path in store.directory.rglob("*") if not path.is_dir()]
    assert [path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert [path.name for path in files if path.is_file() and password in path.read_text(errors="replace")] == ["store.url"]
    assert not any(password in part for part in psutil.Process(store.pid).cmdline())


async def test_it_listens_on_no_port(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    assert [c for c in psutil.Process(store.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN] == []


async def test_kill_9_of_the_store_loses_nothing_that_it_had_written(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    async with redis.asyncio.from_url(store.url) as client:
        for n in range(100):
            await client.xadd("sw:kept", {"n": n})
        while (await client.info("persistence"))["aof_buffer_length"]:
            await asyncio.sleep(0.01)
        os.kill(store.pid, signal.SIGKILL)
        assert await store.wait_dead() == -signal.SIGKILL
        await store.restart()
        assert await client.xlen("sw:kept") == 100
    assert url_of(state) == store.url


async def test_stop_and_start_keep_the_data_under_a_new_password(state: pathlib.Path, start: Start) -> None:
    first = await start(state)
    async with redis.asyncio.from_url(first.url) as client:
        await client.set("sw:kept", "7")
    await first.stop()
    await first.stop()
    assert url_of(state) is None
    second = await start(state)
    assert first.url != second.url
    async with redis.asyncio.from_url(second.url) as client:
        assert await client.get("sw:kept") == b"7"


async def test_what_a_script_or_a_transaction_wrote_is_there_after_a_restart(state: pathlib.Path, start: Start) -> None:
    first = await start(state)
    async with redis.asyncio.from_url(first.url) as client:
        asked: Any = client
        await asked.eval("redis.call('SET', KEYS[1], '7') redis.call('SET', KEYS[2], '8')", 2, "sw:{a}1", "sw:{a}2")
        async with asked.pipeline(transaction=True) as pipe:
            pipe.set("sw:{a}3", "9")
            pipe.set("sw:{a}4", "10")
            await pipe.execute()
    await first.stop()
    second = await start(state)
    async with redis.asyncio.from_url(second.url) as client:
        assert [b"7", b"8", b"9", b"10"] == await client.mget([f"sw:{{a}}{n}" for n in (1, 2, 3, 4)])


async def test_an_heir_waits_for_the_directory_and_is_found_under_the_same_url(state: pathlib.Path, start: Start) -> None:
    first = await start(state)
    url = first.url
    async with redis.asyncio.from_url(url) as client:
        await client.set("sw:kept", "7")
        heir = asyncio.create_task(embedded.start(state, first.binary, heir_of=url, patience=30.0))
        await first.stop()
        second = await heir
        try:
            assert url == second.url == url_of(state)
            assert await client.get("sw:kept") == b"7"
        finally:
            await second.stop()


async def test_restart_ends_a_store_that_still_runs(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    before = store.pid
    await store.restart()
    assert ended(before)
    assert store.pid != before
    await store.stop()
    with pytest.raises(EmbeddedStoreError, match="was stopped"):
        await store.restart()


async def test_a_stopped_store_leaves_no_process_and_a_free_directory(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    await store.stop()
    assert ended(store.pid)
    assert (await start(state)).pid != store.pid


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_it_dies_with_its_proxy_and_the_next_one_has_the_data(
    state: pathlib.Path, start: Start, other_proxy: Callable[..., tuple[subprocess.Popen[str], int, str]], loop: str
) -> None:
    other, pid, url = other_proxy(*(["uvloop"] if loop == "uvloop" else []))
    async with redis.asyncio.from_url(url) as client:
        await client.set("sw:kept", "7")
    other.kill()
    other.wait()
    store = await start(state)
    assert ended(pid)
    async with redis.asyncio.from_url(store.url) as client:
        assert await client.get("sw:kept") == b"7"


async def test_a_second_proxy_is_refused_and_told_who_holds_the_directory(
    state: pathlib.Path, start: Start, other_proxy: Callable[..., tuple[subprocess.Popen[str], int, str]]
) -> None:
    other, pid, url = other_proxy()
    began = time.monotonic()
    with pytest.raises(EmbeddedStoreError, match=rf"in use by the proxy with process id {other.pid}\b.*state_dir"):
        await start(state)
    assert time.monotonic() - began < 2
    assert url_of(state) == url
    assert not ended(pid)


async def test_a_command_line_finds_the_running_store_in_the_state_directory(state: pathlib.Path, start: Start) -> None:
    assert url_of(state) is None
    store = await start(state)
    assert url_of(state) == store.url
    os.kill(store.pid, signal.SIGKILL)
    await store.wait_dead()
    assert url_of(state) is None


async def test_a_long_or_odd_path_works_through_a_short_socket(state: pathlib.Path, start: Start) -> None:
    deep = state / ("d" * 60) / 'with "quotes", spaces & ümläut' / ("e" * 60)
    store = await start(deep)
    socket_path = pathlib.Path(store.url.partition("@")[2])
    assert len(os.fsencode(socket_path)) <= embedded.SOCKET_BYTES
    assert stat.S_IMODE(socket_path.parent.stat().st_mode) == 0o700
    assert url_of(deep) == store.url
    async with redis.asyncio.from_url(store.url) as client:
        assert await client.ping()
    await store.stop()
    assert not socket_path.parent.exists()


async def test_the_short_socket_of_a_killed_proxy_is_cleared_away(
    state: pathlib.Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SOCKET_BYTES", 40)
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    left = state / "left"
    left.mkdir()
    home = state / "deep" / ("d" * 40)
    (home / "store").mkdir(parents=True)
    (home / "store" / "store.url").write_text(f"unix://proxy:x@{left}/store.sock\n")
    await start(home)
    assert not left.exists()


async def test_paths_that_are_all_too_long_are_refused_by_name(
    state: pathlib.Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SOCKET_BYTES", 10)
    with pytest.raises(EmbeddedStoreError, match=r"too long for a unix socket.*state_dir"):
        await start(state)
    monkeypatch.undo()
    await start(state)


async def test_an_odd_path_of_usual_length_works(state: pathlib.Path, start: Start) -> None:
    store = await start(state / 'a "b" % é#?')
    async with redis.asyncio.from_url(store.url) as client:
        assert await client.ping()
    assert url_of(store.directory.parent) == store.url


async def test_the_state_directory_itself_is_left_as_it_was(state: pathlib.Path, start: Start) -> None:
    state.chmod(0o755)
    await start(state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o755


async def test_a_place_that_cannot_be_written_names_state_dir(state: pathlib.Path, start: Start) -> None:
    (state / "file").write_text("")
    with pytest.raises(EmbeddedStoreError, match=r"cannot use .*file.*Set state_dir"):
        await start(state / "file")


async def test_ruined_data_is_told_with_the_words_of_the_server(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    async with redis.asyncio.from_url(store.url) as client:
        for n in range(10):
            await client.set(f"sw:{n}", "x" * 100)
    await store.stop()
    increment = max((store.directory / "appendonlydir").glob("*.incr.aof"))
    data = increment.read_bytes()
    increment.write_bytes(data[:50] + b"\r\nruin\r\n" + data[60:])
    with pytest.raises(EmbeddedStoreError, match=r"(?s)ended at its start.*Bad file format.*store\.url"):
        await start(state)
    increment.write_bytes(data)
    again = await start(state)
    async with redis.asyncio.from_url(again.url) as client:
        assert await client.dbsize() == 10


async def test_a_torn_last_write_is_cut_off_and_the_rest_kept(state: pathlib.Path, start: Start) -> None:
    store = await start(state)
    async with redis.asyncio.from_url(store.url) as client:
        await client.set("sw:kept", "7")
        await client.set("sw:torn", "8")
    await store.stop()
    increment = max((store.directory / "appendonlydir").glob("*.incr.aof"))
    increment.write_bytes(increment.read_bytes()[:-5])
    again = await start(state)
    async with redis.asyncio.from_url(again.url) as client:
        assert await client.mget("sw:kept", "sw:torn") == [b"7", None]


async def test_a_start_that_is_given_up_leaves_no_process_and_no_lock(state: pathlib.Path, start: Start) -> None:
    async def given_up() -> None:
        store = await start(state)
        try:
            await asyncio.Event().wait()
        finally:
            await store.stop()

    for seconds in (0.0, 0.005, 0.02, 0.05, 0.1):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(given_up(), seconds)
        here = str(state / "store")
        assert [p.pid for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == here and not ended(p.pid)] == []


def script(path: pathlib.Path, body: str) -> pathlib.Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "body, says",
    [
        ("echo 'Redis server v=5.0.14 sha=0'", "older than 6.2.0"),
        ("echo hello", "no Valkey or Redis server: it calls itself 'hello"),
        ("exit 1", "no Valkey or Redis server"),
        (None, "does not run: .*No such file"),
    ],
)
async def test_a_configured_program_that_will_not_do_is_refused_with_its_reason(
    state: pathlib.Path, body: str | None, says: str
) -> None:
    program = state / "server"
    if body is not None:
        script(program, body)
    with pytest.raises(EmbeddedStoreError, match=rf"(?s){says}.*store\.embedded_binary"):
        await embedded.start(state / "state", program)


def test_the_systems_program_comes_before_the_bundled_one_unless_too_old(
    state: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = engine("bundled").binary
    monkeypatch.setenv("PATH", str(state))
    assert path == embedded.choose(state, None).path
    script(state / "redis-server", "echo 'Redis server v=6.0.16 sha=0'")
    assert path == embedded.choose(state, None).path
    script(state / "redis-server", "echo 'Redis server v=6.2.0 sha=0'")
    assert state / "redis-server" == embedded.choose(state, None).path
    script(state / "valkey-server", "echo 'Valkey server v=8.0.0 sha=0'")
    assert state / "valkey-server" == embedded.choose(state, None).path


def test_data_is_opened_only_by_a_program_that_reads_it(state: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(state))
    script(state / "redis-server", "echo 'Redis server v=7.0.15 sha=0'")
    (state / "store.writer").write_text("valkey 9.1.2\n")
    assert engine("bundled").binary == embedded.choose(state, None).path
    with pytest.raises(EmbeddedStoreError, match=r"Redis 7\.0\.15 .* cannot read the data in .*, which Valkey 9\.1\.2 wrote"):
        embedded.choose(state, state / "redis-server")


@pytest.mark.parametrize(
    "reads, flavour, version, written_by, written",
    [
        (True, "valkey", (9, 1, 2), "valkey", (9, 1, 3)),
        (True, "valkey", (9, 1, 2), "valkey", (8, 0, 0)),
        (False, "valkey", (8, 1, 0), "valkey", (9, 1, 0)),
        (True, "valkey", (9, 1, 2), "redis", (7, 2, 9)),
        (False, "valkey", (9, 1, 2), "redis", (7, 4, 0)),
        (False, "redis", (8, 0, 0), "valkey", (7, 2, 5)),
        (False, "redis", (6, 2, 0), "redis", (7, 0, 0)),
    ],
)
def test_reads(reads, flavour, version, written_by, written) -> None:
    assert reads is Program(pathlib.Path("x"), flavour, version).reads(written_by, written)


def test_the_bundled_program_is_where_it_is_looked_for() -> None:
    path = embedded.bundled()
    assert path is not None
    assert "valkey" == embedded.inspect(path).flavour
