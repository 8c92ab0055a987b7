"""Buckets that fill again: how many at once, how many after a while, and for how many keys at most."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.rate import Buckets, neighbourhood


def taken(buckets: Buckets, now: float, tries: int, key: str = "a") -> int:
    return sum(buckets.wait(key, now) == 0 for _ in range(tries))


def test_a_minute_s_worth_at_once_and_then_as_it_fills():
    buckets = Buckets(60)
    assert 60 == taken(buckets, 1_000.0, 100)
    assert 0 == taken(buckets, 1_000.9, 1)
    assert 1 == taken(buckets, 1_001.0, 5)
    assert 10 == taken(buckets, 1_011.0, 50)
    assert 60 == taken(buckets, 5_000.0, 100)


def test_it_says_how_long_to_wait_and_that_is_true():
    buckets = Buckets(1)
    assert 0.0 == buckets.wait("a", 7.0)
    assert 60.0 == buckets.wait("a", 7.0)
    assert 30.0 == buckets.wait("a", 37.0), "to ask takes nothing"
    assert 0.0 == buckets.wait("a", 67.0)


def test_each_key_has_its_own():
    buckets = Buckets(2)
    assert [2, 2] == [taken(buckets, 0.0, 5, key) for key in ("a", "b")]


def test_the_table_is_bounded_and_forgets_who_was_not_seen_for_the_longest():
    buckets = Buckets(1, limit=3)
    for key in ("a", "b", "c", "a", "d"):
        buckets.wait(key, 0.0)
    assert 3 == len(buckets)
    assert 0 < buckets.wait("a", 0.0)
    assert 0 < buckets.wait("c", 0.0)
    assert 0.0 == buckets.wait("b", 0.0), "forgotten"


@given(st.integers(1, 10_000), st.lists(st.floats(0, 20), max_size=200))
def test_never_more_than_a_minute_s_worth_and_what_filled_since(per_minute: int, pauses: list[float]):
    buckets, now, given_out = Buckets(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        given_out += taken(buckets, now, 3)
    assert given_out <= per_minute + now * per_minute / 60 + 1


def test_an_ipv6_customer_is_one_neighbour():
    assert neighbourhood("2001:db8:1:2::1") == neighbourhood("2001:db8:1:2:ffff::9%eth0") != neighbourhood("2001:db8:1:3::1")
    assert ("203.0.113.9", "unix", "a:b") == tuple(map(neighbourhood, ("203.0.113.9", "unix", "a:b")))
