"""Each kind of source in the wired program: `scim-witness run` lets its token in, refuses another, and `doctor` is content."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.end_to_end.running import Proxy, get
from tests.sources.doorkeeper_tables import digest
from tests.sources.issuer import CLIENT, PASSWORD, Issuer, says
from tests.sources.mysql_tables import MysqlTables

KEY = RSAKey.generate_key(2048, {"kid": "k"})
DIRECTORY = "4a7f2e0c-1111-4222-8333-9b1f3c2d5e6f"
AUDIENCE = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621"


@contextlib.asynccontextmanager
async def running(directory: Path, source: str) -> AsyncIterator[Proxy]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    backend = TestServer(app)
    await backend.start_server()
    proxy = Proxy(directory, f"http://127.0.0.1:{backend.port}", source)
    try:
        await asyncio.to_thread(proxy.start)
        yield proxy
    finally:
        assert await asyncio.to_thread(proxy.stop) == 0
        await backend.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    server = await Issuer().start()
    yield server
    await server.close()


async def doctor_of(proxy: Proxy) -> str:
    done = await asyncio.to_thread(proxy.command, "doctor")
    return done.stdout.decode() + done.stderr.decode()


def introspection(issuer: Issuer, more: str = "") -> str:
    return f"""[[source]]
kind = "introspection"
url = "{issuer.url}/introspect"
client_id = "{CLIENT}"
client_secret = "{PASSWORD}"
timeout = 5
{more}"""


@pytest.mark.mariadb
async def test_doorkeeper_on_mariadb(tmp_path, mariadb_database):
    tables = await MysqlTables.create(mariadb_database)
    await tables.token("good", application_id=await tables.application("acme"))
    await tables.token("revoked", application_id=1, revoked_at="='2026-05-17 10:00:00'")
    tables.close()
    async with running(tmp_path, f'[source]\nkind = "doorkeeper_mysql"\ndsn = "{mariadb_database}"') as proxy:
        statuses = [(await get(f"{proxy.data}/Users", token))[0] for token in ("good", "revoked", "GOOD", "guess")]
        assert statuses == [200, 401, 401, 401]
        assert "MariaDB 10" in await doctor_of(proxy)


async def test_introspection_and_its_outage(tmp_path, issuer):
    issuer.tokens["good"] = {"active": True, "client_id": "acme", "exp": 0, "iat": 1}
    async with running(tmp_path, introspection(issuer)) as proxy:
        statuses = [(await get(f"{proxy.data}/Users", token))[0] for token in ("good", "guess")]
        assert statuses == [200, 401]
        assert "takes our credentials" in await doctor_of(proxy)
        issuer.script = says("", 500)
        assert [(await get(f"{proxy.data}/Users", token))[0] for token in ("good", "guess-2")] == [200, 503]
    assert "good" not in proxy.log.read_text()


async def test_a_blind_endpoint_beside_a_table_refuses_nobody_and_is_told(tmp_path, issuer):
    table = tmp_path / "table.toml"
    stored = digest("good-token")
    table.write_text(f'[[token]]\nname = "a"\ntenant = "acme"\ndigest = "{stored}"\ncreated_at = 2026-05-03T10:00:00Z\n')
    source = f'[[source]]\nkind = "token_file"\nname = "table"\npath = "{table}"\n'
    async with running(tmp_path, source + introspection(issuer, 'cross_check = "table"')) as proxy:
        assert (await get(f"{proxy.data}/Users", "good-token"))[0] == 200

        def disagreements() -> list:
            return [line for line in proxy.lines() if line.get("event") == "sources_disagree"]

        async with asyncio.timeout(60):
            while not (told := disagreements()):
                await asyncio.sleep(0.02)
        issuer.script = says("", 500)
        assert [(await get(f"{proxy.data}/Users", token))[0] for token in ("good-token", "guess")] == [200, 401]
    assert [(line["table"], line["table_says"], line["other_says"]) for line in told] == [("table", "known", "unknown")]


async def test_entras_own_tokens(tmp_path, issuer):
    issuer.keys = [KEY.as_dict(private=False)]
    source = f"""[source]
kind = "jwt"
jwks_url = "{issuer.url}/keys"
issuer = ["https://sts.windows.net/{{tenant}}/"]
audience = ["{AUDIENCE}"]
timeout = 5
tenants = {{ "{DIRECTORY}" = "acme" }}"""

    def token(directory: str, ends: int = 600) -> str:
        now = int(time.time())
        said = {"iss": f"https://sts.windows.net/{directory}/", "aud": AUDIENCE, "iat": now - 900, "exp": now + ends}
        return jwt.encode({"alg": "RS256", "kid": "k"}, said, KEY, algorithms=["RS256"])

    presented = [token(DIRECTORY), token(DIRECTORY.replace("4", "5")), token(DIRECTORY, -300), token(DIRECTORY)[:-4] + "AAAA"]
    async with running(tmp_path, source) as proxy:
        answers = [await get(f"{proxy.data}/Users", one) for one in presented]
        assert [answer[0] for answer in answers] == [200, 401, 401, 401]
        assert b"expired" in answers[2][2]
        assert "holds 1 keys" in await doctor_of(proxy)
    log = proxy.log.read_text()
    assert all(one not in log and one.rpartition(".")[2] not in log for one in presented)
