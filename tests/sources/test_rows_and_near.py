"""The pure parts: any row is a state, any bytes have candidates within bounds."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.token import FAR_FUTURE, FAR_PAST, OwnerState
from proxy.sources.doorkeeper import near
from proxy.sources.doorkeeper.options import Hashing, Options, Owner, TenantFrom, faults, tenant_subquery
from proxy.sources.doorkeeper.rows import Row, instant, match, scopes, stored_forms, to_known

SECONDS = st.none() | st.floats(allow_nan=False)
TEXT = st.none() | st.text(max_size=20)
ROWS = st.builds(
    Row, asked=st.integers(), id=st.integers(), token=st.text(max_size=50), created_at=SECONDS,
    expires_in=st.none() | st.integers(), revoked_at=SECONDS, scopes=TEXT, application=TEXT, application_name=TEXT, owner=TEXT,
    owner_found=st.none() | st.booleans(), owner_active=st.none() | st.booleans(), tenant=TEXT,
    refreshable=st.none() | st.booleans(), unused_successor=st.none() | st.booleans(), version=TEXT,
)  # fmt: skip


@given(ROWS)
def test_any_row_is_known_with_times_that_a_record_can_hold(row):
    known = to_known(row, "plain", lambda value: hashlib.sha256(value).hexdigest())
    assert FAR_PAST <= known.created_at <= FAR_FUTURE
    assert (known.revoked_at is None) == (row.revoked_at is None)
    assert known.tenant
    assert len(known.stored_mark) == 16
    assert (known.owner_state is OwnerState.NONE) == (row.owner is None)
    assert all(scope and scope.strip("\t\n\v\f\r ") == scope for scope in known.scopes)


@given(st.floats(FAR_PAST, FAR_FUTURE))
def test_times_within_the_calendar_are_kept_as_they_are(seconds):
    assert seconds == instant(seconds)


@given(st.lists(st.text("abAB,\u00a0", min_size=1), max_size=5), st.sampled_from([" ", "\t", "\n", "  ", " \r\n"]))
def test_scopes_come_back_as_they_were_joined(parts, white):
    assert tuple(parts) == scopes(white.join(parts))


@given(st.binary(max_size=60), st.sampled_from(Hashing))
def test_a_match_is_only_ever_the_form_itself(presented, hashing):
    forms = stored_forms(presented, hashing)
    row = Row(1, 1, "other", 0.0, None, None, None, None, None, None, None, None, None, None, None)
    assert match(presented, forms, dict.fromkeys(forms, row)) is None or "other" in forms


@given(st.binary(max_size=300))
@example(b"Bearer " * 40 + b"x" * 20)
@example(b"%25" * 90)
@example(b'"' * 300)
def test_candidates_are_bounded_and_distinct(presented):
    found = near.candidates(presented)
    assert len(found) <= near.VARIANTS
    assert len({candidate.plain for candidate in found}) == len(found)
    assert len(near.forms(found)) <= 2 * near.VARIANTS


@given(st.text("abcXYZ123-_", min_size=20, max_size=43), st.integers(0, 6))
def test_undoing_what_was_done_finds_the_token(token, damage):
    raw = token.encode()
    done = [b"Bearer Bearer %s", b'"%s"', b" %s\n", b"%%22%s%%22", b"%sjunk", b"junk%s", b"Bearer '%s'"][damage] % raw
    assert raw in {candidate.plain for candidate in near.candidates(done)}


TOKEN = b"aB3-_dEfGhIjKlMnOpQrStUvWxYz0123456789aBcDe"
DAMAGED = {
    "user and password": (b"Basic " + base64.b64encode(b"okta:" + TOKEN), "scheme_other"),
    "Base64": (base64.b64encode(TOKEN), "base64_encoded"),
    "twice": (TOKEN * 2, "extended"),
    "twice, joined by a comma": (TOKEN + b"," + TOKEN, "extended"),
    "a JSON member": (b'Bearer {"access_token":"%s"}' % TOKEN, "extended"),
    "in brackets": (b"Bearer [%s]" % TOKEN, "extended"),
    "glued to another token": (TOKEN + TOKEN[::-1], "extended"),
    "glued to something in front": (b"scim-token-of-acme-production-" + TOKEN, "extended"),
    "escaped as in JSON": (TOKEN.replace(b"-", b"\\u002d").replace(b"_", b"\\_"), "quoted"),
    "escaped quotes": (b'Bearer \\"%s\\"' % TOKEN, "quoted"),
    "quotes of HTML": (b"Bearer &quot;%s&quot;" % TOKEN, "quoted"),
    "the other alphabet": (TOKEN.replace(b"-", b"+").replace(b"_", b"/"), "alphabet_changed"),
}


@pytest.mark.parametrize("presented,change", DAMAGED.values(), ids=DAMAGED)
def test_what_products_make_of_a_token_is_undone(presented, change):
    assert change == {c.plain: c.change for c in near.candidates(presented)}[TOKEN]


def test_a_token_that_lost_one_letter_is_completed_and_nothing_else_is():
    assert {TOKEN} == {c.plain for c in near.completions(b"Bearer " + TOKEN[:-1])} & {TOKEN}
    assert {TOKEN} == {c.plain for c in near.completions(TOKEN[1:])} & {TOKEN}
    assert [] == near.completions(TOKEN + b"!")
    assert [] == near.completions(b"short")


def test_both_ends_of_a_token_may_be_missing_and_half_of_it_has_to_be_there():
    stored = TOKEN.decode()
    half = len(stored) // 2
    for there in (stored[8:-8], stored[9:], stored[:-9], stored[:half], stored[-half:]):
        assert "truncated" == near.relation(there, stored)
    for beginning in (stored[: half - 1], stored[1 - half :]):  # many tokens of one vendor may begin alike
        assert near.relation(beginning, stored) is None
        assert "truncated" == near.relation(beginning, stored, alone=True)


def test_one_case_is_told_of_long_secrets_that_are_no_digests():
    assert near.one_case(b"Bearer " + TOKEN.lower())
    assert near.one_case(TOKEN.upper())
    assert not near.one_case(TOKEN)
    assert not near.one_case(hashlib.sha256(TOKEN).hexdigest().encode())


def test_a_digest_or_cipher_text_in_the_place_of_a_token_is_another_make_and_a_new_token_is_none():
    plain = TOKEN.decode()
    sha512, sha256 = (hashlib.new(name, TOKEN).hexdigest() for name in ("sha512", "sha256"))
    for stored in (sha512, sha256, "$2a$10$" + plain, '{"p":"' + plain + '"}'):
        assert near.other_make(stored, TOKEN, "plain")
    assert not near.other_make(plain[::-1], TOKEN, "plain")
    assert not near.other_make(sha256[::-1], sha256.encode(), "plain")  # a generator of hexadecimal tokens
    assert near.other_make(sha512, TOKEN, "sha256")
    assert not near.other_make(sha256[::-1], TOKEN, "sha256")


def test_options_tell_their_faults_without_a_database():
    assert faults(Options("postgresql://x")) == []
    wrong = Options("x", tenant_from=TenantFrom.QUERY, tenant_query="SELECT 1", lookup_connections=0, query_timeout=0)
    assert [fault.partition(":")[0] for fault in faults(wrong)] == [
        "tenant_query", "lookup_connections", "query_timeout, connect_timeout, surroundings_timeout"
    ]  # fmt: skip
    assert faults(Options("x", tenant_from=TenantFrom.OWNER)) == ["tenant_from = owner: needs owner.table"]
    assert faults(Options("x", tenant_from=TenantFrom.OWNER, owner=Owner("users"))) == []


def test_the_vendors_query_gets_the_key_and_nothing_else_changes():
    assert tenant_subquery(" SELECT $10, $1 FROM x WHERE a = $1; ", "k.id") == "SELECT $10, k.id FROM x WHERE a = k.id"
    assert "password" not in repr(Options("postgresql://u:password@h/d"))
