"""Workers as their operator sees them: one page of metrics, one readiness, a dead one back, an order of ending."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import time

import pytest

from proxy.settings import load
from proxy.supervise.backoff import CALM, LONGEST_PAUSE, deaths, pause
from proxy.supervise.channel import Begin, ChannelClosed, encode, receive_first
from proxy.supervise.orders import Order, Orders
from proxy.supervise.scrape import page
from proxy.supervise.supervisor import Supervisor
from proxy.wire import Place
from tests.supervise.deployment import GOOD, PATIENCE, alive, until
from tests.supervise.test_changes import ask, metric

pytestmark = pytest.mark.heavy

TEXT = """# HELP sw_requests Answers.
# TYPE sw_requests counter
sw_requests_total{code="401"} 2.0 # {incident="01X"} 1.0 1000.0
# HELP sw_up Up.
# TYPE sw_up gauge
sw_up 1.0
# EOF
"""


def test_pauses_grow_and_are_bounded():
    assert [0.1, 0.2, 0.4] == [pause(count) for count in (1, 2, 3)]
    assert {LONGEST_PAUSE} == {pause(count) for count in (10, 100, 10_000)}


@pytest.mark.parametrize("before, lived, expected", [(0, 1, 1), (4, 1, 5), (4, CALM, 1)])
def test_deaths_in_a_row(before, lived, expected):
    assert expected == deaths(before, lived)


@pytest.mark.parametrize("accept, exemplar", [("", False), ("application/openmetrics-text; version=1.0.0", True)])
def test_one_page_of_all(accept, exemplar):
    kind, body = page({"supervisor": TEXT.replace('{code="401"} 2.0 # {incident="01X"} 1.0 1000.0', " 0.0"), "2": TEXT}, accept)
    lines = body.decode().splitlines()
    assert kind.startswith("application/openmetrics" if exemplar else "text/plain")
    assert 1 == sum(line.startswith("# TYPE sw_requests") for line in lines)
    assert 'sw_up{worker="supervisor"} 1.0' in lines
    (one,) = (line for line in lines if line.startswith('sw_requests_total{code="401",worker="2"} 2.0'))
    assert exemplar == ('{incident="01X"}' in one)


def test_the_first_frame_comes_whole_in_pieces_and_a_closed_channel_is_told():
    import socket

    begin = Begin(3, {"upstream": {"url": "http://127.0.0.1:1"}}, "unix://x")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for octet in encode(begin):
            ours.send(bytes([octet]))
        assert begin == receive_first(theirs)
        ours.send(b"\0\0")
        ours.close()
        with pytest.raises(ChannelClosed):
            receive_first(theirs)


async def test_an_order_is_obeyed_once_and_stop_comes_first():
    orders = Orders()
    for order in (Order.RELOAD, Order.ROLL, Order.RELOAD, Order.STOP):
        orders.give(order)
    assert [Order.STOP, Order.RELOAD, Order.ROLL] == [await orders.next() for _ in range(3)]
    assert orders.stopped.is_set()


async def seen_by_the_pages(deployment, requests):
    """The overview once it tells of so many requests: workers say every second how they are."""
    deadline = time.monotonic() + PATIENCE
    while requests != sum((overview := json.loads((await ask(f"{deployment.ops}/api/v1/overview"))[1]))["requests"]):
        assert time.monotonic() < deadline, overview
        await asyncio.sleep(0.1)
    return overview


@pytest.mark.slow
async def test_one_readiness_and_one_page_of_metrics(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start()

    async def readiness():
        return json.loads((await ask(f"{deployment.ops}/readyz?verbose"))[1])

    async def workers_are(expected):
        deadline = time.monotonic() + PATIENCE
        while expected != next(part for part in (await readiness())["parts"] if part["name"] == "workers")["detail"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    assert 200 == (await ask(f"{deployment.data}/Users", GOOD))[0]
    await workers_are("2 of 2 ready")
    samples = await metric(deployment, "requests_total")
    assert 1.0 == sum(samples.values())
    assert all("worker=" in labels for labels in samples)
    assert {1.0, 2.0} >= set((await metric(deployment, "build_info")).values())
    assert 3 == len(await metric(deployment, "build_info"))  # two workers and the supervisor
    overview = await seen_by_the_pages(deployment, 1)
    assert overview["p95"][-1] is not None
    (listener,) = (part for part in overview["parts"] if part["name"] == "listener")
    assert listener["p95"] is not None  # of whichever worker it was: the other one had nothing to do
    stopped = deployment.workers()[1]
    os.kill(stopped, signal.SIGSTOP)
    try:
        await workers_are("1 of 2 ready")
        assert "degraded" == (await readiness())["status"]
        assert 2 == len(await metric(deployment, "build_info"))
    finally:
        os.kill(stopped, signal.SIGCONT)
    os.kill(stopped, signal.SIGKILL)
    await until(lambda: deployment.workers()[1] != stopped)
    assert 1.0 == sum((await metric(deployment, "worker_restarts_total")).values())


@pytest.mark.slow
async def test_a_worker_that_hangs_is_killed_and_another_serves(backend, deploy, monkeypatch):
    monkeypatch.setattr("proxy.supervise.slot.HUNG_SECONDS", 1.0)
    settings = load(deploy(backend, workers=2).config, {})
    supervisor = Supervisor(settings, Place(), os.environ)
    await supervisor.start()
    try:
        slot = supervisor._fleet.slots[0]
        hung = slot.hand
        os.kill(hung.process.pid, signal.SIGSTOP)
        await until(lambda: slot.hand is not None and slot.hand is not hung)
        assert -signal.SIGKILL == hung.process.returncode
        host, port = supervisor.data_address
        assert 200 == (await ask(f"http://{host}:{port}/Users", GOOD))[0]
    finally:
        await supervisor.stop()


@pytest.mark.slow
async def test_workers_end_with_a_supervisor_that_was_killed(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start()
    workers = deployment.workers().values()
    assert 401 == (await ask(f"{deployment.data}/Users", "x" * 20))[0]
    deployment.signal(signal.SIGKILL)
    for pid in workers:
        await deployment.gone(pid)
    await deployment.start()
    assert 200 == (await ask(f"{deployment.data}/Users", GOOD))[0]
    assert 1 == len(deployment.incidents())


@pytest.mark.slow
async def test_ctrl_c_ends_the_supervisor_and_so_the_workers_in_order(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start(start_new_session=True)
    workers = deployment.workers().values()
    os.killpg(deployment.pid, signal.SIGINT)
    assert 0 == await deployment.ended()
    assert not any(alive(pid) for pid in workers)
    assert [] == deployment.events("worker_died")


@pytest.mark.slow
async def test_what_keeps_a_worker_from_starting_is_said_in_one_line(backend, deploy):
    deployment = deploy(backend, workers=2)
    deployment.write(upstream="https://127.0.0.1:1", more='[upstream.tls]\nca_file = "/nowhere.pem"\n')
    with pytest.raises(AssertionError, match="it did not start"):
        await deployment.start()
    (line,) = deployment.output().splitlines()
    assert line.startswith("scim-witness: upstream.tls.ca_file /nowhere.pem: ")


@pytest.mark.slow
async def test_spools_and_instances_of_workers_stay_apart(backend, deploy):
    deployment = deploy(backend, workers=2)
    await deployment.start()
    directories = [path.name for path in (pathlib.Path(deployment.directory) / "s" / "spool").iterdir() if path.is_dir()]
    assert 2 == len(directories)
    instances = {line["instance"] for line in deployment.events("started") if "worker" in line}
    assert instances == {name.rpartition(".")[0] for name in directories}
