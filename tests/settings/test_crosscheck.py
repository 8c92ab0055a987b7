"""Rules between keys: each one breaks, and is told at a key that was written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.evidence.connect import StoreOptions, connect
from proxy.settings import SettingsFault, load

BASE = {
    "SCIM_WITNESS_UPSTREAM__URL": "http://127.0.0.1:3000",
    "SCIM_WITNESS_SOURCE__KIND": "token_file",
    "SCIM_WITNESS_SOURCE__PATH": "tokens.toml",
}
DOORKEEPER = {"SOURCE__KIND": "doorkeeper_postgres", "SOURCE__PATH": "", "SOURCE__DSN": "postgresql://db/app"}


def environ(changes: dict[str, str]) -> dict[str, str]:
    return BASE | {f"SCIM_WITNESS_{key}": value for key, value in changes.items()}


@pytest.mark.parametrize(
    "key, message, changes",
    [
        ("FRESH__FRESH_FOR", "shorter than refresh_every", {"FRESH__FRESH_FOR": "0.5"}),
        ("FRESH__ACTIVE_WINDOW", "no token would ever be read", {"FRESH__ACTIVE_WINDOW": "0.5"}),
        ("UPSTREAM__URL", "our own listener (listen)", {"UPSTREAM__URL": "http://localhost:8080"}),
        (
            "UPSTREAM__URL",
            "our own listener (listen)",
            {"UPSTREAM__URL": "http://[::1]:80", "LISTEN__HOST": "0.0.0.0", "LISTEN__PORT": "80"},
        ),
        ("UPSTREAM__URL", "our own listener (ops)", {"UPSTREAM__URL": "http://127.0.0.1:9090"}),
        ("OPS__PORT", "port of the other listener", {"OPS__PORT": "8080"}),
        ("OPS__PORT", "port of the other listener", {"OPS__PORT": "8080", "LISTEN__HOST": "0.0.0.0"}),
        ("OPS__HOST", "without a token", {"OPS__HOST": "0.0.0.0"}),
        ("OPS__HOST", "without a token", {"OPS__HOST": "ops.example.com"}),
        ("UPSTREAM__TLS__CERT_FILE", "without key_file", {"UPSTREAM__URL": "https://b", "UPSTREAM__TLS__CERT_FILE": "c"}),
        ("OPS__TLS__KEY_FILE", "without cert_file", {"OPS__TLS__KEY_FILE": "k"}),
        ("OPS__TLS__CLIENT_CA_FILE", "without cert_file", {"OPS__HOST": "0.0.0.0", "OPS__TLS__CLIENT_CA_FILE": "a"}),
        ("OPS__TLS__CLIENT_NAMES", "without client_ca_file", {"OPS__TLS__CLIENT_NAMES": "a"}),
        ("OPS__TLS__OPEN_PROBES", "without client_ca_file", {"OPS__TLS__OPEN_PROBES": "true"}),
        ("LISTEN__TLS__CERT_FILE", "without key_file", {"LISTEN__TLS__CERT_FILE": "c"}),
        ("LISTEN__PROXY_PROTOCOL", "nobody is trusted", {"LISTEN__PROXY_PROTOCOL": "true"}),
        ("FORWARD_AUTH__FRONT", "nobody is trusted", {"FORWARD_AUTH__FRONT": "envoy"}),
        ("UPSTREAM__TLS__CA_FILE", "upstream.url is http", {"UPSTREAM__TLS__CA_FILE": "ca"}),
        (
            "SOURCE__1__NAME",
            "name of another source",
            {"SOURCE__1__KIND": "token_file", "SOURCE__1__PATH": "p", "SOURCE__1__NAME": "token_file"},
        ),
        (
            "SOURCE__REPLICA_DSN",
            "replica but no primary",
            DOORKEEPER | {"SOURCE__DSN": "", "SOURCE__REPLICA_DSN": "postgresql://r/app"},
        ),
        ("SOURCE__KIND", "dsn is required", DOORKEEPER | {"SOURCE__DSN": ""}),
        ("SOURCE__OWNER__KEY", "owner has no table", DOORKEEPER | {"SOURCE__OWNER__KEY": "uuid"}),
        (
            "SOURCE__OWNER__ACTIVE_EXPRESSION",
            "besides active_column",
            DOORKEEPER
            | {"SOURCE__OWNER__TABLE": "users", "SOURCE__OWNER__ACTIVE_COLUMN": "a", "SOURCE__OWNER__ACTIVE_EXPRESSION": "a"},
        ),
        ("SOURCE__TENANT_FROM", "owners are not read", DOORKEEPER | {"SOURCE__TENANT_FROM": "owner"}),
        ("SOURCE__TENANT_FROM", "belong together", DOORKEEPER | {"SOURCE__TENANT_FROM": "query"}),
        (
            "SOURCE__TENANT_QUERY",
            "does not use $1",
            DOORKEEPER | {"SOURCE__TENANT_FROM": "query", "SOURCE__TENANT_QUERY": "SELECT 1"},
        ),
        (
            "POLICY__REFUSE_INACTIVE_OWNER",
            "needs a source that reads owners",
            DOORKEEPER | {"POLICY__REFUSE_INACTIVE_OWNER": "true"},
        ),
        ("SPOOL__TOTAL_BYTES", "more than half", {"SPOOL__TOTAL_BYTES": "9 MiB"}),
        ("SPOOL__TOTAL_BYTES", "each worker has its share", {"SPOOL__TOTAL_BYTES": "63 MiB", "WORKERS": "4"}),
        ("STORE__USERNAME", "without store.url", {"STORE__USERNAME": "u"}),
        ("STORE__EMBEDDED_BINARY", "besides store.url", {"STORE__EMBEDDED_BINARY": "b", "STORE__URL": "redis://r"}),
    ],
)
def test_fault_between_keys(key, message, changes):
    with pytest.raises(SettingsFault) as raised:
        load(None, environ(changes))
    found = [(fault.key.removeprefix("SCIM_WITNESS_"), fault.message) for fault in raised.value.faults]
    assert any(where.startswith(key) and message in what for where, what in found), found
    assert len(found) == 1


def test_a_token_file_tells_the_owners_of_its_entries():
    assert load(None, environ({"POLICY__REFUSE_INACTIVE_OWNER": "true"})).policy.refuse_inactive_owner


@pytest.mark.parametrize(
    "message, url",
    [
        ("a URL of Redis or Valkey", "http://host:6379"),
        ("a port that is no number", "redis://host:port/0"),
        ("a port that is no number", "redis://:planted/secret@host:6379/0"),
        ("a port that is no number", "redis+cluster://h1:7001,h2:x"),
        ("no host between its commas", "redis+cluster://h1,,h2"),
        ("no host between its commas", "redis+sentinel://:26379/master"),
        ("does not name the master", "redis+sentinel://h1,h2"),
        ("has no database number", "redis+cluster://h1,h2/1"),
        ("no database number", "redis://host:6379/evidence"),
        ("a host that cannot be", "redis://a..b:6379/0"),
        ("is not known", "redis://host?planted=1"),
        ("is not known", "redis://host?ssl_ca_certs=/ca"),
        ("is not known", "unix:///run/v.sock?socket_keepalive=1"),
        ("is not known", "redis+sentinel://h1/master?client_name=planted"),
        ("is not known", "rediss+cluster://h1?ssl_ca_path=/planted"),
        ("has db behind ?", "redis://host?db=planted"),
        ("has db behind ?", "redis+sentinel://h1/master?db="),
        ("has db behind ?", "redis+cluster://h1?db=1"),
        ("has ssl_cert_reqs behind ?", "rediss://host?ssl_cert_reqs=planted"),
    ],
)
def test_store_url_that_no_driver_takes(message, url):
    with pytest.raises(SettingsFault) as caught:
        load(None, environ({"STORE__URL": url}))
    (fault,) = caught.value.faults
    assert (fault.key, True) == ("SCIM_WITNESS_STORE__URL", message in f"{fault.message}. {fault.fix}")
    assert ("planted" in str(fault), bool(fault.fix)) == (False, True)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host", "redis://:p%40w@host:6379/0", "redis://[::1]:6379/0", "rediss://u:p@host/1?ssl_ca_certs=a,b:c", "unix:///run/v.sock?db=1",
        "redis+sentinel://u:p@h1:26379,[::1]:26379/master?db=0", "rediss+cluster://h1,h2:7001/",
        "redis://h?db=1&username=u&password=p&client_name=w&protocol=3&health_check_interval=5&socket_timeout=1.5&socket_keepalive=yes",
        "rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_path=/c&ssl_password=p",
        "rediss+sentinel://h1/m?sentinel_username=u&sentinel_password=p&ssl_certfile=c&ssl_keyfile=k&ssl_cert_reqs=required",
    ],
)  # fmt: skip
def test_store_url_that_a_driver_takes(url):
    settings = load(None, environ({"STORE__URL": url}))
    assert url == settings.store.url.get_secret_value()
    pool = getattr(connect(StoreOptions(url=url)), "connection_pool", None)
    assert pool is None or pool.make_connection() is not None  # only here the driver looks at what stands behind ?


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
@pytest.mark.parametrize(
    "good, rest",
    [
        (True, "u@h1:5432,[::1]:5433,h3/app?target_session_attrs=primary"),
        (True, "u:p%40%2F%23@h/app"),
        (True, "u:p@w@h:1/app"),  # the last @ is the one that counts
        (True, "u@/app?host=%2Ftmp%2Fpg"),
        (True, "u@%2Ftmp%2Fpg/app"),
        (False, "u:planted/secret@h/app"),
        (False, "u:planted#secret@h/app"),
        (False, "u:planted@secret/w@h/app"),
        (False, "u@h:planted/app"),
        (False, "u@h1:1,h2:planted/app"),
    ],
)
def test_a_password_that_is_not_encoded_is_a_fault_of_the_dsn(kind, good, rest):
    rest = rest if kind == "postgres" else rest.partition("?")[0]  # the options are PostgreSQL's
    changes = DOORKEEPER | {"SOURCE__KIND": f"doorkeeper_{kind}", "SOURCE__DSN": f"{kind}://{rest}"}
    if good:
        assert load(None, environ(changes)).source[0].dsn.get_secret_value().endswith(rest)
        return
    with pytest.raises(SettingsFault) as caught:
        load(None, environ(changes))
    (fault,) = caught.value.faults
    assert (True, False) == ("%40, %2F and %23" in str(fault), "planted" in str(fault))


@pytest.mark.parametrize(
    "message, dsn",
    [
        ("has an sslmode that is none", "postgresql://u@h/app?sslmode=verify_full"),
        ("has an ssl_mode that is none", "mysql://u@h/app?ssl_mode=verify-full"),
        ("is not known", "mysql://u@h/app?planted=1"),
    ],
)
def test_option_of_a_dsn_that_would_fail_only_when_it_runs_is_a_fault(message, dsn):
    kind = "mysql" if dsn.startswith("mysql") else "postgres"
    changes = DOORKEEPER | {"SOURCE__KIND": f"doorkeeper_{kind}", "SOURCE__DSN": dsn}
    with pytest.raises(SettingsFault) as caught:
        load(None, environ(changes))
    (fault,) = caught.value.faults
    assert (True, False) == (message in str(fault), "planted" in str(fault))


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.example.com", ".", "h h"])
@pytest.mark.parametrize(
    "key, url",
    [
        ("UPSTREAM__URL", "http://{}:3000"),
        ("UPSTREAM__TLS__SERVER_NAME", "{}"),
        ("LISTEN__HOST", "{}"),
        ("OPS__HOST", "{}"),
        ("SOURCE__URL", "https://{}/introspect"),
    ],
)
def test_host_for_which_a_resolver_raises_is_a_fault(key, url, host):
    more = {"UPSTREAM__URL": "https://b"} if "TLS" in key else {}
    if "SOURCE" in key:
        more = {"SOURCE__KIND": "introspection", "SOURCE__PATH": "", "SOURCE__BEARER": "b"}
    with pytest.raises(SettingsFault) as caught:
        load(None, environ(more | {key: url.format(host)}))
    assert [f"SCIM_WITNESS_{key}"] == [fault.key for fault in caught.value.faults]


@pytest.mark.parametrize("methods", ["get", "GET,FOO BAR", ","])
def test_methods_by_which_nothing_would_come_through_are_a_fault(methods):
    with pytest.raises(SettingsFault) as caught:
        load(None, environ({"LISTEN__METHODS": methods}))
    assert ["SCIM_WITNESS_LISTEN__METHODS"] == [fault.key for fault in caught.value.faults]


@pytest.mark.parametrize(
    "changes",
    [
        {"OPS__HOST": "0.0.0.0", "OPS__TOKEN": "0123456789abcdef"},
        {"OPS__PORT": "0", "LISTEN__PORT": "0"},
        {"UPSTREAM__URL": "http://10.0.0.7:8080"},
        {"UPSTREAM__URL": "https://scim.example.com", "UPSTREAM__TLS__CA_FILE": "ca"},
        DOORKEEPER | {"SOURCE__OWNER__TABLE": "users", "POLICY__REFUSE_INACTIVE_OWNER": "true"},
        DOORKEEPER | {"SOURCE__TENANT_FROM": "query", "SOURCE__TENANT_QUERY": "SELECT name FROM t WHERE id = $1"},
    ],
)
def test_near_miss_is_no_fault(changes):
    assert load(None, environ(changes)).warnings == ()


@pytest.mark.parametrize(
    "key, changes",
    [
        ("UPSTREAM__HEAD_TIMEOUT", {"UPSTREAM__HEAD_TIMEOUT": "60"}),
        ("UPSTREAM__TLS__VERIFY", {"UPSTREAM__URL": "https://b", "UPSTREAM__TLS__VERIFY": "false"}),
        ("POLICY__ALLOW_QUERY_TOKEN", {"POLICY__ALLOW_QUERY_TOKEN": "true"}),
        ("SOURCE__DSN", DOORKEEPER | {"SOURCE__DSN": "postgresql://db/app?sslrootcert=/ca"}),
        ("POLICY__RETRY_BODY_LIMIT", {"POLICY__ON_DISAGREEMENT": "retry_once", "POLICY__RETRY_BODY_LIMIT": "0"}),
    ],
)
def test_unwise_setting_is_a_warning(key, changes):
    (warning,) = load(None, environ(changes)).warnings
    assert warning.key == f"SCIM_WITNESS_{key}"


def test_warning_has_its_line(tmp_path: Path):
    file = tmp_path / "p.toml"
    file.write_text('source = {kind = "token_file", path = "t"}\n[upstream]\nurl = "http://b"\nhead_timeout = 90\n')
    assert [(warning.line, warning.key) for warning in load(file, {}).warnings] == [(4, "upstream.head_timeout")]
