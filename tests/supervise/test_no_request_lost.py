"""Under steady load with valid, revoked and unknown tokens: what an operator does to the proxy costs no client anything.

The clients count. A 401 without its incident, an incident twice, a wrong answer or a broken connection fails the test.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections import Counter

import pytest

from tests.supervise.deployment import PATIENCE, Deployment, Load, until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(240)]


async def settle(deployment: Deployment, load: Load, *, killed: int = 0) -> None:
    """Compare what the clients saw with what is on record. `killed`: requests that may have been in a killed process."""
    assert {} == load.wrong()
    assert len(load.broken) <= killed, load.broken
    assert len(set(load.incidents)) == len(load.incidents)
    seen = set(load.incidents)
    recorded: Counter[str] = Counter()

    def missing() -> set[str]:
        recorded.clear()
        recorded.update(deployment.incidents())
        return seen - set(recorded)

    deadline = time.monotonic() + PATIENCE
    while (lost := missing()) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    assert set() == lost, deployment.lines_about(lost)
    assert {1} == set(recorded.values())
    # a 401 that a killed process had put on record, and that its client did not get
    assert len(recorded) - len(seen) <= killed


@pytest.mark.parametrize("workers", [1, 3])
async def test_reload(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)
    await deployment.start()
    async with Load(deployment.data) as load:
        await load.more()
        for realm in ("one", "two", "three"):
            deployment.write(more=f'[policy]\nrealm = "{realm}"\n')
            deployment.signal(signal.SIGHUP)
            await deployment.event("settings_applied", ("one", "two", "three").index(realm) + 1)
            await load.more()
    await settle(deployment, load)
    assert 0 == await deployment.stop()


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_successor_takes_over_socket_and_store(backend, deploy, workers):
    deployment = deploy(backend, workers=workers)
    await deployment.start()
    before = deployment.pid
    async with Load(deployment.data) as load:
        await load.more()
        deployment.signal(signal.SIGUSR2)
        deployment.pid = (await deployment.event("succeeded_by"))["pid"]
        await deployment.gone(before)
        await deployment.event("embedded_store_inherited")
        await load.more()
    await settle(deployment, load)
    await deployment.stop()


async def test_workers_are_replaced_one_after_the_other(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start()
    before = deployment.workers()
    async with Load(deployment.data) as load:
        await load.more()
        deployment.signal(signal.SIGUSR1)
        await deployment.event("workers_replaced")
        await load.more()
    after = deployment.workers()
    assert {1, 2} == set(after)
    assert set() == set(before.values()) & set(after.values())
    await settle(deployment, load)
    assert 0 == await deployment.stop()


async def test_a_killed_worker_costs_what_it_held_and_nothing_else(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start()
    async with Load(deployment.data) as load:
        await load.more()
        victim = deployment.workers()[1]
        os.kill(victim, signal.SIGKILL)
        await deployment.event("worker_died")
        await until(lambda: deployment.workers()[1] != victim)
        await load.more()
    await settle(deployment, load, killed=9)  # as many as there are clients
    assert 0 == await deployment.stop()


async def test_stop_answers_what_is_under_way_and_flushes(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start()
    async with Load(deployment.data) as load:
        await load.more()
        deployment.signal(signal.SIGTERM)
        await until(lambda: load.broken)
        load.stop()
        assert 0 == await deployment.ended()
    assert {} == load.wrong()
    assert {"ClientConnectorError"} == {broken.partition(":")[0] for broken in load.broken}
    assert [] == deployment.events("spool_not_empty")
    shutil.rmtree(deployment.directory / "s" / "spool")  # so all that is found then is in the store
    await deployment.start()
    assert set(load.incidents) <= set(deployment.incidents())
