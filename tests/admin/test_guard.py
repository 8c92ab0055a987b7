"""Who may see the ops listener. The clock is turned by the test."""

from __future__ import annotations

import pytest

from proxy.admin.guard import ADDRESS_LIMIT, GUESSES, PAUSE, Access, Guard

TOKEN = "0123456789abcdef"
RIGHT = [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "ops.example.com", ""])
def test_beyond_loopback_without_a_token_is_refused_at_start(host):
    with pytest.raises(ValueError, match="needs a token"):
        Guard(host, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    assert Guard(host, None).judge("127.0.0.1", "localhost:9090", [], 0.0) is Access.GRANTED


@pytest.mark.parametrize(
    "named, access",
    [
        ("127.0.0.1:9090", Access.GRANTED),
        ("localhost", Access.GRANTED),
        ("[::1]:9090", Access.GRANTED),
        ("evil.example.com:9090", Access.FOREIGN_HOST),
        ("localhost.evil.example.com", Access.FOREIGN_HOST),
        ("127.0.0.1.evil.example.com", Access.FOREIGN_HOST),
        ("192.0.2.1", Access.FOREIGN_HOST),
        ("", Access.FOREIGN_HOST),
        ("[", Access.FOREIGN_HOST),
    ],
)
def test_without_a_token_the_host_field_must_name_this_machine(named, access):
    assert Guard("127.0.0.1", None).judge("127.0.0.1", named, [], 0.0) is access


@pytest.mark.parametrize(
    "fields, access",
    [
        (RIGHT, Access.GRANTED),
        ([f"bearer {TOKEN}"], Access.GRANTED),
        ([f"Bearer  {TOKEN} "], Access.GRANTED),
        ([], Access.MISSING),
        ([""], Access.WRONG),
        ([TOKEN], Access.WRONG),
        ([f"Basic {TOKEN}"], Access.WRONG),
        ([f"Bearer {TOKEN}x"], Access.WRONG),
        ([f"Bearer {TOKEN[:-1]}"], Access.WRONG),
        (["Bearer "], Access.WRONG),
        (["Bearer \udcff\u2028"], Access.WRONG),
        ([*RIGHT, "Bearer other"], Access.WRONG),
        (RIGHT * 2, Access.WRONG),
    ],
)
def test_token(fields, access):
    assert Guard("0.0.0.0", TOKEN).judge("192.0.2.1", "ops.example.com", fields, 0.0) is access


def test_token_is_asked_for_on_loopback_too_when_there_is_one():
    assert Guard("127.0.0.1", TOKEN).judge("127.0.0.1", "localhost", [], 0.0) is Access.MISSING


def test_who_guesses_must_pause_and_even_the_right_token_waits():
    guard = Guard("0.0.0.0", TOKEN)
    for _ in range(GUESSES):
        assert guard.judge("192.0.2.1", "h", ["Bearer wrong"], 10.0) is Access.WRONG
    assert guard.judge("192.0.2.1", "h", RIGHT, 10.0 + PAUSE - 0.1) is Access.PAUSED
    assert guard.judge("192.0.2.2", "h", RIGHT, 10.0) is Access.GRANTED
    assert guard.judge("192.0.2.1", "h", RIGHT, 10.0 + PAUSE) is Access.GRANTED


def test_pause_begins_with_the_last_guess_and_does_not_grow_while_paused():
    guard = Guard("0.0.0.0", TOKEN)
    for second in range(GUESSES):
        guard.judge("a", "h", ["Bearer wrong"], float(second))
    last = float(GUESSES - 1)
    assert guard.judge("a", "h", ["Bearer wrong"], last + PAUSE / 2) is Access.PAUSED
    assert guard.judge("a", "h", RIGHT, last + PAUSE) is Access.GRANTED


def test_right_token_forgives_earlier_mistakes():
    guard = Guard("0.0.0.0", TOKEN)
    for _ in range(3):
        for _ in range(GUESSES - 1):
            guard.judge("a", "h", ["Bearer wrong"], 0.0)
        assert guard.judge("a", "h", RIGHT, 0.0) is Access.GRANTED


def test_missing_token_is_no_guess():
    guard = Guard("0.0.0.0", TOKEN)
    for _ in range(GUESSES * 2):
        assert guard.judge("a", "h", [], 0.0) is Access.MISSING


def test_guessing_addresses_are_bounded_in_memory():
    guard = Guard("0.0.0.0", TOKEN)
    for number in range(ADDRESS_LIMIT * 2):
        guard.judge(f"address {number}", "h", ["Bearer wrong"], 0.0)
    assert len(guard._guesses) == ADDRESS_LIMIT


def test_guard_does_not_print_its_token():
    assert TOKEN not in repr(vars(Guard("0.0.0.0", TOKEN)))
