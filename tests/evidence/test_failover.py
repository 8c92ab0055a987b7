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
from proxy.evidence.redis_store import RedisStore, StoreError
from proxy.evidence.shipper import Shipper
from proxy.evidence.spool import Spool
from proxy.evidence.verify import verify
from proxy.evidence.witness import Witness
from tests.evidence.conftest import make_incident
from tests.servers import fleets

pytestmark = [pytest.mark.redis_server, pytest.mark.slow, pytest.mark.timeout(240)]

PATIENCE = 100.0
"""Seconds: Sentinels that were stopped for two elect nobody for the next thirty (TILT), and a machine may stop twice."""

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

    async def until(self, condition, seconds: float = PATIENCE) -> None:
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
        assert await shipper.flush(PATIENCE)
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
        assert await recording.shipper.flush(PATIENCE)
        await recording.store.close()
        recording.spool.close()


@pytest.mark.parametrize("cut_off", [2, 3])
async def test_sentinels_that_are_cut_off_with_the_master_do_not_decide_that_its_replica_is_gone(spool_root, cut_off):
    """The others promote it meanwhile, and what only the old master took is thrown away when it comes back."""
    with fleets.watched() as fleet:
        recording = Recording(fleet.url, spool_root)
        recording.append(10)
        assert await recording.shipper.flush(PATIENCE)
        away = fleet.sentinels[3 - cut_off :]
        for one in away:
            one.kill()
        fleet.nodes[1].freeze()
        if cut_off < len(fleet.sentinels):
            fleets.until(lambda: "s_down" in fleet.sentinels[0].ask("SENTINEL REPLICAS evidence"))
        recording.append(100)
        assert not await recording.shipper.flush(5)
        assert recording.shipper.waiting == 100
        fleet.nodes[1].thaw()
        for one in away:
            one.start()
        assert await recording.shipper.flush(PATIENCE)
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
        assert await shipper.flush(PATIENCE)
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


async def test_a_replica_to_which_nothing_was_copied_yet_is_waited_for(spool_root):
    """CLUSTER SLOTS does not name it, and yet it would be promoted."""
    with fleets.cluster(replicas=1) as fleet:
        fleet.call_nobody_dead()
        replicas = fleet.replicas()
        for node in replicas:
            node.freeze()
        recording = Recording(fleet.url, spool_root)
        recording.append(100)
        assert not await recording.shipper.flush(2)
        assert (recording.shipper.waiting, "replicas" in recording.shipper.state.why) == (100, True)
        for node in replicas:
            node.thaw()
        assert await recording.shipper.flush(PATIENCE)
        await recording.store.close()
        recording.spool.close()


async def test_a_replica_that_came_after_the_look_is_waited_for(spool_root):
    with fleets.cluster() as fleet, contextlib.ExitStack() as stack:
        client = connect(StoreOptions(fleet.url))
        store = RedisStore(client, copies=Copies(client, monotonic=lambda: 0.0))  # it looks when it must, and not by time
        master, everywhere = fleet.nodes[0], [("SET", f"sw:{{{n}}}:somewhere", 1) for n in range(100)]
        await store.run(everywhere, copied=True)
        fleet.call_nobody_dead()
        replica = fleet.joined(stack)
        assert "+OK" in replica.ask(f"CLUSTER REPLICATE {_id(master)}")
        fleets.until(lambda: "connected_slaves:1" in master.ask("INFO replication"))
        replica.freeze()
        with pytest.raises(StoreError, match="replicas"):
            await store.run(everywhere, copied=True)
        replica.thaw()
        fleets.until(lambda: "state=online" in master.ask("INFO replication"))
        await stored(store, everywhere)
        await store.close()


async def stored(store: RedisStore, commands) -> None:
    """Once a replica that was away takes part."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(StoreError):
                await store.run(commands, copied=True)
                return
            await asyncio.sleep(0.05)


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


class Slot:
    """The slot of a key in a Cluster with replicas, and its way from one master to another."""

    def __init__(self, fleet: fleets.Cluster, key: str) -> None:
        self._nodes = fleet.nodes
        self._number = int(fleet.nodes[0].ask(f"CLUSTER KEYSLOT {key}").strip(":\r\n "))
        masters = fleet.masters()
        self.before = next(one for one in masters if "-MOVED" not in one.ask(f"GET {key}"))
        self.after = next(one for one in masters if one is not self.before)
        self.replica = next(one for one in fleet.nodes if f"master_port:{self.after.port}\r" in one.ask("INFO replication"))

    def begin(self) -> None:
        """From now on whoever asks for a key that is not there is sent to the other master (ASK)."""
        assert "+OK" in self.after.ask(f"CLUSTER SETSLOT {self._number} IMPORTING {_id(self.before)}")
        assert "+OK" in self.before.ask(f"CLUSTER SETSLOT {self._number} MIGRATING {_id(self.after)}")

    def end(self) -> None:
        """The other master serves it (MOVED)."""
        for node in (self.after, self.before, *self._nodes):
            _ = node.ask(f"CLUSTER SETSLOT {self._number} NODE {_id(self.after)}")


async def all_replicas_are_known(fleet: fleets.Cluster, store: RedisStore) -> None:
    """A Cluster names a replica once it has heard of something that was copied. From then on nobody is called dead."""
    await store.run([("SET", f"sw:{{{n}}}:somewhere", 1) for n in range(100)])
    fleets.until(lambda: all(6 == node.ask("CLUSTER SLOTS").count("127.0.0.1") for node in fleet.nodes))
    fleet.call_nobody_dead()


def _id(node: fleets.Node) -> str:
    return node.ask("CLUSTER MYID").split("\r\n")[1]


@pytest.mark.parametrize("sent_on_by", ["ASK", "MOVED"])
async def test_what_a_node_sends_on_to_another_counts_when_the_replica_of_that_one_has_it(sent_on_by):
    key = "sw:{ABCD}:key"
    with fleets.cluster(replicas=1) as fleet:
        client = connect(StoreOptions(fleet.url))
        store = RedisStore(client)
        await all_replicas_are_known(fleet, store)
        slot = Slot(fleet, key)
        await store.run([("SET", "sw:{else}:where", 1)], copied=True)
        slot.begin()
        if sent_on_by == "MOVED":
            slot.end()
        slot.replica.freeze()
        with pytest.raises(StoreError, match="replicas"):
            await store.run([("SET", key, 1)], copied=True)
        assert sent_on_by in slot.before.ask(f"GET {key}")
        slot.replica.thaw()
        answers = await store.run([("SET", key, 2), ("SET", "sw:{else}:where", 2), ("GET", key)], copied=True)
        assert b"2" == answers[2]
        await store.close()


async def test_a_replica_that_a_cluster_calls_dead_is_not_waited_for(spool_root):
    with fleets.cluster(replicas=1) as fleet:
        recording = Recording(fleet.url, spool_root)
        async with recording.running():
            await recording.more_are_stored()
            fleets.until(lambda: all(6 == node.ask("CLUSTER SLOTS").count("127.0.0.1") for node in fleet.nodes))
            await recording.until(lambda: len(recording.store._copies._waits) == 3)
            fleet.replicas()[0].kill()
            await recording.until(lambda: recording.shipper.state.failing_since is not None)
            await recording.more_are_stored()
            await recording.all_are_stored_once()


async def test_slots_that_move_while_incidents_come(spool_root):
    with fleets.cluster(replicas=1) as fleet:
        recording = Recording(fleet.url, spool_root)
        async with recording.running():
            await recording.more_are_stored()
            one, other, *_ = fleet.masters()
            command = [
                fleets.program("redis-cli"), "--cluster", "reshard", f"127.0.0.1:{one.port}", "--cluster-from", _id(one),
                "--cluster-to", _id(other), "--cluster-slots", "6000", "--cluster-yes", "--cluster-pipeline", "100",
            ]  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            said, _ = await process.communicate()
            assert 0 == process.returncode, said[-2000:]
            await recording.more_are_stored()
            await recording.all_are_stored_once()
