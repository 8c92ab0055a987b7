"""What one store holds is brought into another: all of it, once, as it was, beside writers on either side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from proxy.core.incident import Note
from proxy.evidence import keys, layout, moving, newer, queries, writes
from proxy.evidence.activity import Activity, read_minutes
from proxy.evidence.aliases import names_of
from proxy.evidence.bus import Bus
from proxy.evidence.compared import Checked, Compared, check, compare, numbers
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.heartbeat import Beat, Heartbeat, read_spans
from proxy.evidence.history import History, read_part
from proxy.evidence.moving import Moved, NotMoved, Patient, move, prepare
from proxy.evidence.purge import Wanted, purge
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.witness import Witness
from tests.evidence.conftest import StoreServer, make_exchange, make_incident, valkey_binary
from tests.servers import fleets
from tests.servers.process import room

NOW = time.time()
DAY = 86_400.0
DAYS = 90.0


class Life:
    """A proxy that writes to a store, as far as the store can tell."""

    def __init__(self, store: RedisStore, room, name: str = "one") -> None:
        self.store = store
        self.spool = Spool(room / name, 1 << 20, 1 << 24, name)
        self.witness = Witness(self.spool)
        self.history = History(store, name)
        self.activity = Activity(store, f"{name}.1", name)
        self.heartbeat = Heartbeat(store, f"{name}.1", _probe, lambda: 0, self.activity.flush)

    async def live(self, begin: float, count: int, tenants: int = 3) -> list[str]:
        """`count` refusals with their notes from `begin` on, a second apart; returns their ids."""
        incidents = [make_incident(begin + n, f"t{n % tenants}", f"{n % 20:04x}{n % 20:028x}") for n in range(count)]
        for incident in incidents:
            self.witness.record(incident)
            self.witness.note(Note(incident.id, "reread+1s", incident.at + 1, text="seen"))
            self.history.saw(incident.exchange)
            self.history.saw(
                make_exchange(
                    incident.at, tenant=incident.tenant, fingerprint=incident.fingerprint, status=200, verdict="allow"
                )
            )
            self.activity.saw(incident.exchange)
        assert await Shipper(self.spool, self.store).flush(20)
        await self.history.flush()
        self.heartbeat.note(Beat(begin, ok=True, why="", requests=0))
        await self.heartbeat.flush()
        return [incident.id for incident in incidents]


async def _probe() -> tuple[bool, str]:
    return True, ""


@pytest.fixture
def other() -> Iterator[StoreServer]:
    """A second store: Valkey, so that a run with Debian's Redis goes from one kind to another."""
    with room() as directory:
        process = StoreServer(valkey_binary(), directory)
        process.start()
        yield process
        process.kill()


@pytest.fixture
async def target(other: StoreServer) -> AsyncIterator[RedisStore]:
    opened = Patient(connect(StoreOptions(other.url)))
    yield opened
    await opened.close()


@pytest.fixture
async def life(store: RedisStore, tmp_path) -> AsyncIterator[Life]:
    """A proxy with a past: incidents, notes, histories, activity, heartbeats, names, events, OAuth, a silence, the bus."""
    made = Life(store, tmp_path)
    await made.live(NOW - 5 * DAY, 300)
    use = msgspec.json.encode({"fingerprint": "ab", "tenant": "t1", "at": NOW}).decode()
    mark = {"seen": 5.0, "told_at": 6.0, "silence": {"tenant": "t1"}}
    await store.run([
        writes.index(keys.FIRST_USES, 100, 10**9, [(round(NOW * 1000), use)]),
        writes.index(keys.oauth_of_tenant("t1"), 5_000, 10**9, [(n, f"{n:06d}") for n in range(1_234)]),
        ("ZADD", keys.MADE_ROOM, 12.5, "until"),
        ("SADD", keys.names("ab" * 16), "cd" * 16),
        ("PEXPIRE", keys.names("ab" * 16), 10**9),
        ("SET", keys.refresh_link("ef" * 16), "x", "PX", 10**9),
        ("SET", keys.silence("t1"), msgspec.json.encode(mark), "PX", 10**9),
    ])  # fmt: skip
    await Bus(store, "one").exchange()
    yield made
    made.spool.close()


async def moved(source: RedisStore, target: RedisStore) -> Moved:
    await prepare(source, target)
    return [step async for step in move(source, target)][-1]


async def judged(source: RedisStore, target: RedisStore, before, progress: Moved) -> tuple[Compared, Checked]:
    looked = [step async for step in compare(source, target, progress)][-1]
    return looked, [step async for step in check(source, target, before, DAYS)][-1]


async def everything(store: RedisStore) -> dict[str, object]:
    """What is under every key, without how long it stays."""
    found: dict[str, object] = {}
    async for name in store.scan("sw:*"):
        if name == keys.CHANGES or name.startswith(keys.PROBE):
            continue
        (kind,) = await store.run([("TYPE", name)])
        match queries.as_text(kind):
            case "hash":
                (value,) = await store.run([("HGETALL", name)])
                found[name] = queries.as_map(value)
            case "zset":
                found[name] = await queries.members(store, name, 100_000)
            case "set":
                (value,) = await store.run([("SMEMBERS", name)])
                found[name] = set(value)
            case "stream":
                (value,) = await store.run([("XRANGE", name, "-", "+")])
                found[name] = [(item[0], queries.as_map(item[1])) for item in value]
            case _:
                (found[name],) = await store.run([("GET", name)])
    return found


async def lives(store: RedisStore, names) -> dict[str, int]:
    """How long each key stays, in ms."""
    return dict(zip(names, await store.run([("PTTL", name) for name in names]), strict=True))


async def test_everything_is_there_as_it_was_and_stays_as_long(store, target, life):
    before = await everything(store)
    progress = await moved(store, target)
    after = await everything(target)
    assert sorted(before) == sorted(after)
    assert before == after
    assert (300, 300, 0, 0, 0) == (
        progress.total, progress.incidents, progress.incidents_there, progress.over, progress.unknown,
    )  # fmt: skip
    assert {"t0", "t1", "t2"} <= set(await queries.members(target, keys.TENANTS, 10))
    here, there = await lives(store, list(before)), await lives(target, list(before))
    assert [] == [(name, here[name], there[name]) for name in before if abs(here[name] - there[name]) > 60_000]
    assert {keys.MADE_ROOM, keys.LAYOUT} == {name for name, left in there.items() if left < 0}, "the others end some day"


async def test_a_second_run_finds_nothing_to_do_and_a_later_one_only_what_is_new(store, target, life):
    first = await moved(store, target)
    assert (0, 0, 300) == ((again := await moved(store, target)).incidents, again.keys, again.incidents_there)
    assert first.keys == again.keys_there
    more = await life.live(NOW - 100, 9)
    third = await moved(store, target)
    assert (9, 300) == (third.incidents, third.incidents_there)
    assert 9 < third.keys < first.keys
    assert await everything(store) == await everything(target)
    reader = EvidenceReader(target, None)
    assert [True] * 9 == [await reader.incident(one) is not None for one in more]


async def test_cut_off_anywhere_and_repeated_it_comes_to_the_same(store, target, life):
    before = await everything(store)
    steps = 0
    for cut in (1, 3, 7, 12, 10**6):
        await prepare(store, target)
        steps = 0
        async for _ in move(store, target):
            steps += 1
            if steps == cut:
                break
    assert steps < 10**6
    assert before == await everything(target)


async def test_what_readers_show_is_the_same(store, target, life):
    await moved(store, target)
    pages = [await EvidenceReader(one, None).incidents("t1", limit=200) for one in (store, target)]
    assert pages[0] == pages[1]
    assert 100 == len(pages[0].incidents)
    one = pages[0].incidents[0].id
    assert await queries.notes(store, one) == await queries.notes(target, one)
    assert await names_of(store, "ab" * 16) == await names_of(target, "ab" * 16)
    for read in (
        lambda s: read_minutes(s, "t1", NOW - DAY, NOW + DAY),
        lambda s: read_spans(s, NOW - 6 * DAY, NOW),
        lambda s: queries.members(s, keys.RECENT, 1_000),
    ):
        assert await read(store) == await read(target) != []


async def test_chains_are_whole_and_each_key_is_looked_up(store, target, life):
    before = await numbers(store)
    looked, checked = await judged(store, target, before, await moved(store, target))
    assert (0, 0) == (looked.missing, looked.since)
    names = await everything(store)
    assert len(names) - len(keys_of_streams(names)) - 1 == looked.looked, "all but streams, and the layout"
    assert (1, 1, 0, []) == (checked.total, checked.whole, checked.open, checked.faults)


def keys_of_streams(found) -> list[str]:
    return [name for name, value in found.items() if isinstance(value, list)]


async def test_a_loss_on_the_way_is_found(store, target, life):
    before = await numbers(store)
    progress = await moved(store, target)
    victims = [i.id for i in (await EvidenceReader(target, None).incidents("t2", limit=3)).incidents]
    await target.run([("DEL", keys.pointer(victims[0]))])
    looked, checked = await judged(store, target, before, progress)
    assert (1, [keys.pointer(victims[0])]) == (looked.missing, looked.names)
    assert [("removed", victims[0])] == [(fault.what, fault.incident) for fault in checked.faults]


async def test_what_comes_while_it_is_compared_is_brought_or_counted(store, target, life):
    before = await numbers(store)
    progress = await moved(store, target)
    await life.live(NOW - 50, 6)
    await store.run([("SADD", keys.names("12" * 16), "34" * 16)])
    looked, checked = await judged(store, target, before, progress)
    assert (0, 6) == (looked.missing, looked.since)
    assert ["12" * 16, "34" * 16] == await names_of(target, "12" * 16)
    assert (1, 0, []) == (checked.open, checked.whole, checked.faults), "a chain that is written on is not judged"


async def test_beats_that_come_meanwhile_claim_nothing_for_counts_that_were_copied_before(store, target, life, monkeypatch):
    later, bring = float(round(NOW) + 2), moving.bring
    another = Heartbeat(store, "late.1", _probe, lambda: 0, life.activity.flush)

    async def bring_and_go_on(source, to, names, progress):
        await bring(source, to, names, progress)
        if any(":act:" in name for name in names):
            for heart in (life.heartbeat, another):
                heart.note(Beat(later, ok=True, why="", requests=0))
                await heart.flush()

    monkeypatch.setattr(moving, "bring", bring_and_go_on)
    before = await numbers(store)
    progress = await moved(store, target)
    monkeypatch.undo()
    looked, _ = await judged(store, target, before, progress)
    assert looked.missing == 0
    assert later in {span.end for span in await EvidenceReader(store, None).heartbeats(NOW - DAY, NOW + DAY)}
    copied = await EvidenceReader(target, None).heartbeats(NOW - 100 * DAY, NOW + DAY)
    assert copied
    assert all(span.end < later for span in copied)
    await moved(store, target)
    assert later in {span.end for span in await EvidenceReader(target, None).heartbeats(NOW - DAY, NOW + DAY)}


async def test_beside_a_proxy_that_writes_to_the_target_already(store, target, life, tmp_path):
    """After the change of store.url: new ones have come to the target before the last ones of the source are copied."""
    await moved(store, target)
    last = await life.live(NOW - 60, 6)
    after = Life(target, tmp_path, "two")
    with contextlib.closing(after.spool):
        new = await after.live(NOW - 30, 6)
        newest = await queries.members(target, keys.RECENT, 10)
        progress = await moved(store, target)
        assert (6, 300) == (progress.incidents, progress.incidents_there)
        reader = EvidenceReader(target, None)
        assert [True] * 12 == [await reader.incident(one) is not None for one in (*last, *new)]
        page = await reader.incidents("t0", limit=4)
        assert sorted((*last[::3], *new[::3]), reverse=True) == [one.id for one in page.incidents]
        assert set(newest) <= set(await queries.members(target, keys.RECENT, 1_000))
        again = await moved(store, target)
        assert (0, 0) == (again.incidents, again.keys)


async def test_what_is_newer_at_the_target_stays(store, target, life):
    await moved(store, target)
    incident = (await EvidenceReader(store, None).incidents("t0", limit=1)).incidents[0]
    history, notes = keys.history(incident.fingerprint), keys.notes(incident.id)
    (part,) = await target.run([("HGET", history, "one")])
    (note,) = await target.run([("HGET", notes, "reread+1s")])
    known = read_part(part)
    assert known is not None
    later = msgspec.json.encode(msgspec.structs.replace(known, last_seen=NOW + DAY))
    chain, number, rest = note.split(b" ", 2)
    renewed = b"%b %d %b" % (chain, int(number) + 9, rest)
    await target.run([("HSET", history, "one", later), ("HSET", notes, "reread+1s", renewed)])
    await target.run([("ZADD", keys.TENANTS, NOW + DAY, "t0"), ("SET", keys.refresh_link("ef" * 16), "y")])
    progress = await moved(store, target)
    assert 0 == progress.keys
    assert [later, renewed, b"y"] == await target.run(
        [("HGET", history, "one"), ("HGET", notes, "reread+1s"), ("GET", keys.refresh_link("ef" * 16))]
    )
    assert NOW + DAY == pytest.approx((await queries.members(target, keys.TENANTS, 9))["t0"])
    await moved(target, store)
    assert [later, renewed] == await store.run([("HGET", history, "one"), ("HGET", notes, "reread+1s")])


async def test_the_same_store_under_another_name(server, store):
    again = RedisStore(connect(StoreOptions(server.url.replace("127.0.0.1", "localhost"))))
    with pytest.raises(NotMoved, match="the same store"):
        await prepare(store, again)
    await again.close()
    assert [] == [name async for name in store.scan("sw:*")], "nothing is left of the probe"


@pytest.mark.parametrize("number, where", [(layout.VERSION + 1, "upgrade"), (layout.OLDER, "store migrate")])
async def test_other_layouts(store, target, life, number, where):
    for one in (store, target):
        await one.run([("SET", keys.LAYOUT, number)])
        with pytest.raises(NotMoved, match=where):
            await prepare(store, target)
        await one.run([("SET", keys.LAYOUT, layout.VERSION)])
    await prepare(store, target)


async def test_what_was_purged_does_not_come_back(store, target, life):
    assert () == await prepare(store, target)
    await moved(store, target)
    async for _ in purge(target, Wanted("t1"), remove=True):
        pass
    with pytest.raises(NotMoved, match="would come back"):
        await prepare(store, target)
    async for _ in purge(store, Wanted("t1"), remove=True):
        pass
    (tag,) = await prepare(store, target)
    assert tag in keys.by_tenant("t1"), "it is told that the source was purged after it was copied"
    progress = await moved(store, target)
    assert (0, 200) == (progress.incidents, progress.incidents_there)


async def test_what_has_expired_and_what_is_none_of_ours_is_left_out(store, target, life):
    (one, two) = (await EvidenceReader(store, None).incidents("t0", limit=2)).incidents
    await store.run([
        ("DEL", keys.pointer(one.id)),
        ("PERSIST", keys.pointer(two.id)),
        ("XADD", keys.stream(one.id), "*", "what", "ever"),
        ("XADD", "sw:{other}:stream", "*", "what", "ever"),
    ])  # fmt: skip
    progress = await moved(store, target)
    assert (299, 1, 2) == (progress.incidents, progress.over, progress.unknown)
    assert -1 == (await target.run([("PTTL", keys.pointer(two.id))]))[0]
    assert (299, 1) == ((again := await moved(store, target)).incidents_there, again.over)


async def test_a_full_store_is_told_and_a_run_with_room_goes_on(store, other, target, life):
    (info,) = await target.infos()
    other.ask(b"CONFIG SET maxmemory %d\r\n" % (int(info["used_memory"]) + 200_000))
    with pytest.raises(StoreError, match=r"OOM|maxmemory"):
        await moved(store, target)
    other.ask(b"CONFIG SET maxmemory 0\r\n")
    await moved(store, target)
    assert await everything(store) == await everything(target)


def test_what_cannot_be_read_takes_no_place():
    assert not newer.wins("sw:{ABCD}:n:x")(b"junk", b"one 1 x {}")
    assert not newer.wins("sw:{ABCD}:h:x")(b"{}", b"junk")
    assert not newer.wins("sw:{ABCD}:act:1:t")(b"1:x", b"1:2")
    assert newer.wins("sw:{ABCD}:act:1:t")(b"1:3;2:9,1,8", b"1:3;2:8,1,7")
    assert not newer.wins("sw:{ch:one}:0")(b"b", b"a"), "the log of a chain is written once"
    beats = newer.wins("sw:{hb20000}:ab")
    assert beats(b'[9.5,3,0,true,""]', b'[9.0,2,0,true,""]')
    assert beats(b'[9.0,2,0,true,""]', b'[9.5,2,0,true,""]'), "what was taken back"
    assert beats(b'[9.5,2,0,false,""]', b'[9.5,2,0,true,""]')
    assert not beats(b'[9.0,2,0,true,""]', b'[9.5,3,0,true,""]')
    assert not beats(b'[9.5,2,0,true,""]', b'[9.5,2,0,false,""]')
    assert newer.wins("sw:{ABCD}:last:a b\nc")(
        b'{"at":2,"status":1,"answered_by":"x"}', b'{"at":1,"status":1,"answered_by":"x"}'
    )


@pytest.mark.redis_server
@pytest.mark.slow
async def test_from_one_node_to_a_cluster_and_back(store, target, life):
    before = await everything(store)
    with fleets.cluster() as nodes:
        cluster = Patient(connect(StoreOptions(nodes.url)))
        try:
            assert 300 == (await moved(store, cluster)).incidents
            assert before == await everything(cluster)
            assert 0 == (await moved(store, cluster)).incidents
            assert 300 == (await moved(cluster, target)).incidents
            assert before == await everything(target)
        finally:
            await cluster.close()
