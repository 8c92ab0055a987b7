"""Every kind of store URL, and a real Cluster and a real Sentinel behind them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from proxy.core.incident import Incident
from proxy.evidence.connect import Packed, StoreOptions, StoreUrlError, close, connect, describe, nodes
from proxy.evidence.history import History
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.verify import verify
from proxy.evidence.witness import Witness
from tests.evidence.conftest import START, StoreServer, make_exchange, make_incident, valkey_binary
from tests.servers.process import ServerProcess, free_port, room


@pytest.mark.parametrize(
    "netloc, expected",
    [
        ("a", [("a", 6379)]),
        ("a:1,b,[::1]:3", [("a", 1), ("b", 6379), ("::1", 3)]),
        ("user:p%40ss@a:1,b:2", [("a", 1), ("b", 2)]),
    ],
)
def test_nodes(netloc, expected):
    assert nodes(netloc, 6379) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://h:notaport",
        "redis+sentinel://h1,h2",
        "redis+sentinel://h1,,h2/master",
        "redis+cluster://h1/3",
        "redis+cluster://h1?db=2",
        "redis+cluster://",
    ],
)
def test_a_url_that_cannot_be_used_says_so_and_tells_no_password(url):
    with pytest.raises(StoreUrlError) as failed:
        connect(StoreOptions(url.replace("://", "://user:hunter2@")))
    assert "hunter2" not in str(failed.value)


def test_options_print_without_credentials():
    options = StoreOptions("rediss://user:hunter2@h:1/2?password=hunter2", password="hunter2")
    assert "hunter2" not in repr(options)
    assert describe(options.url) == "rediss://h:1/2"


async def test_waits_are_short_and_retries_few():
    for url in ("redis://h", "unix:///x", "redis+sentinel://h/m"):
        client = connect(StoreOptions(url))
        keywords = client.connection_pool.connection_kwargs
        assert keywords["socket_timeout"] <= 0.5
        assert keywords["socket_connect_timeout"] <= 0.5
        assert keywords["retry"].get_retries() <= 1
        await close(client)


async def test_credentials_tls_and_unix_path_arrive():
    client = connect(StoreOptions("rediss://u:p%40ss@h:1/2?ssl_cert_reqs=none", ca_file="/ca", cert_file="/c", key_file="/k"))
    found = client.connection_pool.connection_kwargs
    assert (found["username"], found["password"], found["host"], found["port"], found["db"]) == ("u", "p@ss", "h", 1, 2)
    assert (found["ssl_ca_certs"], found["ssl_certfile"], found["ssl_keyfile"]) == ("/ca", "/c", "/k")
    await close(client)
    client = connect(StoreOptions("unix:///run/x.sock?db=3", username="u", password="p"))
    found = client.connection_pool.connection_kwargs
    assert (found["path"], found["db"], found["username"], found["password"]) == ("/run/x.sock", 3, "u", "p")
    await close(client)


@pytest.mark.parametrize(
    "url", ["redis://a", "rediss://a", "unix:///run/store.sock", "redis+sentinel://a/master", "rediss+sentinel://a/master"]
)
async def test_commands_are_packed_as_redis_py_packs_them(url):
    client = connect(StoreOptions(url))
    connection: Any = client.connection_pool.make_connection()
    assert issubclass(type(connection), Packed)
    for command in (
        ("GET", "key"),
        ("CONFIG GET", b"x"),
        (b"CONFIG GET", "x"),
        ("EVALSHA", "0" * 40, 1, "sw:{a}", -5, 1.5, 1e300, 2**63, "é", b"\x00\xff", ""),
        ("SET", "k", "v" * 100_000, b"w" * 100_000),
    ):
        assert connection.pack_command(*command) == [b"".join(AbstractConnection.pack_command(connection, *command))]
    for odd in (None, object()):
        with pytest.raises(RedisError):
            _ = connection.pack_command("SET", "k", odd)
    await close(client)


async def test_nobody_there_is_a_store_error():
    store = RedisStore(connect(StoreOptions(f"redis://127.0.0.1:{free_port()}")))
    with pytest.raises(StoreError) as failed:
        await store.ping()
    assert failed.value.why == "unreachable"
    await store.close()


async def test_a_frozen_store_is_a_timeout(server, store):
    await store.ping()
    server.freeze()
    with pytest.raises(StoreError) as failed:
        await store.ping()
    server.thaw()
    assert failed.value.why == "timeout"


async def whole_road(store, root):
    """Everything that is written and read, once."""
    spool = Spool(root, 1 << 20, 1 << 24, "one")
    witness = Witness(spool)
    incidents = [make_incident(START + n, f"tenant-{n % 17}", f"{n % 13:04x}" * 8) for n in range(300)]
    for incident in incidents:
        witness.record(incident)
    shipper = Shipper(spool, store)
    assert await shipper.flush(20)
    reader = EvidenceReader(store, None)
    found: list[Incident] = []
    before = None
    while True:
        page = await reader.incidents(before=before, limit=100)
        found += page.incidents
        before = page.before
        if before is None:
            break
    assert {i.id for i in found} == {i.id for i in incidents}
    assert len((await reader.incidents(tenant="tenant-3")).incidents) == len([n for n in range(300) if n % 17 == 3])
    assert (await verify(store, spool.chain, 90)).checked == 300
    history = History(store, "one")
    for n in range(50):
        history.saw(make_exchange(START, fingerprint=f"{n:04x}" * 8))
    assert await history.flush() == 50
    assert await reader.history("0003" * 8) is not None
    spool.close()


@pytest.mark.parametrize("protocol", [2, 3])
async def test_both_shapes_of_answers(server, spool_root, protocol):
    store = RedisStore(connect(StoreOptions(f"{server.url}?protocol={protocol}")))
    await whole_road(store, spool_root)
    await store.close()


async def test_cluster(spool_root):
    with contextlib.ExitStack() as stack:
        servers = []
        bus = [free_port() for _ in range(3)]  # else it is the port + 10000, which may be none
        for bus_port in bus:
            more = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", str(bus_port))
            one = StoreServer(valkey_binary(), stack.enter_context(room()), *more)
            stack.callback(one.kill)
            one.start()
            servers.append(one)
        for place, one in enumerate(servers):
            first, last = place * 5461, 16383 if place == 2 else place * 5461 + 5460
            assert one.ask(f"CLUSTER ADDSLOTSRANGE {first} {last}\r\n".encode()).startswith(b"+OK")
            assert one.ask(f"CLUSTER MEET 127.0.0.1 {servers[0].port} {bus[0]}\r\n".encode()).startswith(b"+OK")
        deadline = time.monotonic() + 60
        while not all(
            b"cluster_state:ok" in s.ask(b"CLUSTER INFO\r\n") and b"known_nodes:3" in s.ask(b"CLUSTER INFO\r\n")
            for s in servers
        ):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        store = RedisStore(connect(StoreOptions(f"redis+cluster://127.0.0.1:{servers[1].port},127.0.0.1:{servers[2].port}")))
        await whole_road(store, spool_root)
        spread = [int(s.ask(b"DBSIZE\r\n")[1:]) for s in servers]
        assert min(spread) > 20
        await store.close()


async def test_sentinels_that_cannot_be_reached_are_told_with_the_reason():
    store = RedisStore(
        connect(StoreOptions("redis+sentinel://:planted@127.0.0.1:1,127.0.0.1:1/evidence?sentinel_password=planted"))
    )
    with pytest.raises(StoreError) as raised:
        await store.ping()
    assert str(raised.value).endswith("a Sentinel - network:ConnectionError, a Sentinel - network:ConnectionError")
    assert "planted" not in str(raised.value)
    await store.close()


async def test_sentinel(spool_root):
    with contextlib.ExitStack() as stack:
        master = StoreServer(valkey_binary(), stack.enter_context(room()))
        stack.callback(master.kill)
        master.start()
        directory = stack.enter_context(room())
        config = directory / "sentinel.conf"
        port = free_port()
        config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor evidence 127.0.0.1 {master.port} 1\n")
        asking = StoreServer.ask

        class Sentinel(ServerProcess):
            pass

        watcher = Sentinel([valkey_binary(), config, "--sentinel"], directory=directory, ready=lambda: True)
        watcher.port = port  # type: ignore[attr-defined]
        watcher._ready = lambda: asking(watcher, b"PING\r\n").startswith(b"+PONG")  # type: ignore[arg-type]
        stack.callback(watcher.kill)
        watcher.start()
        url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/evidence?db=0"
        store = RedisStore(connect(StoreOptions(url)))
        await whole_road(store, spool_root)
        await store.close()
