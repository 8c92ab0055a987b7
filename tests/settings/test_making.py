"""How what is written becomes a value of its type: in a file, and as the text of a variable."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

import msgspec
import pytest

from proxy.settings import SettingsFault, load, revive
from proxy.settings.field import fields
from proxy.settings.making import Wrong, made
from proxy.settings.section import Secret
from proxy.settings.shape import Settings
from proxy.settings.tokens import SOURCES

ENOUGH = 'upstream.url = "http://b"\n{}\n[source]\nkind = "token_file"\npath = "t"\n'
NO_WHOLE = "must be a whole number. Write a whole number, without quotes"
NO_NUMBER = "must be a number. Write a number, without quotes"
NOT_FINITE = "must be a finite number. Write a number"
NO_BOOL = "must be true or false. Write true or false"
NO_TEXT = "must be text. Put it in double quotes"
NO_LIST = 'must be a list. Write it like ["a", "b"]'
NO_TABLE = "must be a table. Write it as a [section] with keys"


def made_of(line: str) -> Settings | str:
    """The settings of one line, or the one fault with it."""
    wrong: list[Wrong] = []
    settings = made(Settings, tomllib.loads(ENOUGH.format(line)) | {"source": [{"kind": "token_file", "path": "t"}]}, wrong)
    if settings is not None:
        return settings
    (one,) = wrong
    return f"{one.message}. {one.fix}" if one.kind == "value" else one.kind


@pytest.mark.parametrize(
    "written, value",
    [
        ("5", 5),
        ("5.0", 5),
        ('"5"', 5),
        ('"+5"', 5),
        ('" 5 "', 5),
        ('"5.0"', 5),
        ('"05"', 5),
        ('"1_0"', 10),
        ("true", 1),
        ("5.5", NO_WHOLE),
        ('"5."', NO_WHOLE),
        ('"1__0"', NO_WHOLE),
        ('"0x5"', NO_WHOLE),
        ('"1e1"', NO_WHOLE),
        ('"\uff15"', NO_WHOLE),
        ('""', NO_WHOLE),
        (f'"{"1" * 5000}"', NO_WHOLE),
        ("[5]", NO_WHOLE),
        ("{}", NO_WHOLE),
        ("1979-05-27", NO_WHOLE),
        ("inf", NOT_FINITE),
        ("nan", NOT_FINITE),
        ("0", "must be at least 1. Set it to 1 or more"),
        ("65", "must be at most 64. Set it to 64 or less"),
        ('"65"', "must be at most 64. Set it to 64 or less"),
    ],
)
def test_whole_number(written, value):
    found = made_of(f"workers = {written}")
    assert value == (found if isinstance(found, str) else found.workers)
    assert isinstance(found, str) or type(found.workers) is int


@pytest.mark.parametrize(
    "written, value",
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ('" .5 "', 0.5),
        ('"1e1"', 10.0),
        ('"1_0"', 10.0),
        ("true", 1.0),
        ('"\uff15"', NO_NUMBER),
        ('"x"', NO_NUMBER),
        ("[]", NO_NUMBER),
        ("07:32:00", NO_NUMBER),
        ("inf", NOT_FINITE),
        ('"nan"', NOT_FINITE),
        ('"-infinity"', NOT_FINITE),
        ("1" + "0" * 400, NOT_FINITE),
        ("0", "must be more than 0. Set it to more than 0"),
        ("600.5", "must be at most 600. Set it to 600 or less"),
    ],
)
def test_number(written, value):
    found = made_of(f"listen.head_timeout = {written}")
    assert value == (found if isinstance(found, str) else found.listen.head_timeout)
    assert isinstance(found, str) or type(found.listen.head_timeout) is float


@pytest.mark.parametrize("written", ["true", "1", "1.0", '"1"', '"true"', '"TRUE"', '"t"', '"yes"', '"Y"', '"on"'])
def test_yes(written):
    assert made_of(f"spool.fsync = {written}").spool.fsync is True


@pytest.mark.parametrize("written", ["false", "0", "0.0", '"0"', '"false"', '"F"', '"no"', '"n"', '"Off"'])
def test_no(written):
    assert made_of(f"log.exchanges = {written}").log.exchanges is False


@pytest.mark.parametrize("written", ["2", "nan", '""', '" yes"', '"null"', "[]", "{}", "[true]"])
def test_neither_yes_nor_no(written):
    assert NO_BOOL == made_of(f"spool.fsync = {written}")


@pytest.mark.parametrize(
    "line, fault",
    [
        ("tenant_route.path = 1", NO_TEXT),
        ("fingerprint_key = true", NO_TEXT),
        ("state_dir = 1", "must be a path. Put it in double quotes"),
        ("policy.read_scopes = 1", NO_LIST),
        ("policy.read_scopes = {}", NO_LIST),
        ('policy.read_scopes = ["a", 1]', NO_TEXT),
        ("evidence.reread_after = [1, []]", NO_NUMBER),
        ("listen = 1", "no_table"),
        ("tenants = []", "no_table"),
        ("tenants.a = 1", "no_table"),
        ("log.level = 1", "must be 'debug', 'info', 'warning' or 'error'. Write one of debug, info, warning, error"),
        ("log.level = 'Info'", "must be 'debug', 'info', 'warning' or 'error'. Did you mean info?"),
        ("log.level = []", "must be 'debug', 'info', 'warning' or 'error'. Write one of debug, info, warning, error"),
        ("policy.mode = 'ENFORCE'", "must be 'enforce' or 'observe'. Did you mean enforce?"),
        ("policy.mode = {}", "must be 'enforce' or 'observe'. Write one of enforce, observe"),
        ("ops.token = 'short'", "must have at least 16 characters. Make it longer"),
        ("traces.endpoint = 'ftp://h'", "must be an http or https URL. Write it like http://localhost:4318/v1/traces"),
        ("policy.schema_ = 1", "unknown"),
    ],
)
def test_what_cannot_be_is_told(line, fault):
    assert fault == made_of(line)


@pytest.mark.parametrize("key, end", [("instance", "\\n"), ("policy.realm", "\\n"), ("policy.realm", '\\"')])
def test_a_line_end_does_not_pass_a_pattern(key, end):
    assert "must match" in str(made_of(f'{key} = "abc{end}"'))


def test_entries_of_a_list_are_told_one_by_one(tmp_path):
    file = tmp_path / "proxy.toml"
    file.write_text(ENOUGH.format('evidence.reread_after = ["x", 1,\n  "y"]\ntenants = { a = { mode = 1, client = 2 } }'))
    with pytest.raises(SettingsFault) as caught:
        load(file, {})
    assert {
        "evidence.reread_after[0]", "evidence.reread_after[2]", "tenants.a.mode", "tenants.a.client",
    } == {fault.key for fault in caught.value.faults}  # fmt: skip


@pytest.mark.parametrize("key, file_key", [("OPS__TOKEN", "ops.token"), ("POLICY__READ_SCOPES", "policy.read_scopes")])
def test_a_variable_that_is_no_utf_8_is_a_fault_where_it_would_be_sent(tmp_path, key, file_key):
    file = tmp_path / "proxy.toml"
    file.write_text(ENOUGH.format(""))
    with pytest.raises(SettingsFault) as caught:
        load(file, {f"SCIM_WITNESS_{key}": "planted-in-latin-1-\udce9"})
    (fault,) = caught.value.faults
    assert ("is not UTF-8", False) == (fault.message, "planted" in str(fault))


def test_a_path_may_have_any_octets():
    found = load(Path(__file__).parents[2] / "config/proxy.toml", {"SCIM_WITNESS_STATE_DIR": "/caf\udce9"})
    assert Path("/caf\udce9") == found.state_dir


def test_defaults_are_of_their_type_too():
    found = made_of("")
    assert (15.0, float) == (found.listen.head_timeout, type(found.listen.head_timeout))
    assert (1.0, 10.0, 60.0) == found.evidence.reread_after
    assert {float} == set(map(type, found.evidence.reread_after))


def test_a_section_knows_its_keys_as_they_are_written():
    known = fields(SOURCES["doorkeeper_mysql"])
    assert ("schema_", "kind", "name") == (known["schema"].attribute, *list(known)[:2])
    assert "schema_" not in known
    assert (True, None) == (known["dsn"].optional, known["dsn"].default)
    assert msgspec.NODEFAULT is known["kind"].default


def test_a_default_that_cannot_be_is_found():
    class Faulty(Settings, frozen=True, kw_only=True):
        workers: int = "many"  # type: ignore[assignment]

    wrong: list[Wrong] = []
    assert made(Faulty, {"upstream": {"url": "http://b"}, "source": [{"kind": "token_file", "path": "t"}]}, wrong) is None
    assert [("workers",)] == [one.path for one in wrong]


def test_values_that_were_good_make_the_same_settings_again():
    found = load(Path(__file__).parents[2] / "config/doorkeeper-postgres.toml", {"SCIM_WITNESS_OPS__TOKEN": "x" * 16})
    assert found == revive(msgspec.msgpack.decode(msgspec.msgpack.encode(found.values)))
    with pytest.raises(ValueError, match=r"are not: listen\.port") as caught:
        revive({**found.values, "listen": {"port": "planted"}})
    assert "planted" not in str(caught.value)


def test_a_secret_prints_as_nothing_and_compares_by_what_it_holds():
    one = Secret("planted")
    assert (True, False) == (one == Secret("planted"), one == Secret("other"))
    assert one != "planted"
    assert {one} == {Secret("planted"), copy.deepcopy(one)}
    assert "planted" not in f"{one!r}{one}{one!s}{[one]}"
    assert (7, False) == (len(one), bool(Secret("")))
    with pytest.raises(TypeError):
        msgspec.json.encode(one)
