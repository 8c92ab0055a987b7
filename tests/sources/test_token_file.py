"""The token file: what is wrong with it is told with file, entry and key, and never what stands there."""

from __future__ import annotations

import hmac
import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.token import Known, OwnerState, Unknown
from proxy.sources.token_file import TokenFile
from proxy.sources.token_file_format import TokenFileError, parse
from tests.sources.conftest import FINGERPRINTER, secret
from tests.sources.doorkeeper_tables import digest

GOOD = f"""
[[token]]
name = "acme-okta"
digest = "{digest("T").upper()}"
tenant = "acme"
scopes = ["scim"]
created_at = 2026-05-03T12:00:00+02:00
expires_in = 60
revoked_at = "2026-06-01T10:00:00Z"
application = "okta"
owner = {{ id = "svc", active = false }}
"""


def open_file(path: Path, content: str | bytes, reports: list | None = None, **options) -> TokenFile:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    told = reports if reports is not None else []
    return TokenFile(path, fingerprinter=FINGERPRINTER, report=told.append, **options)


async def test_every_key_is_read(tmp_path):
    state = (await open_file(tmp_path / "t.toml", GOOD).read(secret("T"))).state
    assert isinstance(state, Known)
    assert (state.row, state.tenant, state.scopes, state.expires_in) == ("acme-okta", "acme", ("scim",), 60)
    assert (state.created_at, state.revoked_at) == (1777802400.0, 1780308000.0)
    assert (state.application, state.owner, state.owner_state) == ("okta", "svc", OwnerState.INACTIVE)


async def test_digests_may_be_keyed(tmp_path):
    keyed = hmac.digest(b"key", b"T", "sha256").hex()
    content = 'hash = "hmac-sha256"\n' + GOOD.replace(digest("T").upper(), keyed)
    assert isinstance((await open_file(tmp_path / "t.toml", content, key=b"key").read(secret("T"))).state, Known)
    with pytest.raises(TokenFileError, match="needs a key"):
        open_file(tmp_path / "u.toml", content)


@pytest.mark.parametrize(
    "fault, old, new",
    [
        ("token 1: name: is required", 'name = "acme-okta"', ""),
        ("token 1: tenant: is required", '"acme"', "7"),
        ("token 1: digest: is required, 64 hex", digest("T").upper(), "T"),
        ("token 1: created_at: must be a date-time with offset", "+02:00", ""),
        ("token 1: revoked_at: must be a date-time with offset", '"2026-06-01T10:00:00Z"', '"yesterday"'),
        ("token 1: expires_in: must be whole seconds", "= 60", "= 1.5"),
        ("token 1: expires_in: must be whole seconds", "= 60", "= true"),
        ("token 1: expires_in: must be whole seconds", "= 60", f"= {10**30}"),
        ("token 1: scopes: must be a list", '["scim"]', '"scim"'),
        ("token 1: owner: must be a table with id and active", "active = false", "alive = false"),
        ("token 1: owner: id must be a text", "active = false", "active = 0"),
        ("token 1: token: never write tokens here", 'tenant = "acme"', 'tenant = "acme"\ntoken = "T"'),
        ("token 1: 'tennant': is no known key", 'tenant = "acme"', 'tenant = "acme"\ntennant = "x"'),
        ("unknown key 'tokens'", "[[token]]", "[[tokens]]"),
        ("is no TOML (at line 3", 'name = "acme-okta"', "name = "),
        ("hash: must be sha256 or hmac-sha256", "\n[[token]]", 'hash = "md5"\n[[token]]'),
    ],
)
def test_a_fault_names_file_entry_and_key(tmp_path, fault, old, new):
    assert old in GOOD
    with pytest.raises(TokenFileError) as caught:
        open_file(tmp_path / "t.toml", GOOD.replace(old, new, 1))
    assert fault in str(caught.value)
    assert all(line.startswith(str(tmp_path / "t.toml")) for line in caught.value.faults)


def test_all_faults_are_told_at_once_but_no_more_than_a_screen(tmp_path):
    with pytest.raises(TokenFileError) as caught:
        open_file(tmp_path / "t.toml", "[[token]]\n" * 100)
    assert len(caught.value.faults) == 51


def test_names_and_digests_are_unique(tmp_path):
    with pytest.raises(TokenFileError) as caught:
        open_file(tmp_path / "t.toml", GOOD + GOOD)
    assert [fault.partition("token 2: ")[2] for fault in caught.value.faults] == [
        "name: is used twice", "digest: is that of acme-okta as well"
    ]  # fmt: skip


def test_a_missing_file_at_start_is_an_error(tmp_path):
    with pytest.raises(TokenFileError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "none.toml", fingerprinter=FINGERPRINTER, report=lambda faults: None)


def test_half_a_character_is_a_fault_for_no_record_could_hold_it(tmp_path):
    entry = {"name": "a", "digest": digest("T"), "tenant": "acme\ud800", "created_at": "2026-05-03T10:00:00Z"}
    with pytest.raises(TokenFileError, match="holds half a character"):
        open_file(tmp_path / "t.json", json.dumps({"token": [entry]}))


async def test_a_changed_file_is_picked_up_and_a_broken_one_changes_nothing_and_is_told_once(tmp_path):
    path = tmp_path / "t.toml"
    reports: list[tuple[str, ...]] = []
    source = open_file(path, GOOD, reports)
    path.write_text(GOOD + "nonsense")
    for _ in range(3):
        await source.poll()
    assert isinstance((await source.read(secret("T"))).state, Known)
    assert [len(faults) for faults in reports] == [1]
    path.unlink()
    await source.poll()
    assert isinstance((await source.read(secret("T"))).state, Known)
    assert len(reports) == 2
    replacement = tmp_path / "new"
    replacement.write_text(GOOD.replace(digest("T").upper(), digest("U")))
    replacement.rename(path)
    await source.poll()
    assert (await source.read(secret("T"))).state == Unknown()
    assert isinstance((await source.read(secret("U"))).state, Known)
    assert len(reports) == 2


async def test_a_change_that_hides_behind_size_and_times_is_found_in_the_end(tmp_path):
    path = tmp_path / "t.toml"
    source = open_file(path, GOOD)
    before = path.stat()
    with path.open("r+") as file:
        file.write(GOOD.replace(digest("T").upper(), digest("U").upper()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for _ in range(20):
        await source.poll()
    assert (await source.read(secret("T"))).state == Unknown()


def outcome(raw: bytes, name: str):
    try:
        return parse(raw, name, lambda value: "", keyed=False).tokens
    except TokenFileError as error:
        return error.faults


@given(st.binary(max_size=200))
@example(b"9" * 5_000)
@example(b"[" * 100_000)
def test_any_bytes_are_a_file_or_faults(raw):
    for name in ("f.toml", "f.json"):
        assert outcome(raw, name) is not None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
KEYS = st.sampled_from(["name", "digest", "tenant", "scopes", "created_at", "expires_in", "revoked_at", "owner", "x"])


@given(
    st.lists(st.dictionaries(KEYS, VALUES | st.dictionaries(st.sampled_from(["id", "active"]), VALUES)), min_size=1, max_size=3)
)
def test_any_entries_are_rows_or_faults(entries):
    found = outcome(json.dumps({"token": entries}).encode(), "f.json")
    assert found
    assert isinstance(found, tuple) or len(found) == len(entries)


@pytest.mark.parametrize("left", ["", "\n# the list of tokens\n"])
async def test_a_list_of_which_a_full_disk_left_nothing_is_not_an_empty_one(tmp_path, left):
    reports: list = []
    source = open_file(tmp_path / "t.toml", GOOD, reports)
    row = (await source.read(secret("T"))).state
    (tmp_path / "t.toml").write_text(left)
    await source.poll()
    assert row == (await source.read(secret("T"))).state
    assert "write token = [] if nobody is to be let in" in reports[0][0]
    (tmp_path / "t.toml").write_text("token = []")
    await source.poll()
    assert Unknown() == (await source.read(secret("T"))).state
    assert 1 == len(reports)


def one_entry(presented: str, tenant: str = "acme", hash: str = "sha256") -> str:  # noqa: A002 - the file's key
    entry = {"name": "acme-okta", "digest": digest(presented), "tenant": tenant, "created_at": "2026-05-03T10:00:00Z"}
    return json.dumps({"hash": hash, "token": [entry]})


@pytest.mark.parametrize(
    "after,flags",
    [
        (one_entry("NEW"), ("secret_replaced",)),
        (one_entry("NEW", tenant="globex"), ()),
        (one_entry("OLD"), ()),
        ('{"token": []}', ()),
        (one_entry("NEW", hash="hmac-sha256"), ("secret_replaced", "stored_otherwise")),
    ],
    ids=["replaced", "the name was given to another customer", "as it was", "taken out", "hashed in another way"],
)
async def test_a_digest_that_was_replaced_under_its_name_is_told(tmp_path, after, flags):
    path = tmp_path / "tokens.json"
    source = open_file(path, one_entry("OLD"))
    row = (await source.read(secret("OLD"))).state
    source = open_file(path, after, key=b"k" * 32)
    assert (await source.surroundings(secret("OLD"), row)).schema_flags == flags
