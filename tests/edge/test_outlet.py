"""Small writes of one turn of the loop leave together, in their order; large ones do not wait; none is lost or doubled."""

from __future__ import annotations

import asyncio
import random

import pytest

from proxy.edge.outlet import AT_ONCE, Outlet


class Transport(asyncio.WriteTransport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closing


@pytest.fixture
async def transport() -> Transport:
    return Transport()


@pytest.fixture
async def outlet(transport: Transport) -> Outlet:
    return Outlet(transport, asyncio.get_running_loop())


async def test_small_writes_of_a_turn_leave_together(transport: Transport, outlet: Outlet):
    outlet.write(b"head")
    outlet.write(b"body")
    assert [] == transport.written
    await asyncio.sleep(0)
    assert [b"headbody"] == transport.written
    outlet.write(b"more")
    await asyncio.sleep(0)
    assert [b"headbody", b"more"] == transport.written


@pytest.mark.parametrize("size, waits", [(AT_ONCE - 1, True), (AT_ONCE, False)])
async def test_large_ones_do_not_wait(transport: Transport, outlet: Outlet, size: int, waits: bool):
    outlet.write(b"x" * size)
    assert waits is (transport.written == [])
    await asyncio.sleep(0)
    assert [b"x" * size] == transport.written


async def test_what_has_grown_large_waits_no_longer(transport: Transport, outlet: Outlet):
    outlet.write(b"a" * 10_000)
    outlet.write(b"b" * 10_000)
    assert [b"a" * 10_000 + b"b" * 10_000] == transport.written
    outlet.write(b"c")
    await asyncio.sleep(0)
    assert b"c" == transport.written[-1]


async def test_what_was_flushed_is_not_written_again(transport: Transport, outlet: Outlet):
    outlet.write(b"a")
    outlet.flush()
    outlet.write(b"b")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [b"a", b"b"] == transport.written


async def test_what_was_dropped_is_gone(transport: Transport, outlet: Outlet):
    outlet.write(b"a")
    outlet.drop()
    await asyncio.sleep(0)
    assert [] == transport.written


async def test_nothing_is_written_to_what_is_closing(transport: Transport, outlet: Outlet):
    outlet.write(b"a")
    transport.closing = True
    await asyncio.sleep(0)
    assert [] == transport.written


async def test_any_sequence_arrives_whole_and_in_order(transport: Transport, outlet: Outlet):
    dice = random.Random(5)
    said = b""
    for number in range(2_000):
        piece = bytes([number % 251]) * dice.choice((1, 7, 300, 5_000, 20_000))
        said += piece
        outlet.write(piece)
        if dice.random() < 0.3:
            await asyncio.sleep(0)
        elif dice.random() < 0.1:
            outlet.flush()
    outlet.flush()
    assert said == b"".join(transport.written)
    assert all(transport.written)
