"""`scim-witness audit` on the wired program: rows in PostgreSQL, use of tokens through the proxy."""

from __future__ import annotations

import json
import time

import pytest

from tests.end_to_end.running import get, token_file, until
from tests.sources.conftest import tables_in
from tests.sources.mysql_tables import MysqlTables


def audited(proxy, *more):
    done = proxy.command("audit", "--json", *more)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.timeout(240)  # a dozen commands, each a process that starts anew
async def test_who_fails_next(deploy, backend, database, tmp_path):
    async with tables_in(database) as tables:
        application, owner = await tables.application(), await tables.owner(active=False)
        common = {"application_id": application, "resource_owner_id": owner}
        await tables.token("held-by-okta", created_at="=timestamp '2026-05-03'", **common)
        await tables.token("soon", application_id=await tables.application("beta"), expires_in=86_400, refresh_token="r")
        await tables.token("later", application_id=await tables.application("gamma"), expires_in=86_400)
        source = f'[source]\nkind = "doorkeeper_postgres"\ndsn = "{database}"\n'
        source += '[source.owner]\ntable = "users"\nactive_column = "active"'
        proxy = deploy(backend, source)
        proxy.start()
        assert (await get(f"{proxy.data}/scim/v2/Users", "held-by-okta"))[0] == 200
        await tables.token("newer", created_at="=timestamp '2026-05-17'", **common)

        def found():
            return {(f["code"], f.get("tenant", "")) for f in audited(proxy)[1]["findings"]}

        everything = {("expiring", "gamma"), ("owner_inactive", "acme"), ("superseded_in_use", "acme")}
        until(lambda: found() == everything)
        gauges = tmp_path / "audit.prom"
        status, answer = audited(proxy, "--access-token-expires-in", "7200", "--metrics-file", str(gauges))
        assert (1, 4, 3) == (status, answer["rows"], answer["counts"]["cleanup_deletes"])
        assert 'scim_witness_audit_findings{code="expiring"} 1\n' in gauges.read_text()
        said = proxy.command("audit").stdout
        assert b"superseded_in_use (1)" in said
        assert b"set-ups (1 authorization code, 3 static token)" in said
        setups = {one["tenant"]: (one["setup"], one["tokens"]) for one in answer["setups"]["tenants"]}
        assert {"acme": ("static token", 2), "beta": ("authorization code", 1), "gamma": ("static token", 1)} == setups
        grant = "INSERT INTO oauth_access_grants (resource_owner_id, application_id, token, expires_in) "
        gamma = "SELECT coalesce(resource_owner_id, 7), application_id, 'g', 600 FROM oauth_access_tokens WHERE token = 'later'"
        await tables.execute("UPDATE oauth_access_tokens SET resource_owner_id = 7 WHERE token = 'later'")
        await tables.execute(grant + gamma)
        first = audited(proxy)[1]["setups"]["tenants"][0]
        assert ("gamma", "authorization code") == (first["tenant"], first["setup"])
        assert abs(first["stops_at"] - time.time() - 86_400) < 600
        await tables.execute("DELETE FROM oauth_access_tokens")
        assert (0, 0) == (audited(proxy)[0], audited(proxy)[1]["alive"])
        await tables.execute("DROP TABLE oauth_access_tokens")
        broken = proxy.command("audit")
        assert (5, True) == (broken.returncode, b"no table" in broken.stderr)


def test_a_token_file_without_the_store(deploy, tmp_path):
    proxy = deploy("http://127.0.0.1:1", token_file(tmp_path, {"T": "acme"}))
    status, answer = audited(proxy)
    assert (0, 1, True) == (status, answer["alive"], "use of tokens is not known" in answer["not_known"])
    (tmp_path / "tokens.toml").write_text((tmp_path / "tokens.toml").read_text() + "expires_in = 1\n")
    assert 0 == audited(proxy)[1]["alive"]
    (tmp_path / "tokens.toml").write_text("[[token]]\n")
    assert 5 == proxy.command("audit", "--json").returncode


ENDPOINTS = """
[[source]]
kind = "introspection"
name = "endpoint"
url = "http://127.0.0.1:1/introspect"
client_id = "c"
client_secret = "a secret of a client"
[[source]]
kind = "jwt"
name = "signed"
jwks_url = "http://127.0.0.1:1/keys"
issuer = "https://issuer.example"
audience = ["scim"]
tenant_claim = "org"
"""


def test_what_cannot_be_audited_is_said(deploy):
    proxy = deploy("http://127.0.0.1:1", ENDPOINTS)
    status, answer = audited(proxy)
    assert (0, 0, {"endpoint", "signed"}) == (status, answer["rows"], set(answer["not_audited"]))
    said = proxy.command("audit").stderr.decode()
    assert "Not audited: source endpoint: an introspection endpoint answers for one token at a time" in " ".join(said.split())


@pytest.mark.mariadb
async def test_doorkeepers_tables_in_mariadb(deploy, mariadb_database):
    mysql_tables = await MysqlTables.create(mariadb_database)
    application = await mysql_tables.application("acme")
    await mysql_tables.token("soon", application_id=application, expires_in=86_400)
    await mysql_tables.token("dead", application_id=application, expires_in=0, created_at="='2026-01-01'")
    proxy = deploy("http://127.0.0.1:1", f'[source]\nkind = "doorkeeper_mysql"\ndsn = "{mysql_tables.dsn}"\n')
    status, answer = audited(proxy)
    assert (1, 2, 1, 1) == (status, answer["rows"], answer["alive"], answer["counts"]["expiring"])
    await mysql_tables.execute("DROP TABLE oauth_access_tokens")
    mysql_tables.close()
    assert 5 == proxy.command("audit").returncode
