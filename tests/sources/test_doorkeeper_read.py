"""Reading tokens from Doorkeeper's tables in a real PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from proxy.core.token import FAR_FUTURE, FAR_PAST, Known, OwnerState, Unavailable, Unknown
from proxy.sources.doorkeeper.options import NO_TENANT, Hashing, Owner, TenantFrom
from tests.sources.conftest import secret, tables_in
from tests.sources.doorkeeper_tables import MODERN, NULLABLE_PREVIOUS, OLD, UUID_KEYS, WITH_TIME_ZONE, digest


async def row_of(source, token) -> Known:
    reading = await source.read(secret(token))
    assert isinstance(reading.state, Known), reading
    return reading.state


async def test_a_row_is_read_with_application_owner_scopes_and_the_databases_clock(tables, opened):
    application = await tables.application("Acme Inc")
    owner = await tables.owner(active=True)
    row = await tables.token(
        "token-1", application_id=application, resource_owner_id=owner, scopes="scim  scim.write\tX", expires_in=60,
        refresh_token="refresh-1", previous_refresh_token="before", created_at="='2026-05-03 10:00:00.25'",
    )  # fmt: skip
    source = opened(tables.dsn, owner=Owner("users", active="active"))

    reading = await source.read(secret("token-1"))

    assert isinstance(reading.state, Known)
    assert reading.state == Known(
        row=row, tenant="Acme Inc", created_at=1777802400.25, expires_in=60, scopes=("scim", "scim.write", "X"),
        application=str(application), application_name="Acme Inc", owner=str(owner), owner_state=OwnerState.ACTIVE,
        refreshable=True, unused_successor=True, stored="plain", stored_mark=secret("token-1").fingerprint[:16],
    )  # fmt: skip
    assert (reading.source, reading.via) == ("doorkeeper", "primary")
    assert reading.clock_offset == pytest.approx(0, abs=5)


async def test_no_row_is_unknown_and_still_tells_the_databases_clock(tables, opened):
    reading = await opened(tables.dsn).read(secret("nobody"))
    assert reading.state == Unknown()
    assert reading.source_time is not None


@pytest.mark.parametrize("token", [b"nul\0byte", b"\xff\xfe"])
async def test_bytes_that_no_text_holds_are_unknown_without_asking(opened, token):
    reading = await opened("postgresql://nobody@127.0.0.1:1/none").read(secret(token))
    assert reading.state == Unknown()


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo", "UTC"])
@pytest.mark.parametrize("schema", [MODERN, WITH_TIME_ZONE], ids=["timestamp", "timestamptz"])
async def test_times_are_utc_whatever_the_zone_of_the_session(postgres, opened, zone, schema):
    name = await postgres.create_database(timezone=zone)
    # timestamptz literals carry their offset; a plain timestamp ignores it and keeps what Rails wrote: UTC
    async with tables_in(postgres.dsn(name), schema) as tables:
        created, revoked = "='2026-07-01 12:00:00+00'", "='2026-07-02 00:30:00+00'"
        await tables.token("t", application_id=await tables.application(), created_at=created, revoked_at=revoked)
        row = await row_of(opened(tables.dsn), "t")
    assert (row.created_at, row.revoked_at) == (1782907200.0, 1782952200.0)
    await postgres.drop_database(name)


@pytest.mark.parametrize("schema", [MODERN, WITH_TIME_ZONE], ids=["timestamp", "timestamptz"])
async def test_infinity_becomes_the_ends_of_time(database, opened, schema):
    async with tables_in(database, schema) as tables:
        application = await tables.application()
        await tables.token("a", application_id=application, revoked_at="='infinity'", created_at="='-infinity'")
        row = await row_of(opened(tables.dsn), "a")
    assert (row.created_at, row.revoked_at) == (FAR_PAST, FAR_FUTURE)


async def test_an_old_schema_without_refresh_tokens_and_with_nullable_application(database, opened):
    async with tables_in(database, OLD) as tables:
        key = await tables.token("old", scopes=None)
        source = opened(tables.dsn)
        row = await row_of(source, "old")
        around = await source.surroundings(secret("old"), row)
    assert (row.row, row.tenant, row.application, row.refreshable, row.scopes) == (key, NO_TENANT, None, False, ())
    assert row.owner_state is OwnerState.NONE
    assert around.error is None
    assert {"no_previous_refresh_token", "no_refresh_token", "application_id_nullable"} <= set(around.schema_flags)


async def test_a_nullable_previous_refresh_token_is_told(database, opened):
    async with tables_in(database, NULLABLE_PREVIOUS) as tables:
        await tables.token("t", application_id=await tables.application())
        source = opened(tables.dsn)
        row = await row_of(source, "t")
        around = await source.surroundings(secret("t"), row)
    assert not row.unused_successor
    assert "previous_refresh_token_nullable" in around.schema_flags


async def test_uuid_keys_are_read_and_read_again(database, opened):
    async with tables_in(database, UUID_KEYS) as tables:
        application = await tables.application()
        key = await tables.token("u", application_id=application)
        await tables.token("v", application_id=application)
        source = opened(tables.dsn)
        row = await row_of(source, "u")
        again = await source.reread([row])
        around = await source.surroundings(secret("u"), row)
    assert row.row == str(key)
    assert again[row.row].state == row
    assert ([sibling.relation for sibling in around.siblings], around.error) == (["newer"], None)


@pytest.mark.parametrize(
    "hashing, stored, expected",
    [
        (Hashing.PLAIN, "T", "plain"),
        (Hashing.PLAIN, digest("T"), None),
        (Hashing.SHA256, "T", None),
        (Hashing.SHA256, digest("T"), "sha256"),
        (Hashing.SHA256_FALLBACK_PLAIN, "T", "plain"),
        (Hashing.SHA256_FALLBACK_PLAIN, digest("T"), "sha256"),
    ],
)
async def test_hashing_decides_which_stored_form_counts(tables, opened, hashing, stored, expected):
    await tables.token(stored, application_id=await tables.application())
    state = (await opened(tables.dsn, hashing=hashing).read(secret("T"))).state
    assert expected == (state.stored if isinstance(state, Known) else None)


@pytest.mark.parametrize("kind, presented", [("char(12)", "MixedCase   x"[:10]), ("citext", "mixedcase")])
async def test_the_stored_value_is_compared_as_bytes_even_when_the_column_is_not(database, opened, kind, presented):
    schema = "CREATE EXTENSION citext;" + MODERN.replace("token varchar NOT NULL,", f"token {kind} NOT NULL,")
    async with tables_in(database, schema) as tables:
        await tables.token("MixedCase", application_id=await tables.application())  # char(12) adds three blanks
        same = await tables.connection.fetchval(f"SELECT count(*) FROM oauth_access_tokens WHERE token = $1::{kind}", presented)
        source = opened(tables.dsn)
        assert (same, (await source.read(secret(presented))).state) == (1, Unknown())
        if kind == "citext":
            assert isinstance((await source.read(secret("MixedCase"))).state, Known)


@pytest.mark.parametrize(
    "expression, active, expected",
    [
        ("active", True, OwnerState.ACTIVE),
        ("active", False, OwnerState.INACTIVE),
        ("active", None, OwnerState.INACTIVE),
        ("deactivated_at IS NULL", None, OwnerState.ACTIVE),
        ("", False, OwnerState.ACTIVE),
    ],
)
async def test_the_owners_state_comes_from_a_column_or_an_expression(tables, opened, expression, active, expected):
    owner = await tables.owner(active=active)
    await tables.token("t", application_id=await tables.application(), resource_owner_id=owner)
    assert expected is (await row_of(opened(tables.dsn, owner=Owner("users", active=expression)), "t")).owner_state


async def test_of_polymorphic_owners_those_of_another_type_are_not_read(tables, opened):
    await tables.execute("ALTER TABLE oauth_access_tokens ADD COLUMN resource_owner_type varchar")
    mine = {"application_id": await tables.application(), "resource_owner_id": await tables.owner(active=False)}
    await tables.token("ours", **mine, resource_owner_type="User")
    await tables.token("theirs", **mine, resource_owner_type="Machine::Account")
    await tables.token("nobodys", **mine)
    source = opened(tables.dsn, owner=Owner("users", active="active", type="User"))
    assert (await row_of(source, "ours")).owner_state is OwnerState.INACTIVE
    assert (await row_of(source, "theirs")).owner_state is OwnerState.NOT_READ
    assert (await row_of(source, "nobodys")).owner_state is OwnerState.NOT_READ
    others = opened(tables.dsn, owner=Owner("users", type="Machine::Account"), tenant_from=TenantFrom.OWNER)
    assert [(await row_of(others, token)).tenant for token in ("ours", "theirs")] == ["_none", str(mine["resource_owner_id"])]


@pytest.mark.parametrize("named, told", [("", True), ("User", False)])
async def test_polymorphic_owners_of_no_named_type_are_told_of(tables, opened, named, told):
    await tables.execute("ALTER TABLE oauth_access_tokens ADD COLUMN resource_owner_type varchar")
    found = await opened(tables.dsn, owner=Owner("users", type=named)).check()
    assert told is any("owners are polymorphic" in finding.what for finding in found)


async def test_a_type_of_owners_that_no_row_can_have_refuses_nobody(tables, opened):
    await tables.token("t", application_id=await tables.application(), resource_owner_id=await tables.owner())
    reading = await opened(tables.dsn, owner=Owner("users", type="User")).read(secret("t"))
    assert isinstance(reading.state, Unavailable)


async def test_a_deleted_owner_is_deleted_and_without_configuration_not_read(tables, opened):
    await tables.token("t", application_id=await tables.application(), resource_owner_id=999)
    assert (await row_of(opened(tables.dsn, owner=Owner("public.users")), "t")).owner_state is OwnerState.DELETED
    assert (await row_of(opened(tables.dsn), "t")).owner_state is OwnerState.NOT_READ


@pytest.mark.parametrize(
    "expected, options",
    [
        ("Acme", {}),
        ("uid-Acme", {"tenant_from": TenantFrom.APPLICATION_UID}),
        ("1", {"tenant_from": TenantFrom.APPLICATION_ID}),
        ("account-7", {"tenant_from": TenantFrom.OWNER, "owner": Owner("users", tenant="account")}),
        ("1", {"tenant_from": TenantFrom.OWNER, "owner": Owner("users")}),
        (
            "ACCOUNT-7",
            {
                "tenant_from": TenantFrom.QUERY,
                "tenant_query": "SELECT upper(u.account) FROM oauth_access_tokens t JOIN users u "
                "ON u.id = t.resource_owner_id WHERE t.id = $1;",
            },
        ),
    ],
)
async def test_the_tenant_comes_from_where_the_deployment_says(tables, opened, expected, options):
    owner = await tables.owner(account="account-7")
    await tables.token("t", application_id=await tables.application("Acme"), resource_owner_id=owner)
    source = opened(tables.dsn, **options)
    row = await row_of(source, "t")
    assert expected == row.tenant
    assert (await source.reread([row]))[row.row].state == row


async def test_column_grants_suffice_and_the_role_can_only_read(postgres, opened):
    name = await postgres.create_database()
    async with tables_in(postgres.dsn(name)) as tables:
        role = await postgres.create_role()
        application = await tables.application("Acme")
        key = await tables.token("t", application_id=application)
        await tables.token("u", application_id=application)
        await tables.execute(
            f"GRANT SELECT (id, token, created_at, expires_in, revoked_at, scopes, application_id, resource_owner_id) "
            f'ON oauth_access_tokens TO "{role}"; GRANT SELECT (id, name, uid) ON oauth_applications TO "{role}"'
        )
        source = opened(postgres.dsn(name, user=role))
        row = await row_of(source, "t")
        again = await source.reread([row])
        around = await source.surroundings(secret("t"), row)
        missed = await source.surroundings(secret("tt"), Unknown())
        findings = await source.check()
    assert (row.row, row.tenant, row.refreshable) == (key, "Acme", None)
    assert again[key].state == row
    assert ([s.relation for s in around.siblings], around.error, missed.error) == (["newer"], None, None)
    assert "fault" not in {finding.level for finding in findings}
    assert any("the role may only read" in finding.what for finding in findings)
    await source.close()
    await postgres.drop_database(name)


async def test_many_at_once_share_few_queries(tables, opened):
    application = await tables.application()
    for number in range(50):
        await tables.token(f"t{number}", application_id=application)
    source = opened(tables.dsn)
    readings = await asyncio.gather(*(source.read(secret(f"t{number}")) for number in range(100)))
    assert [isinstance(reading.state, Known) for reading in readings] == [True] * 50 + [False] * 50


async def test_transaction_pooling_asks_in_transactions_of_its_own(tables, opened):
    await tables.token("t", application_id=await tables.application())
    source = opened(tables.dsn, pgbouncer=True)
    row = await row_of(source, "t")
    assert (await source.reread([row]))[row.row].state == row
    left = await tables.connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")
    assert left == 0
