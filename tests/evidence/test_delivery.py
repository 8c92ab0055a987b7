"""From the spool into a real store: every incident once, whatever happens to the store in between."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from proxy.core.incident import Note, tag_of
from proxy.evidence import keys, layout, records, redis_store
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.room import Room
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.tail import segments
from proxy.evidence.witness import Witness
from proxy.evidence.writes import Keep
from tests.evidence.conftest import START, make_incident

MIB = 1 << 20


@pytest.fixture
def spool(spool_root):
    opened = Spool(spool_root, MIB, 64 * MIB, "one")
    yield opened
    opened.close()


async def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(shipper):
    task = asyncio.create_task(shipper.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def entry_ids(store, tenant="acme"):
    """The incident ids in the stream itself, with repetitions if there were any."""
    tag = tag_of(make_incident(tenant=tenant).id)
    (answer,) = await store.run([("XRANGE", f"sw:{{{tag}}}:inc", "-", "+")])
    return [fields[b"i"].decode() for _, fields in answer]


async def test_an_incident_is_stored_and_read_back_as_it_was(spool, store, spool_root):
    incident = make_incident(time.time())
    Witness(spool).record(incident)
    shipper = Shipper(spool, store)
    assert await shipper.flush(10)
    assert incident == await EvidenceReader(store, None).incident(incident.id.lower())
    assert (shipper.state.stored, shipper.state.deduplicated, shipper.waiting) == (1, 0, 0)


async def test_store_stopped_for_a_thousand_records_then_started_has_each_once(spool, store, server):
    server.kill()
    shipper = Shipper(spool, store)
    incidents = [make_incident(START + n) for n in range(1000)]
    async with running(shipper):
        witness = Witness(spool)
        for incident in incidents:
            witness.record(incident)
        await until(lambda: shipper.state.failing_since is not None)
        assert shipper.waiting == 1000
        server.start()
        await until(lambda: not shipper.waiting)
    assert sorted(i.id for i in incidents) == sorted(await entry_ids(store))
    assert shipper.state.failing_since is None
    assert shipper.state.stored == 1000


async def test_store_killed_in_the_middle_has_each_once(spool, store, server):
    shipper = Shipper(spool, store)
    incidents = [make_incident(START + n) for n in range(3000)]
    async with running(shipper):
        witness = Witness(spool)
        for incident in incidents:
            witness.record(incident)
        for place in (300, 900):
            await until(lambda place=place: shipper.state.stored > place)
            server.kill()
            server.start()
        await until(lambda: not shipper.waiting)
    found = await entry_ids(store)
    assert len(found) == len(set(found))
    assert {i.id for i in incidents} == set(found)


class CuttingProxy:
    """Passes bytes to the store; while `cut` is set, what is delivered gets there in whole and its answers are swallowed.

    Connections can still be made meanwhile, so that a delivery which the client gave up half way is made again."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.cut = False
        self.swallowed = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def _serve(self, reader, writer):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.to)

        delivering = False

        async def down():
            while data := await up_reader.read(65536):
                if self.cut and delivering:
                    self.swallowed += len(data)
                else:
                    writer.write(data)

        async def up():
            nonlocal delivering
            while data := await reader.read(65536):
                delivering = delivering or b"EVALSHA" in data
                up_writer.write(data)

        tasks = [asyncio.ensure_future(down()), asyncio.ensure_future(up())]
        with contextlib.suppress(OSError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        up_writer.close()


async def test_an_answer_that_gets_lost_after_the_store_applied_it_does_not_store_twice(spool, store, server):
    async with CuttingProxy(server.port) as between:
        remote = RedisStore(connect(StoreOptions(f"redis://127.0.0.1:{between.port}")))
        shipper = Shipper(spool, remote)
        witness = Witness(spool)
        incidents = [make_incident(START + n) for n in range(100)]
        witness.record(make_incident(START - 1))
        assert await shipper.flush(10)  # scripts loaded, connection up
        for incident in incidents:
            witness.record(incident)
        between.cut = True
        async with running(shipper):
            await until(lambda: shipper.state.failing_since is not None and between.swallowed)
            while len(await entry_ids(store)) < 101:  # applied, and we do not know; the test's own time limit ends it
                await asyncio.sleep(0.01)
            assert shipper.waiting == 100
            between.cut = False
            await until(lambda: not shipper.waiting)
        await remote.close()
    assert len(await entry_ids(store)) == 101
    assert (shipper.state.stored, shipper.state.deduplicated) == (1, 100)


async def test_a_flushed_store_breaks_nothing(spool, store, server):
    shipper = Shipper(spool, store)
    witness = Witness(spool)
    witness.record(make_incident(START))
    assert await shipper.flush(10)
    await store.run([("FLUSHALL",), ("SCRIPT", "FLUSH")])
    after = make_incident(START + 1)
    witness.record(after)
    assert await shipper.flush(10)
    assert [after.id] == await entry_ids(store)


async def test_out_of_memory_is_waited_for(spool, store):
    await store.run([("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory-policy", "noeviction")])
    shipper = Shipper(spool, store)
    Witness(spool).record(make_incident(START))
    assert not await shipper.flush(0.5)
    assert "maxmemory" in shipper.state.why
    assert shipper.waiting == 1
    await store.run([("CONFIG", "SET", "maxmemory", 0)])
    assert await shipper.flush(10)
    assert shipper.state.stored == 1


async def test_what_a_dead_process_left_is_shipped_by_a_living_one_and_removed(spool_root, store):
    dead = Spool(spool_root, MIB, 64 * MIB, "dead")
    incidents = [make_incident(START + n) for n in range(700)]
    for incident in incidents:
        Witness(dead).record(incident)
    dead.close()
    living = Spool(spool_root, MIB, 64 * MIB, "living")
    shipper = Shipper(living, store)
    assert living.elsewhere > 0
    async with running(shipper):
        await until(lambda: not dead.path.exists())
    assert {i.id for i in incidents} == set(await entry_ids(store))
    assert living.elsewhere == 0
    living.close()


async def test_a_process_killed_between_delivery_and_acknowledgement_is_delivered_once(spool_root, store):
    dead = Spool(spool_root, MIB, 64 * MIB, "dead")
    for n in range(10):
        Witness(dead).record(make_incident(START + n))
    shipper = Shipper(dead, store)
    shipper._tail.acknowledge = lambda: None  # the process dies here
    assert await shipper.flush(10)
    dead.close()
    living = Spool(spool_root, MIB, 64 * MIB, "living")
    again = Shipper(living, store)
    await again.ship_leftovers()
    assert len(await entry_ids(store)) == 10
    assert (again.state.stored, again.state.deduplicated) == (0, 10)
    living.close()


async def test_a_dead_spool_that_cannot_be_read_keeps_no_other_from_the_store(spool_root, store, spool):
    bad, good = (Spool(spool_root, MIB, 64 * MIB, name) for name in ("bad", "good"))
    incidents = [make_incident(time.time()) for _ in range(2)]
    for dead, incident in zip((bad, good), incidents, strict=True):
        Witness(dead).record(incident)
        dead.close()
    segment = bad.path / segments(bad.path)[0]
    held = segment.read_bytes()
    segment.unlink()
    segment.mkdir()
    shipper = Shipper(spool, store)
    with pytest.raises(IsADirectoryError):
        await shipper.ship_leftovers()
    assert [incidents[1].id] == await entry_ids(store)
    segment.rmdir()
    segment.write_bytes(held)
    await shipper.ship_leftovers()
    assert {i.id for i in incidents} == set(await entry_ids(store))


async def test_unreadable_records_are_set_aside_and_do_not_block_the_rest(spool, store, spool_root):
    spool.append(b"hologram {}")
    spool.append(b'incident {"id": "not one"}')
    spool.append(records.pack(Note("another kind of id", "reread+1s", START)))
    Witness(spool).record(make_incident(START))
    shipper = Shipper(spool, store)
    assert await shipper.flush(10)
    assert (shipper.state.stored, shipper.state.unreadable) == (1, 3)
    assert b"hologram" in (spool_root / "unreadable.lines").read_bytes()


class Swallowing(RedisStore):
    """Its library takes a cancellation for its own time limit."""

    async def run(self, commands, *, copied=False):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise StoreError("timeout", "") from None
        return []


async def test_a_cancellation_that_a_library_swallowed_keeps_no_process_from_its_end(spool, store):
    Witness(spool).record(make_incident(time.time()))
    flushing = asyncio.ensure_future(Shipper(spool, Swallowing(store._client)).flush(0.2))
    done, _ = await asyncio.wait({flushing}, timeout=10)
    flushing.cancel()
    assert [False] == [task.result() for task in done]


async def test_an_empty_store_gets_its_number_again(spool, store):
    shipper = Shipper(spool, store)
    for _ in range(2):
        Witness(spool).record(make_incident(time.time()))
        assert await shipper.flush(10)
        assert await layout.layout_of(store) == layout.VERSION
        await store.run([("FLUSHALL",)])


class SlowLink:
    """Passes what is asked to the store at so many octets a second, and its answers at once."""

    def __init__(self, port, rate):
        self.to, self.rate = port, rate
        self.tasks = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=4096)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        there, to_store = await asyncio.open_connection("127.0.0.1", self.to)
        ways = [self._pass(reader, to_store, self.rate), self._pass(there, writer, None)]
        self.tasks |= {asyncio.ensure_future(way) for way in ways}

    async def _pass(self, reader, writer, rate):
        try:
            while octets := await reader.read(4096):
                writer.write(octets)
                if rate:
                    await asyncio.sleep(len(octets) / rate)
        except OSError:
            pass
        finally:
            writer.transport.abort()


async def test_a_link_too_slow_for_a_whole_delivery_gets_it_in_parts(spool, store, server, monkeypatch):
    monkeypatch.setattr(redis_store, "PATIENCE", 1.0)
    incidents = [make_incident(time.time(), reason="r" * 8000) for _ in range(100)]
    for incident in incidents:
        Witness(spool).record(incident)
    async with SlowLink(server.port, 400_000) as link:
        remote = RedisStore(connect(StoreOptions(f"redis://127.0.0.1:{link.port}")))
        shipper = Shipper(spool, remote)
        assert await shipper.flush(60)
        await remote.close()
    assert sorted(incident.id for incident in incidents) == sorted(await entry_ids(store))


@pytest.mark.parametrize("damage", [b"{", b'{"id": "x"}', b"\xff"])
async def test_a_record_that_cannot_be_read_hides_no_other(spool, store, damage):
    good, bad = (make_incident(time.time() + n) for n in range(2))
    for incident in (good, bad):
        Witness(spool).record(incident)
    Witness(spool).note(Note(good.id, "reread+1s", good.at))
    assert await Shipper(spool, store).flush(10)
    (pointer,) = await store.run([("GET", keys.pointer(bad.id))])
    await store.run([
        ("XDEL", keys.stream(bad.id), pointer),
        ("XADD", keys.stream(bad.id), "*", "i", bad.id, "c", "one.1 1 0", "d", damage),
        ("HSET", keys.notes(good.id), "damaged", b"one.1 1 0 " + damage),
    ])  # fmt: skip
    (((entry, _),),) = await store.run([("XREVRANGE", keys.stream(bad.id), "+", "-", "COUNT", 1)])
    await store.run([("SET", keys.pointer(bad.id), entry)])
    reader = EvidenceReader(store, None)
    assert [good] == list((await reader.incidents()).incidents)
    assert [note.name for note in await reader.notes(good.id)] == ["reread+1s"]
    with pytest.raises(StoreError, match="cannot read it"):
        await reader.incident(bad.id)
    assert await Room(store, lambda *_: None).make() == 2


async def test_notes_are_kept_under_their_name(spool, store, spool_root):
    incident = make_incident(START)
    witness = Witness(spool)
    witness.record(incident)
    witness.note(Note(incident.id, "reread+1s", START + 1, text="first"))
    witness.note(Note(incident.id, "reread+1s", START + 1, text="first"))
    shipper = Shipper(spool, store)
    assert await shipper.flush(10)
    witness.note(Note(incident.id, "reread+10s", START + 10, text="second"))
    reader = EvidenceReader(store, spool_root)
    assert [note.text for note in await reader.notes(incident.id)] == ["first", "second"]


async def test_the_reader_sees_the_spool_when_the_store_is_away(spool, store, server, spool_root):
    stored, waiting = make_incident(START), make_incident(START + 1)
    witness = Witness(spool)
    witness.record(stored)
    shipper = Shipper(spool, store)
    assert await shipper.flush(10)
    server.kill()
    witness.record(waiting)
    reader = EvidenceReader(store, spool_root)
    assert waiting == await reader.incident(waiting.id)
    page = await reader.incidents()
    assert waiting.id in {i.id for i in page.incidents}
    assert page.store_error
    with pytest.raises(StoreError):
        await reader.incident(make_incident(START).id)


async def test_pages_by_cursor_for_all_a_tenant_and_a_token(spool, store):
    witness = Witness(spool)
    incidents = [make_incident(START + n // 3, f"t{n % 5}", f"{n % 4}" * 32) for n in range(230)]
    for incident in incidents:
        witness.record(incident)
    assert await Shipper(spool, store).flush(20)
    reader = EvidenceReader(store, None)
    for tenant, token in ((None, None), ("t3", None), (None, "2" * 32)):
        expected = sorted(
            (i.id for i in incidents if tenant in {None, i.tenant} and token in {None, i.fingerprint}), reverse=True
        )
        found, before = [], None
        while True:
            page = await reader.incidents(tenant, token, before, 20)
            found += [i.id for i in page.incidents]
            before = page.before
            if before is None:
                break
        assert expected == found
    assert {"t0", "t1", "t2", "t3", "t4"} == set(await reader.tenants())


class CountingStore(RedisStore):
    def __init__(self, store):
        super().__init__(store._client)
        self.commands = 0
        self.rounds = 0

    async def run(self, commands, *, copied=False):
        self.commands += len(commands)
        self.rounds += 1
        return await super().run(commands, copied=copied)


@pytest.mark.parametrize("total", [60, 1500])
async def test_a_page_costs_the_same_however_many_there_are(spool, store, total):
    for n in range(total):
        Witness(spool).record(make_incident(START + n))
    assert await Shipper(spool, store).flush(30)
    for options in ({}, {"tenant": "acme"}, {"fingerprint": "ab" * 16}):
        counting = CountingStore(store)
        page = await EvidenceReader(counting, None).incidents(limit=50, **options)
        assert len(page.incidents) == 50
        names = 1 if "fingerprint" in options else 0  # it may have other names, under keys from before
        assert (counting.commands, counting.rounds) == (101 + names, 3 + names)


async def test_search_by_the_beginning_of_an_id(spool, store):
    incident = make_incident(START)
    Witness(spool).record(incident)
    Witness(spool).record(make_incident(START + 5000))
    assert await Shipper(spool, store).flush(10)
    reader = EvidenceReader(store, None)
    assert [incident.id] == await reader.find_incidents(incident.id[:12].lower())
    with pytest.raises(ValueError, match="at least 8"):
        await reader.find_incidents("06")


async def test_every_key_has_a_bound_and_a_retention(spool, store):
    keep = Keep(incidents_per_token=5, recent=7, incidents_per_tag=1000)
    witness = Witness(spool)
    for n in range(20):
        witness.record(make_incident(START + n))
    witness.note(Note(make_incident().id, "reread+1s", START))
    assert await Shipper(spool, store, keep).flush(10)
    (found,) = await store.run([("KEYS", "*")])
    found.remove(keys.LAYOUT.encode())  # one number, for as long as the store lives
    assert len(found) >= 25
    ttls = await store.run([("PTTL", key) for key in found])
    limit = keep.incident_days * 86_400_000
    assert {key for key, ttl in zip(found, ttls, strict=True) if not 0 < ttl <= limit} == set()
    assert await store.run([("ZCARD", keys.by_token("ab" * 16)), ("ZCARD", keys.RECENT)]) == [5, 7]


async def test_the_stream_is_trimmed_by_age_and_by_number(spool, store):
    witness = Witness(spool)
    now = time.time()
    old = make_incident(now - 91 * 86_400)
    entry = ("i", old.id, "c", "one.1 1 0", "d", records.pack(old).partition(b" ")[2])
    await store.run([("XADD", keys.stream(old.id), f"{int(old.at * 1000)}-{n}", *entry) for n in range(1, 301)])
    for n in range(600):
        witness.record(make_incident(now + n))
    assert await Shipper(spool, store, Keep(incidents_per_tag=1_000)).flush(20)
    assert 600 <= len(await entry_ids(store)) < 700  # whole nodes of the stream are dropped
    for n in range(50):
        witness.record(make_incident(now + n))
    assert await Shipper(spool, store, Keep(incidents_per_tag=200)).flush(10)
    assert 200 <= len(await entry_ids(store)) < 400


async def test_a_writer_whose_clock_is_ahead_takes_nothing_from_what_is_there(spool, store):
    """A machine that wakes with a wrong clock; the stream is trimmed in nodes of a few entries."""
    for n in range(100):
        Witness(spool).record(make_incident(time.time() + n / 1000))
    assert await Shipper(spool, store).flush(10)
    ahead = make_incident(time.time() + 400 * 86_400)
    Witness(spool).record(ahead)
    assert await Shipper(spool, store, clock=lambda: time.time() + 400 * 86_400).flush(10)
    assert len(await entry_ids(store)) == 101


async def test_memory_of_an_incident(spool, store, capsys):
    for n in range(500):
        Witness(spool).record(make_incident(START + n, fingerprint=f"{n:032x}"))
    assert await Shipper(spool, store).flush(20)
    (found,) = await store.run([("KEYS", "*")])
    sizes = await store.run([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in found])
    per_kind: dict[str, float] = {}
    for key, size in zip(found, sizes, strict=True):
        kind = key.decode().split("}:")[1].split(":")[0]
        kind = "chain log" if key.startswith(b"sw:{ch:") else kind
        per_kind[kind] = per_kind.get(kind, 0) + size / 500
    payload = len(records.pack(make_incident()))
    with capsys.disabled():
        print(f"\nbytes per incident of {payload} octets of JSON: {sum(per_kind.values()):.0f}", per_kind)
    assert sum(per_kind.values()) < payload + 1200
