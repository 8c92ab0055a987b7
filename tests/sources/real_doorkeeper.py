"""The worlds at the real Doorkeeper: its tables as the gem writes them, and its introspection endpoint."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from proxy.sources.doorkeeper.options import Hashing, Owner
from proxy.sources.endpoint import EndpointOptions
from proxy.sources.introspection.answer import Claims
from proxy.sources.introspection.source import Caller, Introspection, IntrospectionOptions
from tests.doorkeeper.asking import post
from tests.doorkeeper.vendor import MODES, TEN_YEARS, Customer, Issued, Vendor
from tests.sources.conftest import FINGERPRINTER
from tests.sources.doorkeeper_tables import digest
from tests.sources.worlds import CREATED, EVERYTHING, REVOKED, Wire, World


class Tokens:
    """`alive` and `other` of one new customer, issued by Doorkeeper and put back in time."""

    def __init__(self, vendor: Vendor, customer: Customer) -> None:
        self.vendor = vendor
        self.customer = customer
        self.issued: dict[str, Issued] = {}

    @classmethod
    async def of(cls, vendor: Vendor, lifetime: int) -> Tokens:
        made = cls(vendor, await vendor.sign_up("acme"))
        await made._issue("alive", CREATED, scopes="scim Other", expires_in=lifetime)
        await made._issue("other", REVOKED)
        return made

    async def _issue(self, name: str, at: dt.datetime, **more: Any) -> None:
        self.issued[name] = token = await self.vendor.issue(self.customer, **more)
        await self.vendor.set(token.id, created_at=f"'{at:%Y-%m-%d %H:%M:%S}'")

    def presented(self, name: str) -> str:
        return self.issued[name].token if name in self.issued else name

    async def revoke(self, name: str) -> None:
        """By the endpoint of RFC 7009, which spares expired tokens; then it shall have happened when the contract says."""
        client = {"client_id": self.customer.uid, "client_secret": self.customer.secret}
        await self.vendor.set(self.issued[name].id, expires_in="NULL")
        assert 200 == (await post(self.vendor.address, "/oauth/revoke", token=self.presented(name), **client)).status
        assert await self.vendor.sql("SELECT revoked_at FROM oauth_access_tokens WHERE id = $1", self.issued[name].id)
        await self.vendor.set(self.issued[name].id, revoked_at=f"'{REVOKED:%Y-%m-%d %H:%M:%S}'")

    async def delete(self, name: str) -> None:
        await self.vendor.sql("DELETE FROM oauth_access_tokens WHERE id = $1", self.issued[name].id)

    async def replace(self, name: str, by: str) -> None:
        stored = by if self.vendor.mode == "plain" else digest(by)
        await self.vendor.sql("UPDATE oauth_access_tokens SET token = $2 WHERE id = $1", self.issued[name].id, stored)


async def table_world(vendor: Vendor, opened: Callable[..., Any], wire: Wire, **options: object) -> World:
    tokens = await Tokens.of(vendor, 60)
    source = opened(
        await wire(vendor.dsn),
        hashing=Hashing(MODES[vendor.mode]),
        owner=Owner("service_accounts", active="active"),
        **options,
    )
    owner = str(tokens.customer.account)
    return World(source, tokens.delete, tokens.revoke, tokens.replace, tokens.presented, EVERYTHING, owner)


async def endpoint_world(vendor: Vendor, wire: Wire, timeout: float = 5.0) -> World:
    """Doorkeeper calls an expired token inactive, so this one lives for ten years; of owners it says nothing."""
    tokens = await Tokens.of(vendor, TEN_YEARS)
    customer = tokens.customer
    options = IntrospectionOptions(
        EndpointOptions(await wire("http://{}:{}/oauth/introspect".format(*vendor.address)), timeout=timeout),
        Caller(customer.uid, customer.secret),
        claims=Claims(tenants={customer.uid: "acme"}),
        recheck_every=0,
        doorkeeper=True,
    )
    source = Introspection(options, FINGERPRINTER)
    tells = frozenset({"near"})
    return World(source, tokens.delete, presented=tokens.presented, tells=tells, owner=None, lifetime=TEN_YEARS)
