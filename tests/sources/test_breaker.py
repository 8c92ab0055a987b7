"""The breaker, step by step under a clock that is turned; and that any order of events leaves it in a state with a way out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sources.breaker import Breaker, BreakerOptions, State


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admits()
        breaker.failed("timeout")


def test_failures_in_a_row_open_it_and_one_success_between_does_not():
    breaker = Breaker(BreakerOptions(failures=3), Clock())
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert (breaker.state, breaker.admits(), breaker.why, breaker.opened_count) == (State.OPEN, False, "timeout", 1)


def test_one_caller_tries_and_its_success_closes_it():
    clock = Clock()
    breaker = Breaker(BreakerOptions(failures=1, pause=2), clock)
    fail(breaker, 1)
    clock.now = 1.9
    assert not breaker.admits()
    clock.now = 2
    assert [breaker.admits() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert (breaker.state, breaker.admits()) == (State.CLOSED, True)


def test_each_failed_try_doubles_the_pause_up_to_the_longest():
    clock = Clock()
    breaker = Breaker(BreakerOptions(failures=1, pause=1, longest=4), clock)
    fail(breaker, 1)
    pauses = []
    for _ in range(4):
        start = clock.now
        while not breaker.admits():
            clock.now += 0.5
        pauses.append(clock.now - start)
        breaker.failed("refused")
    assert pauses == [1, 2, 4, 4]


def test_a_try_whose_caller_went_away_leaves_room_for_the_next():
    clock = Clock()
    breaker = Breaker(BreakerOptions(failures=1, pause=1), clock)
    fail(breaker, 1)
    clock.now = 1
    assert breaker.admits()
    breaker.abandoned()
    assert breaker.admits()


def test_late_failures_of_calls_from_before_do_not_put_off_the_try():
    clock = Clock()
    breaker = Breaker(BreakerOptions(failures=1, pause=1), clock)
    assert breaker.admits()
    assert breaker.admits()
    breaker.failed("timeout")
    clock.now = 0.9
    breaker.failed("timeout")
    clock.now = 1
    assert breaker.admits()


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ask", "succeeded", "failed", "abandoned", "wait"]), max_size=60))
def test_it_always_lets_somebody_through_in_the_end(events):
    clock, in_flight = Clock(), 0
    breaker = Breaker(BreakerOptions(), clock)
    for event in events:
        if event == "ask":
            in_flight += breaker.admits()
        elif event == "wait":
            clock.now += 0.4
        elif in_flight:
            in_flight -= 1
            if event == "failed":
                breaker.failed("error")
            else:
                getattr(breaker, event)()
    for _ in range(in_flight):
        breaker.failed("error")
    clock.now += BreakerOptions().longest
    assert breaker.admits()
