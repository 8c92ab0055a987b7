"""The first record that was altered or removed is named."""

from __future__ import annotations

import time

import pytest

from proxy.core.incident import Note
from proxy.evidence import keys
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.strays import SETTLED, strays
from proxy.evidence.verify import Fault, chains, verify
from proxy.evidence.witness import Witness
from tests.evidence.conftest import make_incident


@pytest.fixture
async def told(spool_root, store):
    """A chain of 250 incidents with a note after each tenth, in the store."""
    spool = Spool(spool_root, 1 << 20, 1 << 24, "one")
    witness = Witness(spool)
    incidents = [make_incident(time.time() + n / 1000, f"t{n % 3}") for n in range(250)]
    for n, incident in enumerate(incidents):
        witness.record(incident)
        if n % 10 == 9:
            witness.note(Note(incident.id, "repeats", time.time(), text=str(n)))
            witness.note(Note(incident.id, "repeats", time.time(), text=f"{n} again"))
    assert await Shipper(spool, store).flush(20)
    yield spool.chain, incidents
    spool.close()


async def entry_of(store, incident):
    (pointer,) = await store.run([("GET", keys.pointer(incident.id))])
    ((found,),) = await store.run([("XRANGE", keys.stream(incident.id), pointer, pointer)])
    return pointer, found[1]


async def test_an_untouched_chain_is_whole(told, store):
    chain, _ = told
    assert await chains(store) == [chain]
    found = await verify(store, chain, 90)
    assert (found.checked, found.fault) == (250 + 25, None)  # the first of each two notes was superseded


async def test_an_altered_incident_is_named(told, store):
    chain, incidents = told
    changed = incidents[123]
    pointer, fields = await entry_of(store, changed)
    lie = fields[b"d"].replace(b"revoked", b"expired", 1)
    (entry,) = await store.run([("XADD", keys.stream(changed.id), "*", "i", changed.id, "c", fields[b"c"], "d", lie)])
    await store.run([("XDEL", keys.stream(changed.id), pointer), ("SET", keys.pointer(changed.id), entry)])
    found = await verify(store, chain, 90)
    assert found.fault == Fault(chain, 124 + 2 * 12, "altered", changed.id)


@pytest.mark.parametrize("last", [False, True])
async def test_a_removed_incident_is_named(told, store, last):
    chain, incidents = told
    gone = incidents[-1 if last else 7]
    pointer, _ = await entry_of(store, gone)
    await store.run([("XDEL", keys.stream(gone.id), pointer), ("DEL", keys.pointer(gone.id))])
    found = await verify(store, chain, 90)
    assert found.fault is not None
    assert (found.fault.what, found.fault.incident) == ("removed", gone.id)


async def test_an_incident_removed_with_its_line_in_the_log_is_named(told, store):
    chain, incidents = told
    pointer, _ = await entry_of(store, incidents[50])
    number = 51 + 2 * 5
    block = keys.chain_block(chain, number)
    await store.run([("XDEL", keys.stream(incidents[50].id), pointer), ("HDEL", block, str(number))])
    assert (await verify(store, chain, 90)).fault == Fault(chain, number, "removed")


async def test_a_removed_and_an_altered_note_are_named(told, store):
    chain, incidents = told
    key = keys.notes(incidents[9].id)
    ((name, value),) = (await store.run([("HGETALL", key)]))[0].items()
    await store.run([("HSET", key, name, value.replace(b"again", b"never"))])
    found = await verify(store, chain, 90)
    assert found.fault == Fault(chain, 12, "altered", incidents[9].id, "repeats")
    await store.run([("DEL", key)])
    found = await verify(store, chain, 90)
    assert found.fault == Fault(chain, 11, "removed", incidents[9].id, "repeats")


# --- attempts to fool it -------------------------------------------------------------------------------------------------


async def test_a_chain_taken_out_of_the_lists_is_checked_all_the_same(told, store):
    chain, incidents = told
    await store.run([("ZREM", keys.CHAIN_LAST, chain)])
    assert (await verify(store, chain, 90)).checked == 250 + 25
    assert await chains(store) == [chain]
    await store.run([("ZREM", keys.CHAINS, chain)])
    assert await chains(store) == []
    assert (await strays(store, 90, now=time.time() + SETTLED + 60)).chains == (chain,)
    pointer, _ = await entry_of(store, incidents[3])
    await store.run([("XDEL", keys.stream(incidents[3].id), pointer)])
    assert (await verify(store, chain, 90)).fault == Fault(chain, 4, "removed", incidents[3].id)


async def test_a_lowered_last_number_hides_nothing(told, store):
    chain, incidents = told
    await store.run([("ZADD", keys.CHAIN_LAST, 20, chain), ("DEL", keys.pointer(incidents[-1].id))])
    found = (await verify(store, chain, 90)).fault
    assert found is not None
    assert ("removed", incidents[-1].id) == (found.what, found.incident)


async def test_the_first_hundred_cannot_have_expired_in_a_chain_of_today(told, store):
    chain, incidents = told
    await store.run([("DEL", keys.chain_block(chain, 1)), *(("DEL", keys.pointer(i.id)) for i in incidents[:83])])
    assert (await verify(store, chain, 90)).fault == Fault(chain, 1, "removed")


async def test_a_note_that_claims_to_be_a_later_one_is_altered(told, store):
    chain, incidents = told
    key = keys.notes(incidents[9].id)
    ((name, value),) = (await store.run([("HGETALL", key)]))[0].items()
    for place in (f"{chain} 9999", f"{chain} 24", "another.chain 3"):
        forged = value.replace(f"{chain} 12".encode(), place.encode(), 1)
        assert forged != value
        await store.run([("HSET", key, name, forged)])
        found = await verify(store, chain, 90)
        assert found.fault == Fault(chain, 11, "altered", incidents[9].id, "repeats")


async def test_an_earlier_note_put_back_is_altered(told, store, spool_root):
    chain, incidents = told
    key = keys.notes(incidents[9].id)
    ((name, value),) = (await store.run([("HGETALL", key)]))[0].items()
    earlier = value.replace(f"{chain} 12".encode(), f"{chain} 11".encode(), 1)
    await store.run([("HSET", key, name, earlier)])
    assert (await verify(store, chain, 90)).fault is not None


@pytest.mark.parametrize("lie", [b"", b"{}", b"\xff\xfe not JSON", b'{"id":1}'])
async def test_what_cannot_be_read_any_more_is_altered(told, store, lie):
    chain, incidents = told
    pointer, fields = await entry_of(store, incidents[0])
    garbled = ("XADD", keys.stream(incidents[0].id), "*", "i", incidents[0].id, "c", fields[b"c"], "d", lie)
    (entry,) = await store.run([garbled])
    await store.run([("SET", keys.pointer(incidents[0].id), entry)])
    assert (await verify(store, chain, 90)).fault == Fault(chain, 1, "altered", incidents[0].id)
    await store.run([("HSET", keys.notes(incidents[9].id), "repeats", lie), ("SET", keys.pointer(incidents[0].id), pointer)])
    fault = (await verify(store, chain, 90)).fault
    assert fault is not None
    assert ("altered", "repeats") == (fault.what, fault.name)


async def test_an_incident_that_nobody_wrote_is_found(told, store):
    chain, incidents = told
    later = time.time() + SETTLED + 60
    assert (await strays(store, 90, now=later)).faults == ()
    _, fields = await entry_of(store, incidents[5])
    made_up = make_incident(time.time(), "t2")
    body = fields[b"d"].replace(incidents[5].id.encode(), made_up.id.encode())
    place = (b"i", made_up.id, b"c", fields[b"c"], b"d", body)
    (entry,) = await store.run([("XADD", keys.stream(made_up.id), "*", *place)])
    at = int(time.time() * 1000)
    await store.run([("SET", keys.pointer(made_up.id), entry), ("ZADD", keys.RECENT, at, made_up.id)])
    assert (await strays(store, 90, now=later)).faults == (Fault(chain, 6, "added", made_up.id),)
    assert (await strays(store, 90, now=time.time())).faults == (), "it may still be on its way"


async def test_two_instances_and_restarts_write_chains_that_hold(store, spool_root):
    for start in range(3):
        for name in ("one", "two"):
            spool = Spool(spool_root, 1 << 20, 1 << 24, name)
            witness = Witness(spool)
            incident = make_incident(time.time(), "t1")
            witness.record(incident)
            for n in range(120):
                witness.note(Note(incident.id, "repeats", time.time(), text=f"{name} {start} {n}"))
            assert await Shipper(spool, store).flush(20)
            spool.close()
    found = [await verify(store, chain, 90) for chain in await chains(store)]
    assert [(2, None)] * 6 == [(one.checked, one.fault) for one in found]


async def test_a_note_of_another_process_under_the_same_name_is_no_tampering(told, store, spool_root):
    chain, incidents = told
    other = Spool(spool_root, 1 << 20, 1 << 24, "two")
    Witness(other).note(Note(incidents[9].id, "repeats", time.time(), text="by the other"))
    assert await Shipper(other, store).flush(20)
    assert [None, None] == [(await verify(store, name, 90)).fault for name in (chain, other.chain)]
    other.close()


async def test_a_line_that_this_version_cannot_read_keeps_its_place(store, spool_root):
    spool = Spool(spool_root, 1 << 20, 1 << 24, "one")
    witness, incidents = Witness(spool), [make_incident(time.time()) for _ in range(2)]
    witness.record(incidents[0])
    spool.append(b"ballad {}")
    witness.record(incidents[1])
    assert await Shipper(spool, store).flush(20)
    assert (2, None) == ((found := await verify(store, spool.chain, 90)).checked, found.fault)
    spool.close()


# --- retention -----------------------------------------------------------------------------------------------------------


async def test_what_is_past_its_retention_is_not_missed(told, store):
    chain, incidents = told
    pointer, _ = await entry_of(store, incidents[0])
    await store.run([("XDEL", keys.stream(incidents[0].id), pointer)])
    found = await verify(store, chain, 90, now=time.time() + 91 * 86_400)
    assert (found.expired, found.fault) == (1, None)
