"""Incidents go on coming while a master dies: under Sentinel, and in a Cluster. None is lost, and none is stored twice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from proxy.evidence import keys
from proxy.evidence.connect import StoreOptions, connect
from proxy.evidence.copies import Copies
from proxy.evidence.reader import EvidenceReader
from proxy.evidence.redis_store import RedisStore
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.verify import verify
from proxy.evidence.witness import Witness
from tests.evidence.conftest import make_incident
from tests.servers import fleets

pytestmark = [pytest.mark.redis_server, pytest.mark.slow]

TENANTS = 23
"""So many that each of three masters has some."""


class Recording:
    """Appends incidents all the time, as refusals would, while the shipper runs."""

    def __init__(self, url: str, root) -> None:
        client = connect(StoreOptions(url))
        self.store = RedisStore(client)
        self.spool = Spool(root, 1 << 20, 64 << 20, "one")
        self.shipper = Shipper(self.spool, self.store)
        self.ids: list[str] = []
        self._witness = Witness(self.spool)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.shipper.run()), asyncio.create_task(self._append())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.store.close()
            self.spool.close()

    async def _append(self) -> None:
        while True:
            self.append(5)
            await asyncio.sleep(0.02)

    def append(self, count: int) -> None:
        for _ in range(count):
            incident = make_incident(time.time(), f"tenant-{len(self.ids) % TENANTS}", f"{len(self.ids) % 50:04x}" * 8)
            self._witness.record(incident)
            self.ids.append(incident.id)

    async def until(self, condition, seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, (self.shipper.state, self.shipper.waiting)
            await asyncio.sleep(0.02)

    async def more_are_stored(self, count: int = 200) -> None:
        target = self.shipper.state.stored + count
        await self.until(lambda: self.shipper.state.stored >= target)

    async def all_are_stored_once(self) -> None:
        """By a client that begins anew, as a command does."""
        await self.until(lambda: self.shipper.waiting < 50 and self.shipper.state.failing_since is None)
        wanted = set(self.ids[: len(self.ids) - self.shipper.waiting])
        found = await entries(self.store)
        assert wanted <= set(found)
        assert len(found) == len(set(found))
        reader = EvidenceReader(self.store, None)
        page = await reader.incidents(limit=100)
        assert len(page.incidents) == 100
        assert not page.store_error
        checked = await verify(self.store, self.spool.chain, 90)
        assert checked.checked >= len(wanted)


async def entries(store: RedisStore) -> list[str]:
    """The ids of all incidents in the streams themselves, with repetitions if there were any."""
    streams = sorted({keys.stream(make_incident(tenant=f"tenant-{n}").id) for n in range(TENANTS)})
    answers = await store.run([("XRANGE", stream, "-", "+") for stream in streams])
    return [fields[b"i"].decode() for answer in answers for _, fields in answer]


async def test_sentinel_failover_under_way_loses_nothing(spool_root):
    with fleets.watched() as fleet:
        recording = Recording(fleet.url, spool_root)
        async with recording.running():
            await recording.more_are_stored()
            fleet.nodes[0].kill()
            await recording.until(lambda: recording.shipper.state.failing_since is not None)
            await recording.more_are_stored()
            await recording.all_are_stored_once()


async def test_what_no_replica_has_yet_stays_in_the_spool_and_outlives_the_master(spool_root):
    with fleets.watched() as fleet:
        recording = Recording(fleet.url, spool_root)
        shipper = recording.shipper
        recording.append(100)
        assert await shipper.flush(10)
        fleet.nodes[1].freeze()
        recording.append(100)
        assert not await shipper.flush(0.8)
        assert (shipper.waiting, "replicas" in shipper.state.why) == (100, True)
        assert len(await entries(recording.store)) == 200, "the master has them, and only the master"
        fleet.nodes[0].kill()
        fleet.nodes[1].thaw()
        assert await shipper.flush(40)
        found = await entries(recording.store)
        assert sorted(recording.ids) == sorted(found)
        await recording.store.close()
        recording.spool.close()


async def test_a_replica_that_is_known_to_be_gone_is_not_waited_for(spool_root):
    with fleets.watched() as fleet:
        recording = Recording(fleet.url, spool_root)
        fleet.nodes[1].kill()
        fleets.until(lambda: "s_down" in fleet.sentinels[0].ask("SENTINEL REPLICAS evidence"))
        recording.append(100)
        assert await recording.shipper.flush(20)
        await recording.store.close()
        recording.spool.close()


async def test_the_configured_number_of_replicas_must_have_it(spool_root):
    with contextlib.ExitStack() as stack:
        master = fleets.data(stack)
        client = connect(StoreOptions(f"redis://127.0.0.1:{master.port}"))
        store = RedisStore(client, copies=Copies(client, 1))
        spool = Spool(spool_root, 1 << 20, 64 << 20, "one")
        Witness(spool).record(make_incident())
        shipper = Shipper(spool, store)
        assert not await shipper.flush(0.5)
        fleets.data(stack, "--replicaof", "127.0.0.1", str(master.port))
        assert await shipper.flush(20)
        await store.close()
        spool.close()


async def test_a_cluster_promotes_a_replica_and_nothing_is_lost(spool_root):
    with fleets.cluster(replicas=1) as fleet:
        recording = Recording(fleet.url, spool_root)
        async with recording.running():
            await recording.more_are_stored()
            fleet.masters()[0].kill()
            await recording.until(lambda: recording.shipper.state.failing_since is not None)
            await recording.more_are_stored()
            await recording.all_are_stored_once()


async def test_a_master_hangs_in_a_cluster_and_is_replaced(spool_root):
    with fleets.cluster(replicas=1) as fleet:
        recording = Recording(fleet.url, spool_root)
        async with recording.running():
            await recording.more_are_stored()
            hung = fleet.masters()[1]
            hung.freeze()
            await recording.until(lambda: recording.shipper.state.failing_since is not None)
            await recording.more_are_stored()
            hung.thaw()
            await recording.more_are_stored()
            await recording.all_are_stored_once()


async def test_a_cluster_without_replicas_waits_for_the_dead_node(spool_root):
    with fleets.cluster() as fleet:
        recording = Recording(fleet.url, spool_root)
        async with recording.running():
            await recording.more_are_stored()
            fleet.nodes[2].kill()
            await recording.until(lambda: recording.shipper.state.failing_since is not None)
            fleet.nodes[2].start()
            await recording.more_are_stored()
            await recording.all_are_stored_once()
