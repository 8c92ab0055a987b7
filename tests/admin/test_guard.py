"""Who may see the ops listener. The clock is turned by the test."""

from __future__ import annotations

import pytest

from proxy.admin.certificate import TEXT_LIMIT, Certificate, certificate_of
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


OPERATOR = Certificate("operator", "01", frozenset({"operator", "ops.example.com"}), until=100.0)


@pytest.mark.parametrize(
    "access, names, certificate, today",
    [
        (Access.GRANTED, (), OPERATOR, 99.0),
        (Access.GRANTED, ("other", "ops.example.com"), OPERATOR, 99.0),
        (Access.NO_CERTIFICATE, (), None, 99.0),
        (Access.OLD_CERTIFICATE, (), OPERATOR, 100.0),
        (Access.UNLISTED_CERTIFICATE, ("Operator", "example.com"), OPERATOR, 99.0),
    ],
)
def test_certificate_is_a_credential_while_it_lasts_and_its_name_is_let_in(access, names, certificate, today):
    guard = Guard("0.0.0.0", None, frozenset(names))
    assert access is guard.judge("192.0.2.1", "any.example.com", [], 0.0, certificate, today)


def test_certificate_and_token_are_both_asked_for_where_both_are_set():
    guard = Guard("127.0.0.1", TOKEN, frozenset())
    assert Access.MISSING is guard.judge("a", "localhost", [], 0.0, OPERATOR, 0.0)
    assert Access.NO_CERTIFICATE is guard.judge("a", "localhost", RIGHT, 0.0)
    assert Access.GRANTED is guard.judge("a", "localhost", RIGHT, 0.0, OPERATOR, 0.0)


def test_other_credentials_are_in_force_at_once():
    guard = Guard("0.0.0.0", TOKEN, frozenset())
    guard.use("fedcba9876543210", frozenset({"nobody"}))
    assert Access.UNLISTED_CERTIFICATE is guard.judge("a", "h", ["Bearer fedcba9876543210"], 0.0, OPERATOR, 0.0)
    guard.use("fedcba9876543210", frozenset())
    assert Access.WRONG is guard.judge("a", "h", RIGHT, 0.0, OPERATOR, 0.0)


def test_what_is_read_of_a_certificate():
    """In the form in which Python's ssl module tells of one; of the subject only the common name."""
    told = {
        "subject": ((("organizationName", "Acme"),), (("commonName", "x" * 99),)),
        "subjectAltName": (("DNS", "a.example.com"), ("URI", "spiffe://acme/a"), ("DirName", ((("commonName", "no"),),))),
        "serialNumber": "0A",
        "notAfter": "Jan  1 00:01:40 1970 GMT",
    }
    names = frozenset({"x" * 99, "a.example.com", "spiffe://acme/a"})
    assert Certificate("x" * TEXT_LIMIT, "0A", names, 100.0) == certificate_of(told)
    assert certificate_of({}) is None
    nameless = certificate_of(told | {"subject": ()})
    assert nameless is not None
    assert "a.example.com" == nameless.subject


def test_guard_does_not_print_its_token():
    assert TOKEN not in repr(vars(Guard("0.0.0.0", TOKEN)))
