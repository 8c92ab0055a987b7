"""A whole code flow with refresh through the proxy in front of the real Doorkeeper: nothing is different for the client,
and the ledger tells the token's story."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from typing import Any

import pytest

from tests.doorkeeper import proxied as plain
from tests.doorkeeper.asking import ask, bearer, post
from tests.doorkeeper.conftest import proxies, vendors  # noqa: F401 - fixtures
from tests.doorkeeper.proxied import Proxied
from tests.doorkeeper.vendor import CALLBACK, TEN_YEARS, Vendor

pytestmark = pytest.mark.doorkeeper


@pytest.fixture
def watched(vendors: Any, proxies: Any) -> tuple[Vendor, Proxied]:  # noqa: F811
    """The vendor, and a proxy in front of it that watches its OAuth endpoints."""
    vendor = vendors(TOKEN_SECRETS="plain")
    return vendor, proxies(vendor, "[oauth]\nenabled = true\n")


async def test_a_code_flow_with_refresh(watched: tuple[Vendor, Proxied]) -> None:
    vendor, proxy = watched
    customer = await vendor.sign_up("acme")
    client = {"client_id": customer.uid, "client_secret": customer.secret}
    query = {"client_id": customer.uid, "redirect_uri": CALLBACK, "response_type": "code", "scope": "scim"}
    answer = await ask(proxy.address, "/oauth/authorize?" + urllib.parse.urlencode(query | {"account": str(customer.account)}))
    assert 302 == answer.status
    code = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.fields["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    born = (await post(proxy.address, "/oauth/token", **form, **client)).json
    assert ("Bearer", TEN_YEARS) == (born["token_type"], born["expires_in"])
    assert 200 == (await ask(proxy.address, fields=bearer(born["access_token"]))).status

    refresh = {"grant_type": "refresh_token", "refresh_token": born["refresh_token"]}
    renewed = (await post(proxy.address, "/oauth/token", **refresh, **client)).json
    assert 200 == (await ask(proxy.address, fields=bearer(renewed["access_token"]))).status
    again = await post(proxy.address, "/oauth/token", **refresh, **client)
    assert (400, "invalid_grant") == (again.status, again.json["error"])
    shown = await _shown(proxy, again.fields["x-incident-id"])
    assert ("token_rotated", "certain") == (shown["cause"]["code"], shown["cause"]["confidence"]), shown["cause"]

    revoked = await post(proxy.address, "/oauth/revoke", token=renewed["access_token"], **client)
    assert 200 == revoked.status
    refused = await post(
        proxy.address, "/oauth/token", grant_type="refresh_token", refresh_token=renewed["refresh_token"], **client
    )
    assert (400, "invalid_grant") == (refused.status, refused.json["error"])
    shown = await _shown(proxy, refused.fields["x-incident-id"])
    assert "refresh_failed" == shown["cause"]["code"], shown["cause"]

    token = shown["incident"]["fingerprint"]
    calls = await asyncio.to_thread(_ledger, proxy, token)
    assert ["token", "revoke", "token"] == [call["endpoint"] for call in calls]


async def _shown(proxy: Proxied, incident: str) -> dict[str, Any]:
    """What is told of a refusal once the calls before it are in the store."""
    deadline = time.monotonic() + plain.SHIPPED
    while True:
        found = await asyncio.to_thread(proxy.show, incident)
        if any(note["name"] == "surroundings" for note in found.get("notes", ())) or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.1)


def _ledger(proxy: Proxied, token: str) -> list[dict[str, Any]]:
    import subprocess
    import sys

    deadline = time.monotonic() + plain.SHIPPED
    while True:
        done = subprocess.run(
            [sys.executable, "-m", "proxy.cli", "token", token, "--json", "--config", str(proxy.config)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        calls: list[dict[str, Any]] = json.loads(done.stdout)["oauth"] if done.returncode == 0 else []
        if len(calls) >= 3 or time.monotonic() > deadline:
            return calls
        time.sleep(0.1)
