"""Settings of sources that would open a door, or that nobody could use, are faults; clear text is a warning."""

from __future__ import annotations

import pytest

from proxy.settings import SettingsFault, load

INTROSPECTION = 'kind = "introspection"\nurl = "https://a.example/i"\nclient_id = "c"\nclient_secret = "s"\n'
JWT = 'kind = "jwt"\njwks_url = "https://a.example/k"\nissuer = "https://a.example"\naudience = "scim"\n'
MYSQL = 'kind = "doorkeeper_mysql"\ndsn = "mysql://u@db/app"\n'


def loaded(path, *sources: str):
    path.write_text('[upstream]\nurl = "http://127.0.0.1:3000"\n' + "".join(f"[[source]]\n{source}" for source in sources))
    return load(path, {})


@pytest.mark.parametrize("source", [INTROSPECTION, JWT, MYSQL])
def test_the_least_that_is_enough(tmp_path, source):
    assert loaded(tmp_path / "p.toml", source).warnings == ()


@pytest.mark.parametrize(
    "key, source",
    [
        ("source[0].client_id", INTROSPECTION.replace('client_secret = "s"\n', "")),
        ("source[0].bearer", INTROSPECTION + 'bearer = "b"\n'),
        ("source[0].cross_check", INTROSPECTION + 'cross_check = "nobody"\n'),
        ("source[0].cross_check", INTROSPECTION + 'cross_check = "introspection"\n'),
        ("source[0].url", INTROSPECTION.replace("https://a", "https://user:pass@a")),
        ("source[0].issuer", JWT.replace('"https://a.example"\n', '"https://a.example/{tenant}/"\n', 1)),
        ("source[0].algorithms", JWT + 'algorithms = ["HS256"]\n'),
        ("source[0].algorithms", JWT + 'algorithms = ["none"]\n'),
        ("source[0].algorithms", JWT + "algorithms = []\n"),
        ("source[0].audience", JWT.replace('audience = "scim"', "audience = []")),
        ("source[0].issuer", JWT.replace('issuer = "https://a.example"', "issuer = []")),
        ("source[0].dsn", MYSQL.replace("mysql://", "postgresql://")),
        ("source[0].statement_cache", MYSQL + "statement_cache = false\n"),
    ],
)
def test_what_would_open_a_door_or_serves_nobody_is_a_fault(tmp_path, key, source):
    with pytest.raises(SettingsFault) as raised:
        loaded(tmp_path / "p.toml", source)
    assert [fault.key for fault in raised.value.faults] == [key]
    assert "pass@" not in str(raised.value)


@pytest.mark.parametrize("source", [INTROSPECTION, JWT])
def test_clear_text_to_another_machine_is_a_warning(tmp_path, source):
    (warning,) = loaded(tmp_path / "p.toml", source.replace("https://a.example/", "http://a.example/", 1)).warnings
    assert "is http" in warning.message
    assert loaded(tmp_path / "p.toml", source.replace("https://a.example/", "http://127.0.0.1/", 1)).warnings == ()
