"""The first record that was altered or removed is named."""

from __future__ import annotations

import time

import pytest

from proxy.core.incident import Note
from proxy.evidence import keys
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
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


async def test_what_is_past_its_retention_is_not_missed(told, store):
    chain, incidents = told
    pointer, _ = await entry_of(store, incidents[0])
    await store.run([("XDEL", keys.stream(incidents[0].id), pointer)])
    found = await verify(store, chain, 90, now=time.time() + 91 * 86_400)
    assert (found.expired, found.fault) == (1, None)
