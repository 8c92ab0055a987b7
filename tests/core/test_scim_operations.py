"""Which operation a request is, and how its target may be written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.scim import classify, mask, printable

OPERATIONS = [
    ("Users.list", False, b"GET", b"/scim/v2/Users"),
    ("Users.list", False, b"GET", b"/scim/v2/Users/?count=1"),
    ("Users.get", False, b"GET", b"/scim/v2/Users/2819c223"),
    ("Users.create", True, b"POST", b"/scim/v2/Users"),
    ("Users.replace", True, b"PUT", b"/scim/v2/Users/1"),
    ("Groups.modify", True, b"PATCH", b"/scim/v2/Groups/1"),
    ("Groups.delete", True, b"DELETE", b"/Groups/1"),
    ("Me.get", False, b"GET", b"/scim/v2/Me"),
    ("Me.modify", True, b"PATCH", b"/scim/v2/Me"),
    ("Users.search", False, b"POST", b"/scim/v2/Users/.search"),
    ("all.search", False, b"POST", b"/scim/v2/.search"),
    ("all.bulk", True, b"POST", b"/scim/v2/Bulk"),
    ("discovery.discovery", False, b"GET", b"/scim/v2/ServiceProviderConfig"),
    ("discovery.discovery", False, b"GET", b"/scim/v2/Schemas/urn:x"),
    ("other.other", False, b"GET", b"/elsewhere"),
    ("other.other", True, b"POST", b"/elsewhere/x"),
    ("other.other", True, b"DELETE", b"/Us%65rs/1"),
    ("other.other", False, b"OPTIONS", b"*"),
    ("Users.other", True, b"POST", b"/Users/1"),
    ("Users.get", False, b"GET", b"/Users/a%2Fb"),
]


@pytest.mark.parametrize("route, writes, method, target", OPERATIONS)
def test_operation(route: str, writes: bool, method: bytes, target: bytes):
    operation = classify(method, target, b"/scim/v2")
    assert (route, writes) == (operation.route, operation.writes)


@given(st.sampled_from([b"PUT", b"PATCH", b"DELETE"]), st.binary(max_size=30))
def test_what_changes_things_is_never_taken_for_reading(method: bytes, target: bytes):
    assert classify(method, target).writes


TARGETS = [
    ("/Users", b"/Users"),
    ("/Users?*", b"/Users?"),
    ("/Users?filter&count", b'/Users?filter=userName%20eq%20"x"&count=1'),
    ("/Users?access_token&*", b"/Users?access_token=SECRET&SECRET=access_token"),
    ("/Users?*", b"/Users?SECRET"),
    ("/a%1B%0Ab", b"/a\x1b\nb"),
]


@pytest.mark.parametrize("shown, target", TARGETS)
def test_mask(shown: str, target: bytes):
    assert shown == mask(target)


@given(st.binary(max_size=600))
def test_what_is_written_down_is_printable_ascii_and_bounded(raw: bytes):
    shown = printable(raw)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 3 * 512 + 3


@given(st.binary(max_size=60))
def test_no_value_of_a_query_is_written_down(value: bytes):
    assert mask(b"/Users?filter=SECRET" + value + b"&x=SECRET").count("SECRET") == 0
