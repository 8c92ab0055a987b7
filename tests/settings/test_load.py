"""From file and environment to settings, or to every fault at once."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from proxy.core.policy import Mode
from proxy.settings import Fault, Settings, SettingsFault, load
from proxy.settings.tokens import DoorkeeperPostgres, TokenFile

ENOUGH = """
[upstream]
url = "http://127.0.0.1:3000"

[source]
kind = "token_file"
path = "tokens.toml"
"""
ENOUGH_VARIABLES = {
    "SCIM_WITNESS_UPSTREAM__URL": "http://127.0.0.1:3000",
    "SCIM_WITNESS_SOURCE__KIND": "token_file",
    "SCIM_WITNESS_SOURCE__PATH": "tokens.toml",
}
PLANTED = "planted-secret-of-the-test"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proxy.toml"


def settings_of(file: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    file.write_text(text)
    return load(file, environ or {})


def faults_of(file: Path | None, text: str = "", environ: Mapping[str, str] | None = None) -> tuple[Fault, ...]:
    if file is not None:
        file.write_text(text)
    with pytest.raises(SettingsFault) as raised:
        load(file, environ or {})
    return raised.value.faults


def keys(faults: tuple[Fault, ...]) -> list[tuple[int | None, str]]:
    return [(fault.line, fault.key) for fault in faults]


def test_defaults_open_no_door(file):
    settings = settings_of(file, ENOUGH)
    assert settings.listen.host == "127.0.0.1"
    assert settings.ops.host == "127.0.0.1"
    assert settings.policy.mode is Mode.ENFORCE
    assert settings.upstream.tls.verify
    assert settings.listen.trusted_proxies == ()
    assert not settings.policy.allow_query_token
    assert not settings.policy.allow_form_token
    assert settings.warnings == ()


def test_environment_alone_is_enough():
    settings = load(None, ENOUGH_VARIABLES)
    assert settings.source == (TokenFile(kind="token_file", path=Path("tokens.toml")),)


def test_environment_wins_and_reaches_every_shape(file):
    settings = settings_of(
        file,
        ENOUGH + "[listen]\nport = 1\n[tenants.acme]\nmode = 'observe'\n",
        {
            "SCIM_WITNESS_LISTEN__PORT": "8443",
            "SCIM_WITNESS_LISTEN__TRUSTED_PROXIES": "10.0.0.0/8, ::1/128",
            "SCIM_WITNESS_POLICY__READ_SCOPES": "scim,scim.read",
            "SCIM_WITNESS_EVIDENCE__REREAD_AFTER": "1,5",
            "SCIM_WITNESS_SPOOL__FSYNC": "true",
            "SCIM_WITNESS_SPOOL__SEGMENT_BYTES": "1 MiB",
            "SCIM_WITNESS_SOURCE__1__KIND": "doorkeeper_postgres",
            "SCIM_WITNESS_SOURCE__1__DSN": "postgresql://db/app",
            "SCIM_WITNESS_SOURCE__1__OWNER__TABLE": "users",
            "SCIM_WITNESS_TENANTS__ACME__CLIENT": "okta",
            "PATH": "/bin",
            "SCIM_WITNESS_CONFIG": "read by the command line",
        },
    )
    assert settings.listen.port == 8443
    assert settings.listen.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert settings.policy.read_scopes == ("scim", "scim.read")
    assert settings.evidence.reread_after == (1.0, 5.0)
    assert settings.spool.fsync
    assert settings.spool.segment_bytes == 1 << 20
    second = settings.source[1]
    assert isinstance(second, DoorkeeperPostgres)
    assert second.owner.table == "users"
    assert (settings.tenants["acme"].mode, settings.tenants["acme"].client) == (Mode.OBSERVE, "okta")


def test_empty_variable_counts_as_not_set(file):
    assert settings_of(file, ENOUGH, {"SCIM_WITNESS_OPS__TOKEN": ""}).ops.token is None


def test_relative_paths_of_the_file_are_taken_from_its_folder(file):
    settings = settings_of(
        file,
        'state_dir = "state"\n' + ENOUGH,
        {"SCIM_WITNESS_UPSTREAM__TLS__CA_FILE": "ca.pem", "SCIM_WITNESS_UPSTREAM__URL": "https://b"},
    )
    assert settings.state_dir == file.parent / "state"
    assert isinstance(settings.source[0], TokenFile)
    assert settings.source[0].path == file.parent / "tokens.toml"
    assert settings.upstream.tls.ca_file == Path("ca.pem")


FAULTY = """\
workerz = 2
[listen]
port = 99999
trusted_proxies = ["10.0.0.1/8"]
[upstream]
url = "http://127.0.0.1:3000/scim"
head_timeout = "soon"
[[source]]
kind = "doorkeeper_postgres"
dsn = "mysql://db"
hashing = "sha265"
[[source]]
kind = "token_file"
pth = "x"
[fresh]
fresh_for = 0.5
[evidence]
reread_after = [1,
  5, 2]
[tenants."Acme Inc"]
mode = "strict"
[ops]
host = "0.0.0.0"
"""


def test_all_faults_at_once_with_their_lines(file):
    faults = faults_of(
        file,
        FAULTY,
        {"SCIM_WITNESS_LISTN__PORT": "1", "SCIM_WITNESS_LOG__LEVEL": "many"},
    )
    assert keys(faults) == [
        (1, "workerz"),
        (3, "listen.port"),
        (4, "listen.trusted_proxies"),
        (6, "upstream.url"),
        (7, "upstream.head_timeout"),
        (10, "source[0].dsn"),
        (11, "source[0].hashing"),
        (12, "source[1].path"),
        (14, "source[1].pth"),
        (16, "fresh.fresh_for"),
        (18, "evidence.reread_after"),
        (21, "tenants.Acme Inc.mode"),
        (23, "ops.host"),
        (None, "SCIM_WITNESS_LISTN__PORT"),
        (None, "SCIM_WITNESS_LOG__LEVEL"),
    ]
    assert {fault.file for fault in faults} == {str(file), "environment"}
    assert all(fault.message and fault.fix for fault in faults)


@pytest.mark.parametrize(
    "line, fix",
    [
        ("[listen2]", "Did you mean listen?"),
        ("[listen]\nprot = 1", "Did you mean port?"),
        ("[policy]\nmode = 'observ'", "Did you mean observe?"),
        ("[listen]\nzzz = 1", "Remove it; known here: backlog, body_read_timeout"),
        ("[tenants.acme]\nexpected_evry = 1", "Did you mean expected_every?"),
        ("[ops.tls]\ncert = 'x'", "Did you mean cert_file?"),
    ],
)
def test_unknown_key_gets_a_did_you_mean(file, line, fix):
    (fault,) = faults_of(file, f"{ENOUGH}\n{line}\n")
    assert fault.fix.startswith(fix)


def test_unknown_variable_gets_a_did_you_mean():
    (fault,) = faults_of(None, environ=ENOUGH_VARIABLES | {"SCIM_WITNESS_FRESH__FRESH_FRO": "3"})
    assert fault == Fault(
        "environment", None, "SCIM_WITNESS_FRESH__FRESH_FRO", "is no setting", "Did you mean SCIM_WITNESS_FRESH__FRESH_FOR?"
    )


@pytest.mark.parametrize(
    "given, meant",
    [
        ("UPSTREAM_URL", "UPSTREAM__URL"),
        ("UPSTREAM_TLS_CA_FILE", "UPSTREAM__TLS__CA_FILE"),
        ("LISTEN__TLS_CERT_FILE", "LISTEN__TLS__CERT_FILE"),
        ("SOURCE_DSN_FILE", "SOURCE__DSN_FILE"),
        ("FRESH_ACTIVE_WINDOW", "FRESH__ACTIVE_WINDOW"),
    ],
)
def test_variable_with_one_underscore_is_told_where_there_are_two(given, meant):
    (fault,) = faults_of(None, environ=ENOUGH_VARIABLES | {f"SCIM_WITNESS_{given}": PLANTED})
    assert (fault.key, fault.fix) == (f"SCIM_WITNESS_{given}", f"Did you mean SCIM_WITNESS_{meant}?")


def test_variable_that_names_a_table_is_told_to_name_a_key():
    (fault,) = faults_of(None, environ=ENOUGH_VARIABLES | {"SCIM_WITNESS_LISTEN": PLANTED})
    assert (fault.key, fault.fix) == ("SCIM_WITNESS_LISTEN", "Name one of them: SCIM_WITNESS_LISTEN__KEY")


def test_nothing_at_all_says_what_is_required():
    assert [(fault.key, fault.message) for fault in faults_of(None)] == [
        ("source", "is required"),
        ("upstream.url", "is required"),
    ]


@pytest.mark.parametrize(
    "text, line",
    [("a = 1\nb = \n", 2), ("[listen\n", 1), ('x = """\nnever closed\n', 3), ("a = 1\na = 2\n", 2)],
)
def test_syntax_fault_has_its_line(file, text, line):
    (fault,) = faults_of(file, text)
    assert fault.message.startswith("is not TOML")
    assert fault.line == line


def test_file_that_cannot_be_read_is_one_fault(tmp_path):
    (fault,) = faults_of(None) and _faults_of_missing(tmp_path / "none.toml")
    assert fault.message == "cannot be read (No such file or directory)"


def _faults_of_missing(path: Path) -> tuple[Fault, ...]:
    with pytest.raises(SettingsFault) as raised:
        load(path, {})
    return raised.value.faults


def test_not_utf8_is_one_fault(tmp_path):
    file = tmp_path / "latin.toml"
    file.write_bytes(b'instance = "\xe9"\n')
    (fault,) = _faults_of_missing(file)
    assert fault.message == "is not UTF-8"


class TestSecrets:
    TEXT = (
        ENOUGH.replace("[upstream]", f'fingerprint_key = "{PLANTED}"\n[upstream]')
        + f"""
[[more]]
[ops]
token = "{PLANTED}"
[store]
url = "redis://:{PLANTED}@redis/0"
password = "{PLANTED}"
"""
    )

    def test_do_not_print(self, file):
        settings = settings_of(file, self.TEXT.replace("[[more]]", ""))
        assert settings.ops.token is not None
        assert settings.ops.token.get_secret_value() == PLANTED
        assert PLANTED not in repr(settings) + str(settings) + f"{settings.ops}{settings.ops.token}"

    def test_do_not_print_in_faults(self, file):
        faults = faults_of(
            file,
            self.TEXT.replace("redis://", "rediz://").replace("[[more]]", f'[[more]]\ndsn = "{PLANTED}"'),
            {"SCIM_WITNESS_LISTEN__PORT": PLANTED, "SCIM_WITNESS_OPS__TOKEN_FIEL": PLANTED},
        )
        assert len(faults) >= 4
        assert PLANTED not in repr(faults) + str(SettingsFault(faults))

    def test_do_not_chain_to_an_error_that_holds_them(self, file):
        file.write_text(self.TEXT)
        with pytest.raises(SettingsFault) as raised:
            load(file, {})
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None

    def test_come_from_files(self, file):
        (file.parent / "dsn").write_text(f"postgresql://u:{PLANTED}@db/app\n")
        settings = settings_of(
            file, ENOUGH.replace('"token_file"', '"doorkeeper_postgres"').replace('path = "tokens.toml"', 'dsn_file = "dsn"')
        )
        assert isinstance(settings.source[0], DoorkeeperPostgres)
        assert settings.source[0].dsn is not None
        assert settings.source[0].dsn.get_secret_value() == f"postgresql://u:{PLANTED}@db/app"
        assert PLANTED not in repr(settings)

    def test_file_that_is_missing_or_empty_is_a_fault_at_its_key(self, file):
        (file.parent / "empty").write_text("\n")
        faults = faults_of(file, ENOUGH + '[ops]\ntoken_file = "none"\n[store]\nurl = "redis://r"\npassword_file = "empty"\n')
        assert keys(faults) == [(9, "ops.token_file"), (12, "store.password_file")]

    @pytest.mark.parametrize("held", [f"{PLANTED} \n", f"{PLANTED}\n{PLANTED}\n", f"Bearer {PLANTED}"])
    def test_token_of_operators_that_nobody_could_present_is_a_fault(self, file, held):
        (file.parent / "t").write_text(held)
        faults = faults_of(file, ENOUGH + '[ops]\ntoken_file = "t"\n')
        assert [fault.key for fault in faults] == ["ops.token"]
        assert PLANTED not in str(SettingsFault(faults))

    def test_given_twice_is_a_fault(self, file):
        faults = faults_of(file, ENOUGH + f'[ops]\ntoken = "{PLANTED}"\ntoken_file = "x"\n')
        assert keys(faults) == [(10, "ops.token_file")]

    def test_environment_wins_over_a_secret_file_of_the_file_and_the_reverse(self, file):
        (file.parent / "t").write_text("from-the-secret-file")
        by_value = settings_of(file, ENOUGH + '[ops]\ntoken_file = "t"\n', {"SCIM_WITNESS_OPS__TOKEN": PLANTED})
        by_file = settings_of(
            file, ENOUGH + f'[ops]\ntoken = "{PLANTED}"\n', {"SCIM_WITNESS_OPS__TOKEN_FILE": str(file.parent / "t")}
        )
        assert by_value.ops.token is not None
        assert by_value.ops.token.get_secret_value() == PLANTED
        assert by_file.ops.token is not None
        assert by_file.ops.token.get_secret_value() == "from-the-secret-file"


def test_settings_are_frozen_all_the_way(file):
    settings = settings_of(file, ENOUGH)
    for section in (settings, settings.listen, settings.upstream.tls, settings.source[0]):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(section, section.__struct_fields__[0], "x")


def test_workers_can_be_given_their_settings(file):
    settings = settings_of(file, ENOUGH)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own bytes


def test_source_number_beyond_the_end_is_a_fault():
    faults = faults_of(None, environ=ENOUGH_VARIABLES | {"SCIM_WITNESS_SOURCE__5__PATH": "x"})
    assert [(fault.key, fault.fix) for fault in faults] == [
        ("SCIM_WITNESS_SOURCE__5__PATH", "Number sources from 0 without gaps")
    ]


@pytest.mark.parametrize(
    "name",
    [
        "SCIM_WITNESS_",
        "SCIM_WITNESS___",
        "SCIM_WITNESS_LISTEN",
        "SCIM_WITNESS_LISTEN__PORT__X",
        "SCIM_WITNESS_SOURCE",
        "SCIM_WITNESS_SOURCE__0",
        "SCIM_WITNESS_SOURCE__1",
        "SCIM_WITNESS_SOURCE__99",
        "SCIM_WITNESS_TENANTS",
        "SCIM_WITNESS_TENANTS__A",
        "SCIM_WITNESS_WORKERS__A",
    ],
)
def test_odd_variable_is_a_fault_and_never_a_crash(name):
    assert name in [fault.key for fault in faults_of(None, environ=ENOUGH_VARIABLES | {name: "x"})]


@pytest.mark.parametrize(
    "text",
    [
        "listen = 1",
        "source = 1",
        "source = [1]",
        "source = []",
        "source = [{}]",
        "source = [{kind = 3}]",
        "[source]\nkind = 'x'",
        "tenants = 1",
        "tenants.a = 1",
        "upstream = 1",
        "ops.tls = []",
        "listen.port = inf",
        "listen.head_timeout = nan",
        "state_dir = 1",
        "ops.token_file = 1",
        'ops.token_file = "a\\u0000b"',
        "tenant_route.path = '(?P<tenant>a{99999999999})'",
        f"tenant_route.path = '{'(' * 3000}?P<tenant>a'",
        f"workers = {'9' * 5000}",
        f"a = {'[' * 5000}",
    ],
)
def test_odd_value_is_a_fault_and_never_a_crash(file, text):
    assert all(fault.file == str(file) for fault in faults_of(file, text))
