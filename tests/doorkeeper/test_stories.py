"""Lives of tokens at the real Doorkeeper, played by a simulated Okta through `scim-witness run` and explained by one command.

Every story ends in the Unauthorized that an administrator sees, or in none where there must be none. What the cause must be
is the catalogue's (docs/causes.md), whoever gave the 401.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import aiohttp
import pytest

from proxy.demo.okta import OktaApp, ProvisioningError
from tests.doorkeeper.asking import ask, bearer
from tests.doorkeeper.vendor import CALLBACK, MODES, TEN_YEARS, Customer, Vendor

pytestmark = pytest.mark.doorkeeper

NOTICED: Final = 60.0
"""Seconds for the proxy to notice a change by itself: `fresh.fresh_for` is 2, and the machine may be busy."""


class Connection:
    """A customer's OAuth connection: the client's credentials and what it was given last."""

    def __init__(self, vendor: Vendor, customer: Customer) -> None:
        self._vendor = vendor
        self._customer = customer
        self.access_token = ""
        self.refresh_token = ""

    async def authorize(self, *, clear: bool = False) -> None:
        """The administrator presses Authenticate. `clear`: this vendor then revokes all that was there before."""
        code = await self._vendor.code(self._customer, clear=clear)
        answer = await self._vendor.token_for(self._customer, grant_type="authorization_code", code=code, redirect_uri=CALLBACK)
        assert answer.status == 200, answer
        self._take(answer.json)

    async def refresh(self, *, lost: bool = False) -> int:
        """Renew the access; `lost`: the answer never arrives. Return the status."""
        answer = await self._vendor.token_for(self._customer, grant_type="refresh_token", refresh_token=self.refresh_token)
        if answer.status == 200 and not lost:
            self._take(answer.json)
        return answer.status

    def _take(self, given: dict[str, Any]) -> None:
        assert (given["token_type"], given["expires_in"]) == ("Bearer", TEN_YEARS)
        self.access_token, self.refresh_token = given["access_token"], given["refresh_token"]


class Play:
    """One vendor, one customer, the proxy between them."""

    def __init__(self, vendor: Vendor, proxied, customer: Customer, session: aiohttp.ClientSession) -> None:
        self.vendor = vendor
        self.proxied = proxied
        self.customer = customer
        self._session = session

    def okta(self, token: str) -> OktaApp:
        return OktaApp(self._session, "http://{}:{}/scim/v2".format(*self.proxied.address), f"Bearer {token}")

    async def working(self, token: str) -> OktaApp:
        """An Okta that has provisioned with this token."""
        okta = self.okta(token)
        await okta.test_connection()
        await okta.create("ada@acme.example", "Ada", "Lovelace")
        return okta

    async def refused(self, okta: OktaApp) -> dict[str, Any]:
        """Okta's next job fails with 401; return what the witness shows of that incident."""
        with pytest.raises(ProvisioningError) as caught:
            await okta.update("1", {"title": "Countess"})
        assert caught.value.status == 401, caught.value
        assert caught.value.incident in caught.value.detail
        return await self.shown(caught.value.incident)

    async def refused_by_proxy(self, token: str) -> dict[str, Any]:
        """The same when the proxy has noticed by itself and lets nothing through any more."""
        deadline = time.monotonic() + NOTICED
        while (answer := await ask(self.proxied.address, fields=bearer(token))).from_rails:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert answer.status == 401, answer
        return await self.shown(answer.fields["x-incident-id"])

    async def time_passes(self, interval: str) -> None:
        """All rows of the customer become that much older: a client over the internet is slower than one on this machine."""
        await self.vendor.sql(
            f"UPDATE oauth_access_tokens SET created_at = created_at - interval '{interval}' WHERE application_id = $1",
            self.customer.application,
        )

    async def shown(self, incident: str, finding: str = "") -> dict[str, Any]:
        """What the witness shows; with `finding` once that is found, for what died beside it is noticed within a second."""
        deadline = time.monotonic() + NOTICED
        while True:
            shown: dict[str, Any] = await self.proxied.shown(incident)
            assert "cause" in shown, shown
            if not finding or finding in shown["cause"].get("findings", ()):
                return shown
            assert time.monotonic() < deadline, shown["candidates"]


@pytest.fixture
async def play_at(vendors, proxies) -> AsyncIterator[Callable[..., Any]]:
    """play_at(TOKEN_SECRETS="plain"): a new customer of the vendor with these options."""
    async with contextlib.AsyncExitStack() as stack:

        async def play(**options: str) -> Play:
            vendor = vendors(**options)
            customer = await vendor.sign_up("acme")
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Play(vendor, proxies(vendor), customer, session)

        yield play


def verdict(shown: dict[str, Any]) -> tuple[str, str]:
    return shown["cause"]["code"], shown["cause"]["confidence"]


@pytest.mark.parametrize("mode", MODES)
async def test_the_pasted_token_is_regenerated_and_nobody_tells_okta(play_at, mode):
    """The seed's first set-up."""
    play = await play_at(TOKEN_SECRETS=mode)
    issued = await play.vendor.issue(play.customer, expires_in=TEN_YEARS)
    okta = await play.working(issued.token)

    await play.vendor.regenerate(issued)

    assert ("token_superseded", "certain") == verdict(await play.refused(okta))
    assert ("token_superseded", "certain") == verdict(await play.refused_by_proxy(issued.token))


@pytest.mark.parametrize("mode", MODES)
async def test_one_connection_refreshes_and_another_goes_on_with_the_old_token(play_at, mode):
    """The seed's second set-up: authorization code, refresh, rotation at the first use of the new token."""
    play = await play_at(TOKEN_SECRETS=mode)
    connection = Connection(play.vendor, play.customer)
    await connection.authorize()
    old = connection.access_token
    okta = await play.working(old)

    assert 200 == await connection.refresh()
    await play.time_passes("2 seconds")
    await okta.update("1", {"title": "the old token lives until the new one is used"})
    await play.working(connection.access_token)

    for shown in (await play.refused(okta), await play.refused_by_proxy(old)):
        assert "token_rotated" == verdict(shown)[0], shown["candidates"]


async def test_a_lost_refresh_response_is_no_incident_where_rotation_waits_for_the_first_use(play_at):
    play = await play_at(TOKEN_SECRETS="plain")
    connection = Connection(play.vendor, play.customer)
    await connection.authorize()
    okta = await play.working(connection.access_token)

    assert 200 == await connection.refresh(lost=True)
    await okta.update("1", {"title": "still good"})
    assert 200 == await connection.refresh()
    await play.working(connection.access_token)

    assert okta.failure is None


async def test_a_lost_refresh_response_ends_the_connection_where_rotation_is_at_once(play_at):
    """Without the column previous_refresh_token the refresh itself revokes the old row."""
    play = await play_at(ROTATE_AT_ONCE="1")
    connection = Connection(play.vendor, play.customer)
    await connection.authorize()
    okta = await play.working(connection.access_token)

    assert 200 == await connection.refresh(lost=True)

    shown = await play.refused(okta)
    assert 400 == await connection.refresh(), "invalid_grant: the client cannot help itself"
    codes = [candidate["code"] for candidate in shown["candidates"]]
    assert "token_rotated" == codes[0], shown["candidates"]


async def test_authorizing_anew_at_a_vendor_that_clears_what_was_there(play_at):
    """revoke_all_for: every connection of the same application and owner dies in one instant."""
    play = await play_at(TOKEN_SECRETS="plain")
    connections = [Connection(play.vendor, play.customer) for _ in range(3)]
    for connection in connections:
        await connection.authorize()
    oktas = [await play.working(connection.access_token) for connection in connections]

    await connections[0].authorize(clear=True)
    await play.working(connections[0].access_token)

    shown = await play.refused(oktas[1])
    assert "token_superseded" == verdict(shown)[0], shown["candidates"]
    assert "mass_revocation" in shown["cause"]["findings"]
    shown = await play.refused_by_proxy(connections[2].access_token)
    assert "token_superseded" == verdict(shown)[0], shown["candidates"]


async def test_all_tokens_of_a_customer_are_revoked_and_none_is_issued(play_at):
    play = await play_at(TOKEN_SECRETS="plain")
    tokens = [(await play.vendor.issue(play.customer)).token for _ in range(3)]
    oktas = [await play.working(token) for token in tokens]

    assert 3 == await play.vendor.revoke_all(play.customer)

    shown = await play.refused(oktas[0])
    assert "token_revoked" == verdict(shown)[0], shown["candidates"]
    assert "mass_revocation" in shown["cause"]["findings"]


@pytest.mark.parametrize("mode", MODES)
async def test_the_application_is_destroyed(play_at, mode):
    """At a vendor where nothing else dies in that minute: another customer's death would speak for a clean-up."""
    play = await play_at(TOKEN_SECRETS=mode, ACCESS_TOKEN_EXPIRES="3600")
    tokens = [(await play.vendor.issue(play.customer)).token for _ in range(2)]
    oktas = [await play.working(token) for token in tokens]

    await play.vendor.destroy(play.customer)

    shown = await play.refused(oktas[0])
    assert ("token_deleted", "certain") == verdict(shown)
    assert "token_deleted" == verdict(await play.refused_by_proxy(tokens[1]))[0]
    shown = await play.shown(shown["incident"]["id"], finding="application_destroyed")
    assert ("token_deleted", "certain") == verdict(shown)


@pytest.mark.parametrize("mode", MODES)
async def test_the_clean_up_deletes_a_living_ten_year_token(play_at, mode):
    """`rake doorkeeper:db:cleanup` before 5.9.0 goes by access_token_expires_in and ignores the row's own expires_in."""
    play = await play_at(TOKEN_SECRETS=mode)
    issued = await play.vendor.issue(play.customer, expires_in=TEN_YEARS)
    await play.vendor.set(issued.id, created_at="created_at - interval '14 days'")
    okta = await play.working(issued.token)

    await asyncio.to_thread(play.vendor.rake, "doorkeeper:db:cleanup")

    shown = await play.refused(okta)
    assert ("token_deleted", "certain") == verdict(shown)
    assert "14 d 0 h" in str(shown["cause"])
    assert "access_token_expires_in" in str(shown["cause"])
    assert "token_deleted" == verdict(await play.refused_by_proxy(issued.token))[0]
