"""What is purged is gone wherever it was, what is not stays, and verification tells a purge from tampering."""

from __future__ import annotations

import re
import time

import pytest

from proxy.core.incident import Note
from proxy.core.memory import FirstUse
from proxy.evidence import keys, writes
from proxy.evidence.activity import Activity
from proxy.evidence.history import History
from proxy.evidence.purge import Wanted, purge
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.verify import chains, purged, verify
from proxy.evidence.witness import Witness
from tests.evidence.conftest import make_exchange, make_incident

NOW = time.time()
DAY = 86_400.0


@pytest.fixture
async def filled(spool_root, store):
    """Three tenants, 100 incidents each over ten days, with notes, histories, activity, events and refresh tokens."""
    spool = Spool(spool_root, 1 << 20, 1 << 24, "one")
    witness = Witness(spool)
    incidents = [make_incident(NOW - 10 * DAY + n * DAY / 30, f"tenant{n % 3}", f"{n % 3:032x}") for n in range(300)]
    for incident in incidents:
        witness.record(incident)
        witness.note(Note(incident.id, "reread+1s", incident.at + 1, text="seen"))
    assert await Shipper(spool, store).flush(20)
    history, activity = History(store, "one"), Activity(store, "one.1", "one")
    for tenant in range(3):
        served = make_exchange(NOW, tenant=f"tenant{tenant}", fingerprint=f"{tenant:032x}", status=200, verdict="allow")
        history.saw(served)
        activity.saw(served)
    await history.flush()
    await activity.flush()
    use = [(round(NOW * 1000), _json(FirstUse(f"{n:032x}", f"tenant{n}", NOW, new=True))) for n in range(3)]
    await store.run([
        writes.index(keys.FIRST_USES, 100, 10**9, use),
        *(("ZADD", keys.RECENT_LINKS, 1, f"{'ef' * 16} {n:032x} tenant{n}") for n in range(3)),
        *(("ZADD", keys.OAUTH_CLIENTS, 1, f"client{n}\ntenant{n}") for n in range(3)),
        ("SET", keys.refresh_link("ef" * 16), "x"),
    ])  # fmt: skip
    yield incidents
    spool.close()


def _json(value):
    import msgspec

    return msgspec.json.encode(value).decode()


async def done(store, wanted, remove=True):
    last = None
    async for progress in purge(store, wanted, remove=remove):
        last = progress
    assert last is not None
    return last


READS = {
    "stream": ("XRANGE", "-", "+"), "string": ("GET",), "hash": ("HGETALL",), "zset": ("ZRANGE", "0", "-1"),
    "set": ("SMEMBERS",),
}  # fmt: skip


async def dump(store):
    """The name of every key, and everything that is under them."""
    names, whole = set(), []
    for kind, (command, *rest) in READS.items():
        found = [name async for name in store.scan("sw:*", kind)]
        names |= set(found)
        whole += await store.run([(command, name, *rest) for name in found])
    return names, repr(whole)


async def test_a_tenant_is_forgotten_altogether_and_the_others_are_as_they_were(store, filled):
    reader = EvidenceReader(store, None)
    counted = await done(store, Wanted("tenant1"), remove=False)
    names, _ = await dump(store)
    assert (100, 1) == (counted.incidents, counted.tokens)
    assert 300 == len((await reader.incidents(limit=400)).incidents), "counting removes nothing"

    gone = await done(store, Wanted("tenant1"))
    assert (100, 1) == (gone.incidents, gone.tokens)
    assert () == (await reader.incidents("tenant1")).incidents
    assert await reader.history(f"{1:032x}") is None
    assert (None, [], False) == (
        await reader.last_request("tenant1"),
        await reader.activity("tenant1", NOW - DAY, NOW + DAY),
        "tenant1" in await reader.tenants(),
    )
    left, held = await dump(store)
    assert [] == [name for name in left if name.endswith((":tenant1", f"{1:032x}"))]
    assert [] == re.findall(r".{20}tenant1.{20}", held), "its name stands nowhere"
    assert [] == re.findall(rf".{{20}}{1:032x}.{{20}}", held), "nor does its token's"
    ids = {i.id for i in filled if i.tenant == "tenant1"}
    assert [] == [name for name in left if name[-26:] in ids]

    assert {i.id for i in filled} - ids == {i.id for i in (await reader.incidents(limit=400)).incidents}
    assert await reader.history(f"{2:032x}") is not None
    assert {name for name in names if name.endswith((":tenant0", ":tenant2"))} <= left
    assert 0 == (await done(store, Wanted("tenant1"))).incidents


async def test_by_age_the_old_ones_of_all_go(store, filled):
    before = NOW - 5 * DAY
    old = {i.id for i in filled if i.at < before}
    assert len(old) == (await done(store, Wanted(before=before))).incidents
    reader = EvidenceReader(store, None)
    assert {i.id for i in filled} - old == {i.id for i in (await reader.incidents(limit=400)).incidents}
    assert await reader.history(f"{1:032x}") is not None, "age is about incidents"


async def test_a_tenants_old_ones_go_and_its_memory_stays(store, filled):
    before = NOW - 5 * DAY
    wanted = {i.id for i in filled if i.at < before and i.tenant == "tenant2"}
    assert len(wanted) == (await done(store, Wanted("tenant2", before))).incidents
    reader = EvidenceReader(store, None)
    assert await reader.history(f"{2:032x}") is not None
    assert {i.id for i in filled} - wanted == {i.id for i in (await reader.incidents(limit=400)).incidents}


@pytest.mark.parametrize("wanted", [Wanted("tenant1"), Wanted(before=NOW - 5 * DAY), Wanted("tenant1", NOW - 5 * DAY)])
async def test_a_purge_is_no_tampering_but_a_removal_after_it_is(store, filled, wanted):
    (chain,) = await chains(store)
    await done(store, wanted)
    found = await verify(store, chain, 90)
    assert (None, True) == (found.fault, found.expired > 0)
    assert 1 == len(await purged(store))
    victim = next(i for i in reversed(filled) if i.tenant == "tenant0")
    await store.run([("DEL", keys.pointer(victim.id))])
    fault = (await verify(store, chain, 90)).fault
    assert fault is not None
    assert ("removed", victim.id) == (fault.what, fault.incident)


async def test_a_purge_of_everything_has_to_be_asked_for_in_words(store):
    with pytest.raises(ValueError, match="neither"):
        await done(store, Wanted())
