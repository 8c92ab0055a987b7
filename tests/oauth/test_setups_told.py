"""Which set-up a customer uses, with its evidence and the date on which it stops: in the list of tenants and on its page."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.oauth.test_causes import told_by
from tests.oauth.vendor import SWITCHED_ON, Connection, Vendor
from tests.scenarios.world import until, world
from tests.servers.postgres import PostgresServer
from tests.servers.valkey import StoreServer, engine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with engine("bundled").server(tcp=True) as server:
        yield server


@pytest.fixture
async def vendor(tmp_path: pathlib.Path, postgres: PostgresServer, store: StoreServer) -> AsyncIterator[Vendor]:
    store.flush()
    async with world(tmp_path, postgres, store.url) as made:
        await made.build(more=SWITCHED_ON)
        yield Vendor(made)


async def page(v: Vendor, tenant: str) -> str:
    assert v.world.program is not None
    host, port = v.world.program.ops_address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/tenants/{tenant}") as answer:
        assert answer.status == 200
        return " ".join((await answer.text()).split())


async def setup_of(v: Vendor, tenant: str, setup: str) -> dict[str, Any]:
    """What `tenants --json` says, once it says so: the store has it within a second."""
    found: dict[str, Any] = {}

    async def told() -> bool:
        listed = await v.world.command("tenants") or []
        found.update(next((one for one in listed if one["tenant"] == tenant), {}))
        return bool(found) and (found["setup"] or {}).get("setup") == setup

    await until(told)
    told_setup: dict[str, Any] = found["setup"]
    return told_setup


async def test_a_pasted_token(vendor: Vendor) -> None:
    await vendor.world.works(await vendor.world.customer("acme"))
    setup = await setup_of(vendor, "acme", "static token")
    assert None is setup.get("stops_at")
    assert "static token" in await told_by(vendor.world, "tenants")
    text = await page(vendor, "acme")
    assert "Set-up: static token" in text
    assert "Its row has no refresh token and never expires" in text


async def test_an_authorization_code_that_is_renewed(vendor: Vendor) -> None:
    okta = await Connection.of(vendor)
    await vendor.world.works(okta.access)
    await okta.refresh()
    await vendor.world.works(okta.access)
    setup = await setup_of(vendor, "acme", "authorization code")
    assert None is setup.get("stops_at")
    text = await page(vendor, "acme")
    assert "Set-up: authorization code" in text
    assert "A refresh token was issued with it." in text
    assert "Stops" not in text


async def test_an_authorization_code_without_a_refresh_token_stops_on_a_date(vendor: Vendor) -> None:
    vendor.refreshing, vendor.lifetime = False, 7200
    okta = await Connection.of(vendor)
    await vendor.world.works(okta.access)
    setup = await setup_of(vendor, "acme", "authorization code")
    stops = dt.datetime.fromtimestamp(setup["stops_at"], dt.UTC)
    assert abs((stops - dt.datetime.now(dt.UTC)).total_seconds() - 7200) < 120
    assert f"authorization code, stops {stops:%Y-%m-%d %H}" in " ".join((await told_by(vendor.world, "tenants")).split())
    text = await page(vendor, "acme")
    assert f"Stops {stops:%Y-%m-%d %H:%M}" in text
    assert "No refresh token was issued: the client stops at" in text


async def test_of_nobody_nothing_is_claimed(vendor: Vendor) -> None:
    assert "Set-up: not known" in await page(vendor, "nobody")
