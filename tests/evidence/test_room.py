"""A full store of our own makes room: the oldest incidents go, new ones arrive, and verification knows it."""

from __future__ import annotations

import time

import pytest

from proxy.evidence import keys, queries
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import StoreError
from proxy.evidence.room import Room, is_full
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.verify import chains, verify
from proxy.evidence.witness import Witness
from proxy.evidence.writes import DAY
from tests.evidence.conftest import START, Clock, make_exchange, make_incident
from tests.evidence.test_presence import Listening


@pytest.fixture
def spool(spool_root):
    made = Spool(spool_root, 1 << 20, 64 << 20, "one")
    yield made
    made.close()


def many(count, start=0):
    return [make_incident(START + start + n, tenant=f"t{n % 7}", fingerprint=f"{n:032x}") for n in range(count)]


async def used(store):
    (info,) = await store.run([("INFO", "memory")])
    return info["used_memory"] if isinstance(info, dict) else int(info.split(b"used_memory:")[1].split(b"\r")[0])


async def kept(store, incidents):
    found = await queries.incidents(store, [incident.id for incident in incidents])
    return [incident.id in found for incident in incidents]


async def test_old_evidence_never_blocks_new(spool, store):
    told: list[tuple[int, float]] = []
    room = Room(store, lambda count, until: told.append((count, until)), batch=100)
    shipper = Shipper(spool, store, clock=lambda: START + 3000, room=room)
    witness = Witness(spool)
    old = many(600)
    for incident in old:
        witness.record(incident)
    assert await shipper.flush(20)
    await store.run([("CONFIG", "SET", "maxmemory", await used(store)), ("CONFIG", "SET", "maxmemory-policy", "noeviction")])
    new = many(300, start=1000)
    for incident in new:
        witness.record(incident)
    assert await shipper.flush(30)
    assert all(await kept(store, new))
    present = await kept(store, old)
    assert present == sorted(present), "the oldest went first"
    gone = present.count(False)
    assert (gone, gone) == (room.removed, sum(count for count, _ in told))
    assert 0 < gone < 600
    assert shipper.state.failing_since is None
    await store.run([("CONFIG", "SET", "maxmemory", 0)])
    first = old[0]
    (recent, tenant, pointer) = await store.run([
        ("ZSCORE", keys.RECENT, first.id),
        ("ZSCORE", keys.by_tenant(first.tenant), first.id),
        ("EXISTS", keys.pointer(first.id)),
    ])  # fmt: skip
    assert (None, None, 0) == (recent, tenant, pointer)
    (chain,) = await chains(store)
    verified = await verify(store, chain, 90, now=START + 3000)
    assert (None, 900 - gone) == (verified.fault, verified.checked)
    await store.run([("DEL", keys.pointer(new[5].id))])
    again = await verify(store, chain, 90, now=START + 3000)
    assert again.fault is not None, "what nobody had to remove is still missed"
    assert new[5].id == again.fault.incident


async def test_counts_of_old_days_make_room_for_incidents(spool, store):
    """Enough tenants fill the store by being served; their incidents are few, and must not go before all counts do."""
    today = time.time() // DAY * DAY
    days = [today - ago * DAY for ago in (40, 39, 38)]
    for day in days:
        clock = Clock(day)
        world = Listening(store, clock)
        for n in range(2_000):
            world.activity.saw(make_exchange(day, tenant=f"served-{n}-{'x' * 300}", status=200))
        await world.beat(4)
    witness = Witness(spool)
    room = Room(store, lambda *_: None)
    shipper = Shipper(spool, store, room=room)
    old = [make_incident(time.time() - 5, fingerprint=f"{n:032x}") for n in range(20)]
    new = [make_incident(time.time(), fingerprint=f"{n:032x}") for n in range(300)]
    for incident in old:
        witness.record(incident)
    assert await shipper.flush(20)
    await store.run([("CONFIG", "SET", "maxmemory", await used(store)), ("CONFIG", "SET", "maxmemory-policy", "noeviction")])
    for incident in new:
        witness.record(incident)
    assert await shipper.flush(30)
    await store.run([("CONFIG", "SET", "maxmemory", 0)])
    assert all(await kept(store, [*old, *new]))
    assert room.removed == 0
    reader = EvidenceReader(store, None)
    served = f"served-1-{'x' * 300}"
    codes = [(await reader.absence(served, day, day + 15)).code for day in days]
    assert (codes[0], codes[-1]) == ("absent_unproven", "arrived")
    assert "absent_proven" not in codes
    assert served in await reader.tenants()


async def test_without_counts_of_old_days_the_oldest_incidents_go(store, spool):
    Listening(store, Clock()).activity.saw(make_exchange(time.time()))
    for incident in many(5):
        Witness(spool).record(incident)
    assert await Shipper(spool, store).flush(20)
    assert await Room(store, lambda *_: None, batch=3).make() == 3


async def test_a_store_of_others_is_left_alone(spool, store):
    shipper = Shipper(spool, store)
    witness = Witness(spool)
    for incident in many(50):
        witness.record(incident)
    assert await shipper.flush(10)
    await store.run([("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory-policy", "noeviction")])
    witness.record(make_incident(START + 100))
    assert not await shipper.flush(0.5)
    await store.run([("CONFIG", "SET", "maxmemory", 0)])
    assert await shipper.flush(10)
    assert 51 == shipper.state.stored


async def test_nothing_left_to_remove(store):
    assert 0 == await Room(store, lambda *_: None).make()


def test_what_counts_as_full():
    assert is_full(StoreError("refused", "OOM command not allowed when used memory > 'maxmemory'."))
    assert not is_full(StoreError("refused", "NOAUTH"))
    assert not is_full(StoreError("timeout", "OOM"))
