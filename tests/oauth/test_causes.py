"""What stops a code-flow customer, played against the wired program with Doorkeeper's tables and a scripted token endpoint.
Blind: a scenario sets the world and never looks into the evidence; asked is the code that `incidents show --json` names."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import aiohttp
import pytest

from tests.oauth.vendor import SWITCHED_ON, Connection, Vendor
from tests.scenarios.world import World, until, world
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer, engine

pytestmark = pytest.mark.slow

Play = Callable[[Vendor], Awaitable[str]]
PLAYS: Final[list[tuple[str, bool, Play]]] = []


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


def plays(code: str, *, near: bool = False) -> Callable[[Play], Play]:
    """Register a scenario of a cause, or a near miss, of which `code` is what it really is."""

    def register(play: Play) -> Play:
        PLAYS.append((code, near, play))
        return play

    return register


async def named(w: World, incident: str) -> str:
    shown = await w.shown(incident)
    code: str = shown["cause"]["code"]
    return code


async def kept(w: World, token: str, calls: int) -> None:
    """Wait until the ledger of a token holds so many calls."""

    async def there() -> bool:
        said = await command(w, "token", token)
        return said is not None and len(said["oauth"]) >= calls

    await until(there)


async def command(w: World, name: str, token: str) -> Any:
    fingerprint = fingerprint_of(w, token)
    return await w.command(name, fingerprint)


def fingerprint_of(w: World, token: str) -> str:
    from proxy.core.credential import Fingerprinter

    key = (w.directory / "state" / "fingerprint.key").read_bytes()
    return Fingerprinter(key.strip()).of(token.encode())


async def restart(w: World) -> None:
    await w.stop()
    await w.start()


# --- refresh_failed ---------------------------------------------------------------------------------------------------


@plays("refresh_failed")
async def the_refresh_token_was_revoked_in_the_console(v: Vendor) -> str:
    okta = await Connection.of(v)
    await v.world.works(okta.access)
    await v.world.revoke(okta.access)
    status, incident = await okta.refresh()
    assert status == 400
    return await named(v.world, incident)


@plays("refresh_failed")
async def the_client_secret_was_changed(v: Vendor) -> str:
    okta = await Connection.of(v)
    v.refuse = "invalid_client"
    status, incident = await okta.refresh()
    assert status == 401
    return await named(v.world, incident)


@plays("refresh_failed")
async def the_access_token_ran_out_after_the_refusal(v: Vendor) -> str:
    v.lifetime = 2
    okta = await Connection.of(v)
    await v.world.works(okta.access)
    v.refuse = "invalid_grant"
    await okta.refresh()
    return await named(v.world, await v.world.until_failing(okta.access))


@plays("refresh_failed")
async def refused_after_a_restart_of_the_proxy(v: Vendor) -> str:
    okta = await Connection.of(v)
    await v.world.works(okta.access)
    await kept(v.world, okta.access, 1)
    await restart(v.world)
    await v.world.revoke(okta.access)
    _, incident = await okta.refresh()
    return await named(v.world, incident)


@plays("refresh_failed")
async def nothing_has_arrived_since_the_refusal(v: Vendor) -> str:
    okta = await Connection.of(v)
    await v.world.works(okta.access)
    await kept(v.world, okta.access, 1)
    v.refuse = "invalid_grant"
    await okta.refresh()
    await kept(v.world, okta.access, 2)
    row = await v.world.command("token", fingerprint_of(v.world, okta.access))
    tenant = row["history"]["tenant"]
    start = dt.datetime.fromtimestamp(time.time() + 0.5, dt.UTC).isoformat()
    end = dt.datetime.fromtimestamp(time.time() + 60, dt.UTC).isoformat()
    said = await v.world.command("absence", "--tenant", tenant, "--from", start, "--to", end)
    code: str = said["cause"]["code"]
    return code


@plays("token_expired", near=True)
async def the_refusal_was_another_customers(v: Vendor) -> str:
    v.lifetime = 2
    acme, globex = await Connection.of(v), await Connection.of(v, "globex")
    await v.world.works(acme.access)
    v.refuse = "invalid_grant"
    await globex.refresh()
    return await named(v.world, await v.world.until_failing(acme.access))


# --- refresh_impossible -----------------------------------------------------------------------------------------------


@plays("refresh_impossible")
async def the_vendor_issues_no_refresh_tokens(v: Vendor) -> str:
    v.lifetime, v.refreshing = 2, False
    okta = await Connection.of(v)
    await v.world.works(okta.access)
    return await named(v.world, await v.world.until_failing(okta.access))


@plays("refresh_impossible")
async def it_was_issued_before_the_proxy_was_restarted(v: Vendor) -> str:
    v.lifetime, v.refreshing = 4, False
    okta = await Connection.of(v)
    await kept(v.world, okta.access, 1)
    await restart(v.world)
    return await named(v.world, await v.world.until_failing(okta.access))


@plays("token_expired", near=True)
async def a_pasted_token_with_an_end(v: Vendor) -> str:
    token = await v.world.customer("acme", expires_in=2, created_at="=clock_timestamp() AT TIME ZONE 'utc'")
    await v.world.works(token)
    return await named(v.world, await v.world.until_failing(token))


# --- token_rotated ----------------------------------------------------------------------------------------------------


@plays("token_rotated")
async def another_connection_goes_on_with_the_old_token(v: Vendor) -> str:
    okta = await Connection.of(v)
    old = okta.access
    await v.world.works(old)
    assert (await okta.refresh())[0] == 200
    await v.world.works(okta.access)
    return await named(v.world, await v.world.until_failing(old))


@plays("token_rotated")
async def the_refresh_token_is_presented_once_more(v: Vendor) -> str:
    okta = await Connection.of(v)
    old = okta.refresh_token
    assert (await okta.refresh())[0] == 200
    await v.world.works(okta.access)
    okta.refresh_token = old
    status, incident = await okta.refresh()
    assert status == 400
    await kept(v.world, okta.access, 1)
    return await named(v.world, incident)


@plays("token_superseded", near=True)
async def a_code_flow_token_is_regenerated_by_hand(v: Vendor) -> str:
    okta = await Connection.of(v)
    await v.world.works(okta.access)
    await v.world.regenerate(okta.access)
    return await named(v.world, await v.world.until_failing(okta.access))


@pytest.mark.parametrize("scenario", PLAYS, ids=lambda s: f"{s[0]}{' (near miss)' if s[1] else ''}: {s[2].__name__}")
async def test_the_cause_is_named(scenario: tuple[str, bool, Play], vendor: Vendor) -> None:
    code, _, play = scenario
    assert code == await play(vendor)


@pytest.mark.parametrize("code", ["refresh_failed", "refresh_impossible", "token_rotated"])
def test_each_has_two_scenarios(code: str) -> None:
    assert 2 <= len([play for named, near, play in PLAYS if named == code and not near])


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
    told = await told_by(vendor.world, "token", fingerprint_of(vendor.world, born))
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
    assert {name: fingerprint_of(vendor.world, okta.access) for name in ("refresh_missing", "no_store_missing")} == found


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
