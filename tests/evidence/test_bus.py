"""What one process sees, the others read anew at once; and a thread that is lost means that everything is read anew."""

from __future__ import annotations

import pytest

from proxy.evidence import keys
from proxy.evidence.bus import EVERYTHING, QUIET, WAITING, Bus
from proxy.evidence.redis_store import StoreError
from tests.evidence.conftest import Clock


class Process:
    """One of the fleet. `forgot` has what it was told, `*` for everything."""

    def __init__(self, store, name: str) -> None:
        self.clock = Clock(0.0)
        self.bus = Bus(store, name, self.clock)
        self.forgot: list[str] = []
        self.bus.listen(self.forgot.append, lambda: self.forgot.append(EVERYTHING))


@pytest.fixture
async def fleet(store):
    processes = [Process(store, name) for name in ("one", "two", "three")]
    for process in processes:
        await process.bus.exchange()
    return processes


async def turn(processes) -> None:
    for _ in range(2):
        for process in processes:
            await process.bus.exchange()


async def test_a_change_is_heard_once_by_all_others_and_not_by_oneself(fleet):
    fleet[0].bus.tell("a")
    fleet[0].bus.tell("b")
    await turn(fleet)
    await turn(fleet)
    assert [[], ["a", "b"], ["a", "b"]] == [process.forgot for process in fleet]
    assert [(2, 0), (0, 2), (0, 2)] == [(process.bus.state.told, process.bus.state.heard) for process in fleet]


async def test_what_was_heard_is_not_told_again_when_it_is_found_here_too(fleet):
    fleet[0].bus.tell("a")
    await turn(fleet)
    fleet[1].bus.tell("a")
    await turn(fleet)
    assert [[], ["a"], ["a"]] == [process.forgot for process in fleet]
    fleet[1].clock.now += QUIET
    fleet[1].bus.tell("a")
    await turn(fleet)
    assert [["a"], ["a"], ["a", "a"]] == [process.forgot for process in fleet]


async def test_who_comes_later_hears_nothing_of_before(fleet, store):
    fleet[0].bus.tell("a")
    await turn(fleet)
    late = Process(store, "late")
    await turn([late])
    assert late.forgot == []


@pytest.mark.parametrize(
    "lost", [("XTRIM", keys.CHANGES, "MAXLEN", 1), ("DEL", keys.CHANGES), ("FLUSHALL",)], ids=["trimmed", "deleted", "emptied"]
)
async def test_a_gap_makes_everything_be_read_anew_and_then_it_goes_on(fleet, store, lost):
    fleet[0].bus.tell("missed")
    await fleet[0].bus.exchange()
    await store.run([lost])
    await turn(fleet[1:])
    assert [["*"], ["*"]] == [process.forgot for process in fleet[1:]]
    assert fleet[1].bus.state.gaps == 1
    fleet[2].bus.tell("after")
    await turn(fleet[1:])
    assert ["*", "after"] == fleet[1].forgot


async def test_the_store_is_away_and_nothing_is_forgotten_for_that(fleet, server):
    server.kill()
    fleet[0].bus.tell("a")
    for process in fleet:
        with pytest.raises(StoreError):
            await process.bus.exchange()
    assert [[], [], []] == [process.forgot for process in fleet]
    server.start()
    await turn(fleet)
    assert [[], ["a"], ["a"]] == [process.forgot for process in fleet]


async def test_more_changes_than_may_wait_are_told_as_one(fleet):
    for number in range(WAITING + 1):
        fleet[0].bus.tell(f"{number:032x}")
    await turn(fleet)
    assert [["*"], ["*"]] == [process.forgot for process in fleet[1:]]


async def test_the_stream_is_bounded_and_ends_by_itself(fleet, store):
    for part in range(15):
        for number in range(WAITING):
            fleet[0].bus.tell(f"{part}-{number}")
        await fleet[0].bus.exchange()
    length, left = await store.run([("XLEN", keys.CHANGES), ("PTTL", keys.CHANGES)])
    assert 10_000 <= length < 11_000
    assert 0 < left <= 86_400_000
