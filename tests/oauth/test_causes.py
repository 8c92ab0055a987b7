"""What is told of a code-flow customer, on the wired program with Doorkeeper's tables and a scripted token endpoint. The causes
themselves are in the table of tests/scenarios (refreshes.py)."""

from __future__ import annotations

import json
import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.oauth.vendor import SWITCHED_ON, Connection, Vendor
from tests.scenarios.refreshes import kept
from tests.scenarios.world import World, world
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer, engine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def oauth_store() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as server:
        yield server


@pytest.fixture
async def vendor(tmp_path: pathlib.Path, postgres: PostgresServer, oauth_store: StoreServer) -> AsyncIterator[Vendor]:
    oauth_store.flush()
    async with world(tmp_path, postgres, oauth_store.url) as made:
        await made.build(more=SWITCHED_ON)
        yield Vendor(made)


async def command(w: World, name: str, token: str) -> Any:
    return await w.command(name, w.fingerprint(token))


# --- what else is told ------------------------------------------------------------------------------------------------


async def test_a_mass_revocation_names_the_call_that_did_it(vendor: Vendor) -> None:
    first = await Connection.of(vendor)
    others = [Connection(vendor, first.application, first.owner, first.uid) for _ in range(3)]
    for connection in others:
        await connection.authorize()
        await vendor.world.works(connection.access)
    vendor.clear = True
    await first.authorize()
    await vendor.world.works(first.access)
    await kept(vendor.world, first.access, 1)
    shown = await vendor.world.shown(await vendor.world.until_failing(others[1].access))
    assert "mass_revocation" in shown["cause"]["findings"]
    said = " ".join(shown["cause"]["evidence_for"])
    assert "A call of /oauth/token (authorization_code) by client uid-acme passed through here" in said


async def test_the_certain_rotation(vendor: Vendor) -> None:
    okta = await Connection.of(vendor)
    old = okta.access
    await vendor.world.works(old)
    await okta.refresh()
    await vendor.world.works(okta.access)
    await kept(vendor.world, old, 2)
    shown = await vendor.world.shown(await vendor.world.until_failing(old))
    assert ("token_rotated", "certain") == (shown["cause"]["code"], shown["cause"]["confidence"])


async def test_the_story_of_a_token_is_told(vendor: Vendor) -> None:
    okta = await Connection.of(vendor)
    born = okta.access
    await vendor.world.works(born)
    assert (await okta.refresh())[0] == 200
    await kept(vendor.world, born, 2)
    told = await told_by(vendor.world, "token", vendor.world.fingerprint(born))
    assert "by authorization_code from Okta (acme), for 2 h 0 min and with a refresh token." in told
    assert "Refreshed once, the last at" in told
    await vendor.world.revoke(okta.access)
    _, incident = await okta.refresh()
    await vendor.world.shown(incident)
    told = await told_by(vendor.world, "explain", incident)
    assert "the token endpoint answered 400: no token was issued for refresh_token (invalid_grant)" in " ".join(told.split())
    assert "Set-up\n  Authorization code." in told
    assert "Refresh refused" in told


async def test_the_date_on_which_a_client_without_refresh_token_stops(vendor: Vendor) -> None:
    vendor.refreshing = False
    okta = await Connection.of(vendor)
    await kept(vendor.world, okta.access, 1)
    said = await command(vendor.world, "token", okta.access)
    (call,) = said["oauth"]
    assert ["refresh_missing"] == call["lint"]
    assert (7200, False) == (call["expires_in"], call["refresh_issued"])


async def test_lint_is_an_event_and_a_metric(vendor: Vendor) -> None:
    vendor.refreshing, vendor.headers = False, {}
    okta = await Connection.of(vendor)
    await kept(vendor.world, okta.access, 1)
    assert vendor.world.program is not None
    host, port = vendor.world.program.ops_address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/metrics") as answer:
        text = await answer.text()
    assert 'scim_witness_oauth_lint_total{finding="refresh_missing"} 1.0' in text
    assert 'scim_witness_oauth_lint_total{finding="no_store_missing"} 1.0' in text
    assert 'scim_witness_oauth_calls_total{endpoint="token",outcome="2xx"} 1.0' in text
    lines = [json.loads(line) for line in (vendor.world.directory / "proxy.log").read_text().splitlines()]
    found = {line["finding"]: line["fingerprint"] for line in lines if line["event"] == "oauth_lint"}
    assert {name: vendor.world.fingerprint(okta.access) for name in ("refresh_missing", "no_store_missing")} == found


async def test_a_lifetime_that_disagrees_with_the_row_is_found(vendor: Vendor) -> None:
    okta = await Connection.of(vendor)
    await vendor.world.works(okta.access)
    assert vendor.world.program is not None
    issue = vendor.world.issue

    async def longer(application: Any, owner: Any, **columns: object) -> str:
        return await issue(application, owner, **columns | {"expires_in": 60})

    vendor.world.issue = longer
    await okta.refresh()
    await kept(vendor.world, okta.access, 1)
    said = await command(vendor.world, "token", okta.access)
    assert ["expires_in_disagrees"] == said["oauth"][-1]["lint"]


async def test_no_secret_is_written_anywhere(vendor: Vendor, oauth_store: StoreServer) -> None:
    import redis

    okta = await Connection.of(vendor)
    okta.secret = "PLANTED-client-secret-0123456789"
    planted = [okta.secret, okta.access, okta.refresh_token]
    await vendor.world.works(okta.access)
    await okta.refresh()
    planted += [okta.access, okta.refresh_token, "PLANTED-code-0123456789"]
    await okta.ask(grant_type="authorization_code", code="PLANTED-code-0123456789")
    await vendor.world.revoke(okta.access)
    _, incident = await okta.refresh()
    await vendor.world.shown(incident)
    told = await told_by(vendor.world, "explain", incident) + json.dumps(
        await vendor.world.command("incidents", "show", incident)
    )
    assert vendor.world.program is not None
    host, port = vendor.world.program.ops_address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/metrics") as answer:
        told += await answer.text()
    client = redis.Redis.from_url(oauth_store.url)
    stored = b"".join(_everything(client))
    client.close()
    written = [p.read_bytes() for p in vendor.world.directory.rglob("*") if p.is_file()]
    for secret in planted:
        assert secret not in told
        assert secret.encode() not in stored
        assert not [1 for octets in written if secret.encode() in octets]


def _everything(client: Any) -> Iterator[bytes]:
    for key in client.scan_iter("*"):
        yield (
            key
            + b" "
            + {
                b"string": client.get,
                b"hash": lambda k: repr(client.hgetall(k)).encode(),
                b"zset": lambda k: repr(client.zrange(k, 0, -1)).encode(),
                b"stream": lambda k: repr(client.xrange(k)).encode(),
                b"set": lambda k: repr(client.smembers(k)).encode(),
            }[client.type(key)](key)
        )


async def told_by(w: World, *arguments: str) -> str:
    import asyncio

    from typer.testing import CliRunner

    from proxy.cli import app

    done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--config", str(w.config)])
    assert done.exit_code == 0, done.output
    return str(done.stdout)
