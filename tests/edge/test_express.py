"""Ordinary requests take the express road, and whatever stops being ordinary on it ends as it does on the plain one.

The whole of tests/edge runs on both roads (see conftest); here is what tells them apart.
"""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.inbound import Inbound
from proxy.edge.client_connection import ClientConnection
from proxy.edge.client_ports import Refused, Road
from proxy.edge.faults import FaultKind
from tests.edge.backend import Talk, echo
from tests.edge.world import LOOKUP, REVOKED, World, get, post, until


class Watched:
    """A road that notes which requests are walked from their start."""

    def __init__(self, road: Road, seen: list[bytes]) -> None:
        self._road = road
        self._seen = seen

    async def walk(self, client: ClientConnection, request: Inbound | Refused) -> None:
        self._seen.append(getattr(request, "method", b"?"))
        await self._road.walk(client, request)

    def depart(self, client: ClientConnection, request: Inbound) -> bool:
        return self._road.depart(client, request)


@pytest.fixture
def walked(world: World) -> list[bytes]:
    """The methods of the requests that were walked from their start."""
    seen: list[bytes] = []
    world.listener.road = Watched(world.listener.road, seen)
    return seen


def express() -> bool:
    """Whether this loop is the one on which the world takes the express road."""
    return type(asyncio.get_running_loop()).__module__.startswith("uvloop")


async def test_ordinary_requests_are_not_walked(world: World, walked: list[bytes]):
    async with world.client() as client:
        for request in (get(), post(b"x" * 2_000), get(method=b"DELETE"), get(method=b"HEAD"), post(b"y", method=b"PATCH")):
            await client.send(request)
            answer = await client.answer(request.partition(b" ")[0])
            assert answer is not None
            assert 200 == answer.status
    # a connection's first request may find its task not asleep yet, and is walked then
    assert len(walked) <= 1 if express() else len(walked) == 5
    await until(lambda: len(world.witness.exchanges) == 5)
    assert [200] * 5 == [exchange.status for exchange in world.witness.exchanges]
    assert 0 == world.handler.inflight


@pytest.mark.parametrize("request_", [get(token=LOOKUP), get(token=REVOKED), get(extra=b"Authorization: Bearer x\r\n")])
async def test_what_is_not_known_to_be_good_is_walked(world: World, walked: list[bytes], request_: bytes):
    async with world.client() as client:
        await client.send(get())
        assert 200 == (await client.answer()).status
        walked.clear()
        await client.send(request_)
        await client.answer()
    assert [b"GET"] == walked


async def test_a_client_that_leaves_in_flight_is_on_record_once(world: World):
    gate = asyncio.Event()

    async def never(talk: Talk) -> None:
        await gate.wait()
        await echo(talk)

    async with world.client() as client:
        await client.send(get())
        assert 200 == (await client.answer()).status
        world.backend.script = never
        await client.send(get())
        await until(lambda: len(world.backend.requests) == 2)
    await until(lambda: len(world.witness.exchanges) == 2)
    gate.set()
    assert (0, FaultKind.CLIENT_GONE) == (world.witness.exchanges[1].status, world.witness.exchanges[1].fault)
    assert 0 == world.handler.inflight
    await world.good()
    assert 3 == len(world.witness.exchanges)


async def test_a_pipelined_pair_is_answered_in_order(world: World):
    async with world.client() as client:
        await client.send(get(extra=b"X-Case: a\r\n") + get(extra=b"X-Case: b\r\n") + get(extra=b"X-Case: c\r\n"))
        for case in ("a", "b", "c"):
            assert case == (await client.answer()).json()["case"]
