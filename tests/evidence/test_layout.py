"""The store's layout has a number; an older store is brought to it, once or ten times, and beside a running proxy."""

from __future__ import annotations

import time

import pytest

from proxy.evidence import keys, layout, queries
from proxy.evidence.migrate import NewerLayout, migrate
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.verify import chains, verify
from proxy.evidence.witness import Witness
from tests.evidence.conftest import make_incident


@pytest.fixture
async def filled(spool_root, store):
    """A store with 500 incidents of five tenants, written by the shipper."""
    spool = Spool(spool_root, 1 << 20, 1 << 24, "one")
    witness = Witness(spool)
    begin = time.time() - 1000
    incidents = [make_incident(begin + n, f"t{n % 5}", f"{n % 20:032x}") for n in range(500)]
    for incident in incidents:
        witness.record(incident)
    assert await Shipper(spool, store).flush(20)
    yield incidents
    spool.close()


async def migrated(store):
    last = None
    async for progress in migrate(store):
        last = progress
    return last


async def lists_of(store, incidents):
    """Everything by which incidents are found."""
    names = {keys.RECENT, keys.TENANTS} | {keys.by_tenant(i.tenant) for i in incidents}
    names |= {keys.by_token(i.fingerprint) for i in incidents}
    zsets = await store.run([("ZRANGE", name, 0, -1, "WITHSCORES") for name in sorted(names)])
    pointers = await store.run([("GET", keys.pointer(i.id)) for i in incidents])
    return [sorted(queries.scored(zset)) for zset in zsets], pointers


async def forget_lists(store, incidents):
    names = {keys.RECENT, keys.TENANTS, keys.LAYOUT} | {keys.by_tenant(i.tenant) for i in incidents}
    names |= {keys.by_token(i.fingerprint) for i in incidents} | {keys.pointer(i.id) for i in incidents[::2]}
    await store.run([("DEL", name) for name in names])
    await store.run([("ZADD", keys.RECENT, 1, incidents[0].id)])  # something that shows: the store is not empty


async def test_an_empty_store_gets_the_number_with_the_first_delivery(store, filled):
    assert layout.VERSION == await layout.layout_of(store)
    await store.run(
        [
            (
                "DEL",
                keys.LAYOUT,
            )
        ]
    )
    assert layout.OLDER == await layout.layout_of(store)
    assert layout.OLDER == await layout.settle(store), "an older store is not called ours"


async def test_a_store_without_incidents_has_none(store):
    assert await layout.layout_of(store) is None
    assert layout.VERSION == await layout.settle(store)
    assert layout.VERSION == await layout.layout_of(store)


async def test_what_finds_the_incidents_is_made_anew_from_them(store, filled):
    before = await lists_of(store, filled)
    await forget_lists(store, filled)
    progress = await migrated(store)
    assert (5, 5, 500, 0) == (progress.streams, progress.done, progress.records, progress.unreadable)
    assert before == await lists_of(store, filled)
    assert layout.VERSION == await layout.layout_of(store)
    page = await EvidenceReader(store, None).incidents("t3", limit=200)
    assert [i.id for i in reversed(filled) if i.tenant == "t3"] == [i.id for i in page.incidents]
    (chain,) = await chains(store)
    assert (500, None) == ((found := await verify(store, chain, 90)).checked, found.fault)


async def test_again_and_after_a_cut_off_it_comes_to_the_same(store, filled):
    before = await lists_of(store, filled)
    await forget_lists(store, filled)
    async for _ in migrate(store):
        break
    assert layout.OLDER == await layout.layout_of(store), "the number is written last"
    await migrated(store)
    assert before == await lists_of(store, filled)
    progress = await migrated(store)
    assert (0, 0) == (progress.streams, progress.records), "nothing is left to do"


async def test_a_record_that_cannot_be_read_is_counted_and_the_rest_goes_on(store, filled):
    await forget_lists(store, filled)
    await store.run([("XADD", keys.stream(filled[0].id), "*", "i", "what", "c", "x 1 y", "d", "{}")])
    progress = await migrated(store)
    assert (500, 1) == (progress.records, progress.unreadable)


async def test_a_newer_store_is_not_touched(store, filled):
    await store.run([("SET", keys.LAYOUT, layout.VERSION + 1)])
    with pytest.raises(NewerLayout, match="upgrade"):
        await migrated(store)
    assert layout.VERSION + 1 == await layout.layout_of(store)
