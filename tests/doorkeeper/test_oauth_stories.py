"""The ends of a connection at the real Doorkeeper, its OAuth endpoints reached through the proxy, and what is said of each.

What test_stories.py tells from the rows alone is certain here where the call that did it passed by.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import pytest

from proxy.demo.okta import OktaApp, ProvisioningError
from tests.doorkeeper.code_flow import CodeFlow
from tests.doorkeeper.proxied import Proxied
from tests.doorkeeper.vendor import TEN_YEARS, Vendor

pytestmark = pytest.mark.doorkeeper

WATCHED: Final = "[oauth]\nenabled = true\n"
KNOWN: Final = 60.0
"""Seconds within which what passed here is in the store, and what died beside it is noticed."""
SHORT: Final = "3"
"""Seconds that a token lives where a story waits for its end."""


class Scene:
    """A vendor and the proxy that watches its OAuth endpoints."""

    def __init__(self, vendor: Vendor, proxied: Proxied) -> None:
        self.vendor = vendor
        self.proxied = proxied

    async def connected(self, *, clear: bool = False) -> CodeFlow:
        """A new customer whose Okta works."""
        flow = CodeFlow(self.vendor, self.proxied.address, await self.vendor.sign_up(f"acme-{next(NUMBERS)}"))
        await flow.authorize(clear=clear)
        assert 200 == (await flow.scim()).status
        return flow

    async def cause(self, incident: str, code: str, *findings: str) -> dict[str, Any]:
        """What is said of an incident, once what passed beside it is in the store."""
        deadline = time.monotonic() + KNOWN
        while True:
            shown = await asyncio.to_thread(self.proxied.show, incident)
            assert "cause" in shown, shown
            cause: dict[str, Any] = shown["cause"]
            if cause["code"] == code and set(findings) <= set(cause.get("findings", ())):
                return cause
            assert time.monotonic() < deadline, shown["candidates"]
            await asyncio.sleep(0.2)


NUMBERS: Final = itertools.count(1)


@pytest.fixture
def scene(vendors, proxies) -> Callable[..., Scene]:
    """scene(TOKEN_SECRETS="plain"): the vendor with these options, and the proxy before it."""

    def made(**options: str) -> Scene:
        vendor = vendors(**options)
        return Scene(vendor, proxies(vendor, WATCHED))

    return made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def lines(cause: dict[str, Any]) -> str:
    return " ".join(cause.get("evidence_for", ()))


# --- the seed's story, in both set-ups --------------------------------------------------------------------------------


async def test_the_seeds_story_with_a_pasted_token(scene, session):
    """Ten years from Doorkeeper, pasted into Okta; one day Unauthorized, although "the token" is in the database, alive."""
    at = scene(TOKEN_SECRETS="hashed")
    customer = await at.vendor.sign_up("acme")
    pasted = await at.vendor.issue(customer, expires_in=TEN_YEARS)
    okta = OktaApp(session, "http://{}:{}/scim/v2".format(*at.proxied.address), f"Bearer {pasted.token}")
    await okta.test_connection()
    await okta.create("ada@acme.example", "Ada", "Lovelace")
    await at.vendor.regenerate(pasted)
    with pytest.raises(ProvisioningError) as caught:
        await okta.update("1", {"title": "Countess"})
    cause = await at.cause(caught.value.incident, "token_superseded")
    assert "certain" == cause["confidence"]
    told = await at.proxied.told("explain", caught.value.incident)
    assert "Set-up Static token. Its row has no refresh token and lives 3650 d 0 h" in told


async def test_the_seeds_story_with_an_authorization_code(scene, session):
    """The refresh is refused at the token endpoint, so that no SCIM request is refused at first, or even comes."""
    at = scene(TOKEN_SECRETS="hashed", SCIM_TOKEN_EXPIRES=SHORT)
    flow = await at.connected()
    flow.secret = "changed at the vendor"
    refused = await flow.refresh()
    assert (401, "invalid_client") == (refused.status, refused.json["error"])
    cause = await at.cause(refused.fields["x-incident-id"], "refresh_failed")
    assert "certain" == cause["confidence"]
    incident = await flow.until_refused()
    cause = await at.cause(incident, "refresh_failed")
    assert "certain" == cause["confidence"]
    told = await at.proxied.told("explain", incident)
    assert "Set-up Authorization code. One call of the token endpoint with grant_type authorization_code" in told
    assert "Refresh refused" in told


# --- the others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plain", "hashed", "fallback"])
async def test_the_connection_is_revoked_and_cannot_renew(scene, mode):
    at = scene(TOKEN_SECRETS=mode)
    flow = await at.connected()
    assert 1 == await at.vendor.revoke_all(flow.customer)
    refused = await flow.refresh()
    assert (400, "invalid_grant") == (refused.status, refused.json["error"])
    cause = await at.cause(refused.fields["x-incident-id"], "refresh_failed")
    assert "certain" == cause["confidence"]
    assert "token_revoked" == (await at.cause(await flow.until_refused(), "token_revoked"))["code"]


async def test_nothing_was_given_to_renew_with(scene):
    at = scene(REFRESH_TOKEN="0", SCIM_TOKEN_EXPIRES=SHORT)
    flow = await at.connected()
    assert "" == flow.refresh_token
    incident = await flow.until_refused()
    cause = await at.cause(incident, "refresh_impossible")
    assert "certain" == cause["confidence"]
    assert "No refresh token was issued: the client stops at" in await at.proxied.told("explain", incident)


@pytest.mark.parametrize("mode", ["plain", "hashed"])
async def test_one_connection_renews_and_another_goes_on_with_the_old_token(scene, mode):
    at = scene(TOKEN_SECRETS=mode)
    flow = await at.connected()
    old = flow.access_token
    assert 200 == (await flow.refresh()).status
    assert 200 == (await flow.scim(old)).status, "the old token lives until the new one is used"
    assert 200 == (await flow.scim()).status
    cause = await at.cause(await flow.until_refused(old), "token_rotated")
    assert "certain" == cause["confidence"]
    assert "passed through here" in lines(cause)


async def test_a_lost_answer_is_no_incident_where_rotation_waits_for_the_first_use(scene):
    at = scene(TOKEN_SECRETS="plain")
    flow = await at.connected()
    await flow.lose_a_refresh()
    assert 200 == (await flow.scim()).status
    assert 200 == (await flow.refresh()).status
    assert 200 == (await flow.scim()).status


async def test_a_lost_answer_ends_the_connection_where_rotation_is_at_once(scene):
    at = scene(ROTATE_AT_ONCE="1")
    flow = await at.connected()
    await flow.lose_a_refresh()
    again = await flow.refresh()
    assert (400, "invalid_grant") == (again.status, again.json["error"])
    cause = await at.cause(again.fields["x-incident-id"], "token_rotated")
    assert "certain" == cause["confidence"]
    cause = await at.cause(await flow.until_refused(), "token_rotated")
    assert "certain" == cause["confidence"]


async def test_authorizing_anew_revokes_all_for_the_account(scene):
    at = scene(TOKEN_SECRETS="plain")
    flow = await at.connected()
    others = [CodeFlow(at.vendor, at.proxied.address, flow.customer) for _ in range(2)]
    for other in others:
        await other.authorize()
        assert 200 == (await other.scim()).status
    await at.proxied.calls(flow.access_token, 1)
    await flow.authorize(clear=True)
    assert 200 == (await flow.scim()).status
    cause = await at.cause(await others[0].until_refused(), "token_superseded", "mass_revocation")
    assert f"A call of /oauth/authorize by client {flow.customer.uid} passed through here" in lines(cause)


async def test_the_application_is_destroyed(scene):
    at = scene(TOKEN_SECRETS="plain", ACCESS_TOKEN_EXPIRES="3601")
    flow = await at.connected()
    other = CodeFlow(at.vendor, at.proxied.address, flow.customer)
    await other.authorize()
    assert 200 == (await other.scim()).status
    await at.vendor.destroy(flow.customer)
    incident = await flow.until_refused()
    cause = await at.cause(incident, "token_deleted", "application_destroyed")
    assert "certain" == cause["confidence"]
    refused = await flow.refresh()
    assert (400, "invalid_grant") == (refused.status, refused.json["error"]), "it looks for the refresh token first"
    cause = await at.cause(refused.fields["x-incident-id"], "refresh_failed")
    assert "The row of its access token had vanished." in lines(cause)


@pytest.mark.parametrize("mode", ["plain", "hashed"])
async def test_the_clean_up_deletes_a_living_ten_year_token(scene, mode):
    """`rake doorkeeper:db:cleanup` before 5.9.0 goes by access_token_expires_in and spares only what has a refresh token."""
    at = scene(TOKEN_SECRETS=mode, REFRESH_TOKEN="0")
    flow = await at.connected()
    await at.vendor.sql(
        "UPDATE oauth_access_tokens SET created_at = created_at - interval '14 days' WHERE application_id = $1",
        flow.customer.application,
    )
    assert 200 == (await flow.scim()).status
    await asyncio.to_thread(at.vendor.rake, "doorkeeper:db:cleanup")
    cause = await at.cause(await flow.until_refused(), "token_deleted")
    assert "access_token_expires_in" in str(cause)


# --- the exchange of the code is refused ------------------------------------------------------------------------------


async def test_the_code_is_exchanged_twice(scene):
    at = scene(TOKEN_SECRETS="plain")
    flow = await at.connected()
    code = await flow.code()
    assert 200 == (await flow.exchange(code)).status
    again = await flow.exchange(code)
    assert (400, "invalid_grant") == (again.status, again.json["error"])
    cause = await at.cause(again.fields["x-incident-id"], "undetermined", "exchange_refused")
    assert "The same code had been exchanged at" in lines(cause)


async def test_the_redirect_uri_is_not_the_one_of_the_code(scene):
    at = scene(TOKEN_SECRETS="plain")
    flow = await at.connected()
    refused = await flow.exchange(await flow.code(), "http://127.0.0.1/elsewhere")
    assert (400, "invalid_grant") == (refused.status, refused.json["error"])
    cause = await at.cause(refused.fields["x-incident-id"], "undetermined", "exchange_refused")
    assert "Its redirect_uri is not the one for which the code was issued." in lines(cause)


async def test_the_secret_of_the_client_is_wrong(scene):
    at = scene(TOKEN_SECRETS="plain")
    flow = await at.connected()
    flow.secret = "another"
    refused = await flow.exchange(await flow.code())
    assert (401, "invalid_client") == (refused.status, refused.json["error"])
    cause = await at.cause(refused.fields["x-incident-id"], "undetermined", "exchange_refused")
    assert "did not accept the client's id or secret" in lines(cause)


async def test_it_expired_before_it_was_exchanged(scene):
    at = scene(TOKEN_SECRETS="plain")
    flow = await at.connected()
    code = await flow.code()
    await at.vendor.sql("UPDATE oauth_access_grants SET created_at = created_at - interval '1 hour'")
    refused = await flow.exchange(code)
    assert (400, "invalid_grant") == (refused.status, refused.json["error"])
    cause = await at.cause(refused.fields["x-incident-id"], "undetermined", "exchange_refused")
    assert "The server does not take this code" in lines(cause)
