"""Activity and heartbeats in a real store, and what follows from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.absence import Traffic
from proxy.core.exchange import AnsweredBy
from proxy.core.incident import tenant_tag
from proxy.evidence import activity as activity_module
from proxy.evidence import keys
from proxy.evidence.activity import EVERYONE, Activity, pack, unpack
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.copies import Copies
from proxy.evidence.heartbeat import Heartbeat
from proxy.evidence.history import History
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import TURN, RedisStore, StoreError
from tests.evidence.conftest import START, Clock, make_exchange

MINUTE = START // 3600 * 3600 + 600.0


def served(tenant="acme"):
    return make_exchange(MINUTE, tenant=tenant, status=200, answered_by=AnsweredBy.BACKEND)


async def well():
    return True, ""


async def test_minutes_are_absolute_and_processes_add_up(store):
    clock = Clock(MINUTE)
    one, two = Activity(store, "one.1", "one", clock=clock), Activity(store, "two.1", "two", clock=clock)
    for n in range(5):
        one.saw(served())
        two.saw(make_exchange(MINUTE + n))
        await one.flush()
        await two.flush()
    clock.now += 60
    one.saw(served("beta"))
    await one.flush()
    reader = EvidenceReader(store, None)
    assert [(m.start, m.traffic) for m in await reader.activity("acme", MINUTE, MINUTE + 600)] == [(MINUTE, Traffic(10, 5, 5))]
    assert sum(m.traffic.requests for m in await reader.activity(EVERYONE, MINUTE, MINUTE + 600)) == 11
    assert set(await reader.tenants()) == {"acme", "beta"}
    last = await reader.last_request("acme")
    assert last is not None
    assert (last.at, last.status, last.reason) == (MINUTE + 4, 401, "revoked")


class Overheard(RedisStore):
    """Tells of each round before it goes out."""

    def __init__(self, store, tell):
        super().__init__(store._client)
        self.tell = tell

    async def run(self, commands, *, copied=False):
        self.tell(len(commands))
        return await super().run(commands, copied=copied)


async def test_counts_of_many_tenants_leave_in_turns_and_what_comes_meanwhile_is_not_lost(store):
    rounds = []

    def tell(commands):
        rounds.append(commands)
        if len(rounds) <= 3:
            counted.saw(served("t7"))
            counted.saw(served(f"late{len(rounds)}"))

    counted = Activity(Overheard(store, tell), "one.1", "one", clock=Clock(MINUTE))
    for n in range(60):
        counted.saw(served(f"t{n}"))
    await counted.flush()
    assert max(rounds) <= TURN
    assert len(rounds) >= 3
    await counted.flush()
    reader = EvidenceReader(store, None)
    for tenant, requests in (("t7", 4), ("t8", 1), ("late1", 1), ("late3", 1), (EVERYONE, 66)):
        minutes = await reader.activity(tenant, MINUTE - 60, MINUTE + 60)
        assert sum(minute.traffic.requests for minute in minutes) == requests, tenant
    assert (await reader.last_request("late3")) is not None


@pytest.mark.parametrize("damaged", ["{", '{"at": "never"}', b"\xff"])
async def test_a_damaged_last_request_leaves_those_of_other_instances(store, damaged):
    one = Activity(store, "one.1", "one", clock=Clock(MINUTE))
    one.saw(served())
    await one.flush()
    await store.run([("HSET", keys.last_request("acme"), "two", damaged)])
    last = await EvidenceReader(store, None).last_request("acme")
    assert last is not None
    assert MINUTE == last.at
    await store.run([("HDEL", keys.last_request("acme"), "one")])
    assert await EvidenceReader(store, None).last_request("acme") is None


@given(st.dictionaries(st.integers(0, 59), st.tuples(*[st.integers(0, 10**9)] * 3)))
def test_packed_minutes_read_back(minutes):
    valid = {minute: (good + refused + rest, good, refused) for minute, (good, refused, rest) in minutes.items()}
    assert dict(unpack(pack(valid))) == {minute: Traffic(*numbers) for minute, numbers in valid.items()}


async def memory(store, pattern):
    (found,) = await store.run([("KEYS", pattern)])
    return sum(await store.run([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in found]))


async def test_memory_of_tenants_tokens_and_heartbeats(store, capsys):
    clock = Clock(MINUTE // 86_400 * 86_400)
    quiet, busy = Activity(store, "one.1", "one", clock=clock), Activity(store, "one.1", "one", clock=clock)
    for minute in range(1440):
        for counted, name, often in ((quiet, "quiet-tenant", 20), (busy, "busy-tenant", 1)):
            if minute % often == 0:
                for n in range(30):
                    counted.saw(served(name) if n else make_exchange(tenant=name))
                await counted.flush()
        clock.now += 60
    history = History(store, "one")
    for n in range(200):
        for _ in range(3):
            history.saw(make_exchange(fingerprint=f"{n:032x}"))
            history.saw(make_exchange(fingerprint=f"{n:032x}", status=200, answered_by=AnsweredBy.BACKEND))
    await history.flush()
    world = Listening(store, Clock(clock.now))
    await world.beat(17_280)
    found = {
        "quiet tenant-day (72 minutes)": await memory(store, "*:act:*quiet*"),
        "busy tenant-day (1440 minutes)": await memory(store, "*:act:*busy*"),
        "last request": await memory(store, "*:last:quiet*"),
        "token": (await memory(store, "*:h:*") + await memory(store, "*fps")) / 200,
        "instance-day of heartbeats": await memory(store, "sw:{hb*:*"),
    }
    with capsys.disabled():
        print("\nbytes:", found)
    assert found["quiet tenant-day (72 minutes)"] < 2_500
    assert found["busy tenant-day (1440 minutes)"] < 25_000
    assert found["token"] < 1_500
    assert found["instance-day of heartbeats"] < 3_500


async def test_what_the_store_did_not_take_is_written_later_and_bounded(store, server, monkeypatch):
    monkeypatch.setattr(activity_module, "DIRTY_LIMIT", 4)
    clock = Clock(MINUTE)
    counted = Activity(store, "one.1", "one", clock=clock)
    server.kill()
    for _ in range(4):
        counted.saw(served())
        with pytest.raises(StoreError):
            await counted.flush()
        clock.now += 3600
    assert counted.dropped == 4
    server.start()
    await counted.flush()
    minutes = await EvidenceReader(store, None).activity("acme", MINUTE - 60, MINUTE + 20_000)
    assert [m.start for m in minutes] == [MINUTE + 7200, MINUTE + 10_800]


class Listening:
    """A process that beats every 5 seconds and can be told what its probe says."""

    def __init__(self, store, clock, name="one.1"):
        self.clock = clock
        self.activity = Activity(store, name, "one", clock=clock)
        self.answer = (True, "")
        self.heart = Heartbeat(
            store, name, self.probe, lambda: self.activity.requests, self.activity.flush,
            clock=clock, lost_until=lambda: self.activity.lost_until,
        )  # fmt: skip

    async def probe(self):
        return self.answer

    async def beat(self, times):
        for _ in range(times):
            await self.heart.beat()
            self.clock.now += 5


async def test_absence_is_proven_by_beats_and_gaps_are_named(store):
    clock = Clock(MINUTE)
    world = Listening(store, clock)
    world.activity.saw(make_exchange(MINUTE))
    await world.beat(13)
    world.activity.saw(served("beta"))
    await world.beat(120)
    reader = EvidenceReader(store, None)
    found = await reader.absence("acme", MINUTE + 60, MINUTE + 660)
    assert (found.code, found.coverage.share, found.coverage.gaps) == ("absent_proven", 1.0, ())
    assert found.others.requests == 1
    assert found.last_before is not None
    assert found.last_before.status == 401
    clock.now += 100  # nothing beats
    await world.beat(10)
    world.answer = (False, "connection refused")
    await world.beat(4)
    world.answer = (True, "")
    await world.beat(20)
    later = await reader.absence("acme", MINUTE + 660, MINUTE + 900)
    assert later.code == "absent_partly"
    assert [gap.why for gap in later.coverage.gaps] == ["no heartbeat", "connection refused"]
    nothing = await reader.absence("acme", MINUTE - 7200, MINUTE - 3600)
    assert (nothing.code, nothing.coverage.share) == ("absent_unproven", 0.0)


async def test_the_last_request_before_is_found_although_later_ones_came(store):
    clock = Clock(MINUTE)
    world = Listening(store, clock)
    world.activity.saw(served())
    await world.beat(200)
    world.activity.saw(make_exchange(clock.now))
    await world.beat(2)
    found = await EvidenceReader(store, None).absence("acme", MINUTE + 120, MINUTE + 600)
    assert found.last_before is not None
    assert (found.last_before.at, found.last_before.status) == (MINUTE, 0)


async def test_a_quiet_day_is_a_span_an_hour(store):
    clock = Clock(MINUTE)
    world = Listening(store, clock)
    await world.beat(3 * 720)
    spans = await EvidenceReader(store, None).heartbeats(MINUTE, clock.now)
    assert len(spans) == 4
    assert sum(span.beats for span in spans) == 3 * 720
    assert {span.instance for span in spans} == {"one.1"}


async def test_a_beat_is_not_on_record_before_the_requests_it_speaks_for(store):
    clock = Clock(MINUTE)

    async def cannot_settle():
        raise StoreError("unreachable", "")

    heart = Heartbeat(store, "one.1", well, lambda: 0, cannot_settle, clock=clock)
    with pytest.raises(StoreError):
        await heart.beat()
    assert await EvidenceReader(store, None).heartbeats(MINUTE - 60, MINUTE + 60) == []


async def test_beats_wait_for_a_store_that_is_away(store, server):
    clock = Clock(MINUTE)
    world = Listening(store, clock)
    server.kill()
    for _ in range(20):
        with pytest.raises(StoreError):
            await world.heart.beat()
        clock.now += 5
    server.start()
    await world.heart.beat()
    (span,) = await EvidenceReader(store, None).heartbeats(MINUTE, clock.now)
    assert span.beats == 21


async def code_of(store, start, end, tenant="acme"):
    return (await EvidenceReader(store, None).absence(tenant, start, end)).code


async def test_after_the_clock_was_set_back_requests_count_where_the_beats_are(store):
    clock = Clock(MINUTE + 7200)  # two hours ahead
    world = Listening(store, clock)
    world.activity.saw(served("beta"))
    await world.beat(20)
    clock.now = MINUTE
    await world.beat(10)
    world.activity.saw(served())
    await world.beat(20)
    assert await code_of(store, MINUTE, MINUTE + 120) == "arrived"
    ahead = await EvidenceReader(store, None).absence("acme", MINUTE + 7200, MINUTE + 7260)
    assert (ahead.code, {gap.why for gap in ahead.coverage.gaps}) == ("absent_unproven", {"the clock was set back"})
    clock.now = MINUTE + 7200
    world.activity.saw(served("beta"))
    await world.beat(2)
    minutes = await EvidenceReader(store, None).activity("beta", MINUTE, MINUTE + 9000)
    assert [(m.start, m.traffic.requests) for m in minutes] == [(MINUTE + 7200, 2)]


async def test_a_clock_that_is_set_back_a_little_leaves_no_gap(store):
    clock = Clock(MINUTE)
    world = Listening(store, clock)
    await world.beat(20)
    clock.now -= 8
    await world.beat(20)
    assert await code_of(store, MINUTE, MINUTE + 180) == "absent_proven"


async def test_beats_are_forgotten_no_later_than_counts(store):
    clock = Clock(START // 86_400 * 86_400 + 300)
    world = Listening(store, clock)
    counted = clock.now
    world.activity.saw(served())
    await world.beat(1)
    clock.now += 86_400 - 700
    await world.beat(1)
    day = int(START // 86_400)
    names = [keys.heartbeat_instances(day), keys.heartbeats(day, activity_module.short_name("one.1"))]
    *beats, counts = await store.run([("PTTL", key) for key in (*names, keys.activity("acme", day))])
    assert all(0 < clock.now * 1000 - 5000 + left <= counted * 1000 + counts for left in beats)


async def test_counts_that_were_dropped_prove_no_absence(store, server, monkeypatch):
    monkeypatch.setattr(activity_module, "DIRTY_LIMIT", 4)
    world = Listening(store, Clock(MINUTE))
    await world.beat(1)
    server.kill()
    for _ in range(4):
        world.activity.saw(served())
        for _ in range(4):
            with pytest.raises(StoreError):
                await world.heart.beat()
            world.clock.now += 5
        world.clock.now += 3600
    server.start()
    await world.beat(5)
    hours = [(MINUTE + hour * 3620 + 6, MINUTE + hour * 3620 + 18) for hour in range(4)]
    assert world.activity.dropped == 4
    assert [await code_of(store, *hour) for hour in hours] == ["absent_unproven", "absent_unproven", "arrived", "arrived"]
    assert {await code_of(store, *hour, "beta") for hour in hours[2:]} == {"absent_proven"}


@pytest.mark.parametrize("restored", [False, True])
async def test_a_store_that_forgot_proves_nothing_of_the_time_before(store, restored):
    world = Listening(store, Clock(MINUTE))
    await world.beat(13)
    day = int(MINUTE // 86_400)
    names = [keys.heartbeat_instances(day), keys.heartbeats(day, activity_module.short_name("one.1"))]
    before = await store.run([("DUMP", name) for name in names])
    await world.beat(12)
    world.activity.saw(served())
    await world.beat(12)
    assert await code_of(store, MINUTE + 120, MINUTE + 180) == "arrived"
    await store.run([("FLUSHALL",)])
    if restored:
        await store.run([("RESTORE", name, 0, dump) for name, dump in zip(names, before, strict=True)])
    await world.beat(20)
    assert await code_of(store, MINUTE + 120, MINUTE + 180) == "absent_unproven"
    assert await code_of(store, MINUTE + 190, MINUTE + 250) == "absent_proven"


async def test_counts_wait_for_a_replica_where_there_is_one(server):
    client = connect(StoreOptions(server.url))
    store = RedisStore(client, copies=Copies(client, 1))
    world = Listening(store, Clock(MINUTE))
    world.activity.saw(served())
    with pytest.raises(StoreError, match="replicas"):
        await world.heart.beat()
    assert await EvidenceReader(store, None).heartbeats(MINUTE - 60, MINUTE + 60) == []
    await store.close()


@pytest.mark.parametrize("end, code", [("kill", "absent_partly"), ("order", "arrived"), ("left", "arrived")])
async def test_what_a_killed_process_counted_last_is_not_called_absent_because_another_listened(store, end, code):
    one, two = Listening(store, Clock(MINUTE), "one.1"), Listening(store, Clock(MINUTE), "two.1")
    for _ in range(30):
        await one.beat(1)
        if one.clock.now < MINUTE + 65:
            await two.beat(1)
    two.activity.saw(served())
    if end == "order":
        await two.heart.end()
    if end == "left":
        two.heart.leave()
        await two.beat(2)
    assert await code_of(store, MINUTE + 60, MINUTE + 120) == code
    last = max(await EvidenceReader(store, None).heartbeats(MINUTE, MINUTE + 300), key=lambda span: (span.instance, span.end))
    assert (last.ok, last.why) == (end == "kill", {"order": "ended in order", "left": "another process listens"}.get(end, ""))


async def test_after_an_end_in_order_the_others_prove_the_time(store):
    one, two = Listening(store, Clock(MINUTE), "one.1"), Listening(store, Clock(MINUTE), "two.1")
    await two.beat(3)
    await two.heart.end()
    await one.beat(30)
    assert await code_of(store, MINUTE, MINUTE + 120) == "absent_proven"


async def test_a_purged_tenant_is_not_called_absent(store):
    world = Listening(store, Clock(MINUTE))
    world.activity.saw(served())
    await world.beat(60)
    day = int(MINUTE // 86_400)
    await store.run([("ZADD", keys.PURGED, MINUTE + 120, tenant_tag("acme")), ("DEL", keys.activity("acme", day))])
    assert await code_of(store, MINUTE, MINUTE + 100) == "absent_unproven"
    assert await code_of(store, MINUTE + 130, MINUTE + 240) == "absent_proven"


async def test_a_probe_that_hangs_or_fails_is_a_bad_beat(monkeypatch):
    async def refused():
        raise ConnectionRefusedError(111, "Connection refused")

    heart = Heartbeat(None, "one.1", refused, lambda: 0, well)
    await heart.beat()
    assert heart.last is not None
    assert (heart.last.ok, heart.last.why) == (False, "self-probe: Connection refused")
