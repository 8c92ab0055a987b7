"""What explains a refusal: siblings, mass events and near misses, from a real PostgreSQL."""

from __future__ import annotations

import pytest

from proxy.core.token import Known, Unknown
from proxy.sources.doorkeeper.options import Hashing
from tests.sources.conftest import secret
from tests.sources.doorkeeper_tables import digest

TOKEN = "Xy3-kL_9aQwErTyUiOpAsDfGhJkLzXcVbNm0123456"


async def look(source, token):
    state = (await source.read(secret(token))).state
    around = await source.surroundings(secret(token), state)
    assert around.error is None
    return state, around


async def test_a_regenerated_token_has_a_newer_sibling_and_others_are_none_of_its_kin(tables, opened):
    acme, other = await tables.application("Acme"), await tables.application("Other")
    mine = {"application_id": acme, "resource_owner_id": 7}
    old = await tables.token("old", **mine, created_at="='2026-05-03'", revoked_at="='2026-05-17 10:00:00.5'")
    new = await tables.token("new", **mine, created_at="='2026-05-17 10:00:00.6'")
    await tables.token("stranger", application_id=other, resource_owner_id=7)
    await tables.token("colleague", application_id=acme, resource_owner_id=8)
    source = opened(tables.dsn)
    _, around = await look(source, "old")
    assert [(s.relation, s.row, s.tenant, s.fingerprint) for s in around.siblings] == [
        ("newer", new, "Acme", secret("new").fingerprint)
    ]
    assert around.near_misses == ()
    _, around = await look(source, "new")
    assert [(s.relation, s.row) for s in around.siblings] == [("older", old)]


async def test_rotation_shows_as_successor_and_predecessor(tables, opened):
    mine = {"application_id": await tables.application(), "resource_owner_id": None}
    first = await tables.token("first", refresh_token="r1", created_at="='2026-05-01'", **mine)
    second = await tables.token("second", refresh_token="r2", previous_refresh_token="r1", created_at="='2026-05-02'", **mine)
    source = opened(tables.dsn)
    _, around = await look(source, "first")
    assert [(s.relation, s.row, s.used) for s in around.siblings] == [("newer", second, False), ("successor", second, False)]
    state, around = await look(source, "second")
    assert isinstance(state, Known)
    assert state.unused_successor
    assert [(s.relation, s.row) for s in around.siblings] == [("older", first), ("predecessor", first)]


async def test_rows_revoked_in_the_same_millisecond_are_counted_across_tenants(tables, opened):
    for number in range(20):
        application = await tables.application(f"app-{number}")
        await tables.token(f"t{number}", application_id=application, revoked_at=f"='2026-05-17 10:00:00.123{number:03}'")
    await tables.token("just before", application_id=application, revoked_at="='2026-05-17 10:00:00.122999'")
    await tables.token("just after", application_id=application, revoked_at="='2026-05-17 10:00:00.124'")
    _, around = await look(opened(tables.dsn), "t0")
    same = [s for s in around.siblings if s.relation == "same_instant"]
    assert (around.same_instant_count, len(same)) == (19, 8)
    assert {s.tenant for s in same} <= {f"app-{number}" for number in range(1, 20)}


async def test_polymorphic_owners_of_one_number_are_two(tables, opened):
    await tables.execute("ALTER TABLE oauth_access_tokens ADD COLUMN resource_owner_type varchar")
    mine = {"application_id": await tables.application(), "resource_owner_id": 7}
    old = await tables.token("old", **mine, created_at="='2026-05-03'", resource_owner_type="User")
    await tables.token("theirs", **mine, created_at="='2026-05-04'", resource_owner_type="Machine")
    new = await tables.token("new", **mine, created_at="='2026-05-05'", resource_owner_type="User")
    source = opened(tables.dsn)
    state, around = await look(source, "new")
    assert [(s.relation, s.row) for s in around.siblings] == [("older", old)]
    await tables.execute("DELETE FROM oauth_access_tokens WHERE token = 'new'")
    around = await source.surroundings(secret("new"), state)
    assert {s.row for s in around.siblings} > {old}, "of what type it was is not known any more"
    assert new not in {s.row for s in around.siblings}


async def test_a_row_that_is_gone_still_has_its_kin(tables, opened):
    mine = {"application_id": await tables.application(), "resource_owner_id": 7}
    await tables.token("gone", created_at="='2026-05-01'", **mine)
    newer = await tables.token("newer", **mine)
    source = opened(tables.dsn)
    last_known = (await source.read(secret("gone"))).state
    await tables.execute("DELETE FROM oauth_access_tokens WHERE token = 'gone'")
    around = await source.surroundings(secret("gone"), last_known)
    assert [(s.relation, s.row) for s in around.siblings] == [("newer", newer)]


@pytest.mark.parametrize(
    "presented, change",
    [
        (f"Bearer Bearer {TOKEN}", "scheme_doubled"),
        (f"Bearer bearer  {TOKEN}", "scheme_doubled"),
        (f"Token {TOKEN}", "scheme_other"),
        (TOKEN, "none"),
        (f"Bearer {TOKEN}", "none"),
        (f'Bearer "{TOKEN}"', "quoted"),
        (f"'{TOKEN}'", "quoted"),
        (f"Bearer  {TOKEN}", "whitespace"),
        (f"{TOKEN[:20]} {TOKEN[20:]}", "whitespace"),
        (f"{TOKEN}\u00a0", "whitespace"),
        (f"{TOKEN}%0A", "percent_encoded"),
        (f"%22{TOKEN}%22", "percent_encoded"),
        (TOKEN.swapcase(), "case_changed"),
        (f"{TOKEN}xyz", "extended"),
        (f"12345678{TOKEN}", "extended"),
    ],
)
@pytest.mark.parametrize("hashing", [Hashing.PLAIN, Hashing.SHA256])
async def test_mangled_tokens_are_recognised_in_either_stored_form(tables, opened, hashing, presented, change):
    stored = digest(TOKEN) if hashing is Hashing.SHA256 else TOKEN
    row = await tables.token(stored, application_id=await tables.application("Acme"))
    around = await opened(tables.dsn, hashing=hashing).surroundings(secret(presented), Unknown())
    assert around.error is None
    assert [(m.change, m.column, m.fingerprint, m.row) for m in around.near_misses] == [
        (change, "token", secret(TOKEN).fingerprint, str(row))
    ]


@pytest.mark.parametrize(
    "presented",
    [
        TOKEN[:-8], TOKEN[8:], TOKEN[:-1], TOKEN[1:], TOKEN[: len(TOKEN) // 2], TOKEN[len(TOKEN) // 2 :],
        TOKEN[:24] + "...", f"{TOKEN[:24]}...{TOKEN[-4:]}", f"Bearer {TOKEN[:-8]}...", TOKEN[:12], TOKEN[-20:],
    ],
)  # fmt: skip
async def test_truncated_tokens_are_recognised_where_they_are_stored_plain(tables, opened, presented):
    await tables.token(TOKEN, application_id=await tables.application())
    await tables.token("another-" + TOKEN[::-1], application_id=1)
    around = await opened(tables.dsn).surroundings(secret(presented), Unknown())
    assert [(m.change, m.fingerprint) for m in around.near_misses] == [("truncated", secret(TOKEN).fingerprint)]


@pytest.mark.parametrize("presented", [TOKEN[:20], TOKEN[-20:]])
async def test_less_than_half_that_several_tokens_hold_says_nothing(tables, opened, presented):
    application = await tables.application()
    for spelling in (f"{TOKEN}{'x' * 9}", f"{'x' * 9}{TOKEN}", f"{'y' * 9}{TOKEN}{'y' * 9}"):
        await tables.token(spelling, application_id=application)
    around = await opened(tables.dsn).surroundings(secret(presented), Unknown())
    assert (around.near_misses, around.error) == ((), None)


@pytest.mark.parametrize("presented", [TOKEN[:11], TOKEN[::-1], "%" * 43, "_" * 43, "", "Bearer "])
async def test_what_is_not_near_is_no_near_miss(tables, opened, presented):
    await tables.token(TOKEN, application_id=await tables.application())
    around = await opened(tables.dsn).surroundings(secret(presented), Unknown())
    assert (around.near_misses, around.error) == ((), None)


@pytest.mark.parametrize("hashing", [Hashing.PLAIN, Hashing.SHA256])
@pytest.mark.parametrize(
    "presented, column",
    [("refresh-secret", "refresh_token"), ("grant-code-1", "grant"), ("application-secret", "application_secret")],
)
async def test_another_secret_is_named_by_its_column(tables, opened, hashing, presented, column):
    store = digest if hashing is Hashing.SHA256 else str
    application = await tables.application("Acme", secret=store("application-secret"))
    await tables.token(store(TOKEN), application_id=application, refresh_token=store("refresh-secret"))
    await tables.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) VALUES (1, $1, $2, 600)",
        application, store("grant-code-1"),
    )  # fmt: skip
    around = await opened(tables.dsn, hashing=hashing).surroundings(secret(presented), Unknown())
    assert [(m.change, m.column) for m in around.near_misses] == [("none", column)]


async def test_a_digest_presented_as_a_token_is_named(tables, opened):
    await tables.token(digest(TOKEN), application_id=await tables.application())
    _, around = await look(opened(tables.dsn, hashing=Hashing.SHA256), digest(TOKEN))
    assert [(m.change, m.column) for m in around.near_misses] == [("none", "digest")]


@pytest.mark.parametrize(
    "hashing, stored, flag",
    [(Hashing.PLAIN, digest(TOKEN), "stored_as_sha256"), (Hashing.SHA256, TOKEN, "stored_as_plain")],
)
async def test_the_other_stored_form_is_told(tables, opened, hashing, stored, flag):
    await tables.token(stored, application_id=await tables.application())
    state, around = await look(opened(tables.dsn, hashing=hashing), TOKEN)
    assert state == Unknown()
    assert [(m.change, m.column) for m in around.near_misses] == [("none", "token")]
    assert flag in around.schema_flags


async def test_a_grant_of_the_same_application_and_owner_is_told(tables, opened):
    acme, other, owner = await tables.application("Acme"), await tables.application("Other"), await tables.owner()
    await tables.token("mine", application_id=acme, resource_owner_id=owner)
    await tables.token("of another application", application_id=other, resource_owner_id=owner)
    await tables.token("of nobody", application_id=acme)
    await tables.execute(
        "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) VALUES ($1, $2, 'g', 600)",
        owner, acme,
    )  # fmt: skip
    source = opened(tables.dsn)
    told = [(await look(source, token))[1].granted for token in ("mine", "of another application", "of nobody", "never issued")]
    assert [True, False, None, None] == told
    await tables.execute("UPDATE oauth_access_grants SET created_at = created_at - interval '1 day'")
    assert (await look(opened(tables.dsn), "mine"))[1].granted is False, "of another sign-in"
    await tables.execute("DROP TABLE oauth_access_grants")
    assert (await look(opened(tables.dsn), "mine"))[1].granted is None


@pytest.mark.parametrize(
    "ended,over", [({}, ""), ({"revoked_at": "='2026-01-01'"}, "revoked"), ({"expires_in": 0}, "expired")], ids=str
)
async def test_a_near_miss_tells_whose_token_it_is_and_what_ended_it(tables, opened, ended, over):
    await tables.token(TOKEN, application_id=await tables.application("Acme"), created_at="='2026-01-01'", **ended)
    for sent in (f'"{TOKEN}"', TOKEN[:-3]):
        _, around = await look(opened(tables.dsn), sent)
        assert [(m.tenant, m.over) for m in around.near_misses] == [("Acme", over)]


async def test_a_row_that_was_known_and_is_stored_in_another_form_than_is_looked_for_is_found(tables, opened):
    await tables.token(TOKEN, application_id=await tables.application())
    known = (await opened(tables.dsn).read(secret(TOKEN))).state
    around = await opened(tables.dsn, hashing=Hashing.SHA256).surroundings(secret(TOKEN), known)
    assert [(m.change, m.column) for m in around.near_misses] == [("none", "token")]
    assert {"stored_as_plain"} <= set(around.schema_flags)
    assert "secret_replaced" not in around.schema_flags


@pytest.mark.parametrize("expression,otherwise", [("encode(sha512(token::bytea), 'hex')", True), ("reverse(token)", False)])
async def test_a_digest_in_the_place_of_a_token_is_told_from_another_token(tables, opened, expression, otherwise):
    await tables.token(TOKEN, application_id=await tables.application())
    source = opened(tables.dsn)
    known = (await source.read(secret(TOKEN))).state
    await tables.execute(f"UPDATE oauth_access_tokens SET token = {expression}")
    flags = (await source.surroundings(secret(TOKEN), known)).schema_flags
    assert ("secret_replaced" in flags, "stored_otherwise" in flags) == (True, otherwise)
