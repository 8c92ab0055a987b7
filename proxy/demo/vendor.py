"""The vendor: its Doorkeeper tables in PostgreSQL, and the buttons of its console.

The tables are those of Doorkeeper's generated migration (lib/generators/doorkeeper/templates/{migration,
add_previous_refresh_token_to_access_tokens}.rb.erb) as Rails 6.1 makes them. Every write here is one that the vendor's
own software does; the proxy only ever reads.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any, Final

import asyncpg
import msgspec

TEN_YEARS: Final = 10 * 365 * 24 * 3600
"""Seconds a token of this vendor lives."""
DATABASE: Final = "vendor"
READER: Final = "scim_witness"
"""The proxy's role: it may SELECT and nothing else."""

SCHEMA: Final = """
CREATE TABLE oauth_applications (
    id bigserial PRIMARY KEY,
    name character varying NOT NULL,
    uid character varying NOT NULL,
    secret character varying NOT NULL,
    redirect_uri text NOT NULL,
    scopes character varying DEFAULT '' NOT NULL,
    confidential boolean DEFAULT true NOT NULL,
    created_at timestamp(6) without time zone NOT NULL,
    updated_at timestamp(6) without time zone NOT NULL
);
CREATE UNIQUE INDEX index_oauth_applications_on_uid ON oauth_applications (uid);
CREATE TABLE oauth_access_grants (
    id bigserial PRIMARY KEY,
    resource_owner_id bigint NOT NULL,
    application_id bigint NOT NULL REFERENCES oauth_applications (id),
    token character varying NOT NULL,
    expires_in integer NOT NULL,
    redirect_uri text NOT NULL,
    created_at timestamp without time zone NOT NULL,
    revoked_at timestamp without time zone,
    scopes character varying DEFAULT '' NOT NULL
);
CREATE INDEX index_oauth_access_grants_on_resource_owner_id ON oauth_access_grants (resource_owner_id);
CREATE INDEX index_oauth_access_grants_on_application_id ON oauth_access_grants (application_id);
CREATE UNIQUE INDEX index_oauth_access_grants_on_token ON oauth_access_grants (token);
CREATE TABLE oauth_access_tokens (
    id bigserial PRIMARY KEY,
    resource_owner_id bigint,
    application_id bigint NOT NULL REFERENCES oauth_applications (id),
    token character varying NOT NULL,
    refresh_token character varying,
    expires_in integer,
    revoked_at timestamp without time zone,
    created_at timestamp without time zone NOT NULL,
    scopes character varying,
    previous_refresh_token character varying DEFAULT '' NOT NULL
);
CREATE INDEX index_oauth_access_tokens_on_resource_owner_id ON oauth_access_tokens (resource_owner_id);
CREATE INDEX index_oauth_access_tokens_on_application_id ON oauth_access_tokens (application_id);
CREATE UNIQUE INDEX index_oauth_access_tokens_on_token ON oauth_access_tokens (token);
CREATE UNIQUE INDEX index_oauth_access_tokens_on_refresh_token ON oauth_access_tokens (refresh_token);
CREATE TABLE service_accounts (
    id bigserial PRIMARY KEY,
    email character varying NOT NULL,
    customer character varying NOT NULL,
    active boolean DEFAULT true NOT NULL
);
"""

_INSERT_TOKEN: Final = """
INSERT INTO oauth_access_tokens (resource_owner_id, application_id, token, expires_in, created_at, scopes)
VALUES ($1, $2, $3, $4, $5, 'scim')
"""


class Customer(msgspec.Struct, frozen=True):
    """A customer of the vendor: its application, its service account, and the token it was given (random, dies here)."""

    name: str
    application: int
    owner: int
    token: str

    def __repr__(self) -> str:
        return f"<customer {self.name}>"


class Vendor:
    """The vendor's database, seen by the vendor."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, server_dsn: str, dsn: str) -> Vendor:
        """Create database, tables and the proxy's read-only role, and connect."""
        first = await asyncpg.connect(server_dsn)
        try:
            await first.execute(f"CREATE ROLE {READER} LOGIN")
            await first.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await first.close()
        connection = await asyncpg.connect(dsn)
        await connection.execute(SCHEMA)
        await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
        return cls(connection)

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def sign_up(self, name: str, issued: dt.datetime, lifetime: int | None = TEN_YEARS) -> Customer:
        """Take a customer in: an application, a service account and a token of `lifetime` seconds, issued then (UTC)."""
        at = issued.astimezone(dt.UTC).replace(tzinfo=None)
        token = secrets.token_urlsafe(32)
        async with self._connection.transaction():
            owner = await self._connection.fetchval(
                "INSERT INTO service_accounts (email, customer) VALUES ($1, $2) RETURNING id",
                f"scim@{name}.example",
                name,
            )
            application = await self._connection.fetchval(
                "INSERT INTO oauth_applications (name, uid, secret, redirect_uri, scopes, created_at, updated_at) "
                "VALUES ($1, $2, $3, 'urn:ietf:wg:oauth:2.0:oob', 'scim', $4, $4) RETURNING id",
                name,
                secrets.token_urlsafe(32),
                secrets.token_urlsafe(32),
                at,
            )
            await self._connection.execute(_INSERT_TOKEN, owner, application, token, lifetime, at)
        return Customer(name, application, owner, token)

    async def regenerate(self, customer: Customer) -> str:
        """Press "Regenerate token" in the console: revoke the living tokens of the application, insert a new one."""
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        token = secrets.token_urlsafe(32)
        async with self._connection.transaction():
            await self._connection.execute(
                "UPDATE oauth_access_tokens SET revoked_at = $3 "
                "WHERE application_id = $1 AND resource_owner_id = $2 AND revoked_at IS NULL",
                customer.application,
                customer.owner,
                now,
            )
            await self._connection.execute(_INSERT_TOKEN, customer.owner, customer.application, token, TEN_YEARS, now)
        return token

    async def shorten(self, customer: Customer, lifetime: int) -> None:
        """Change how long the customer's tokens live: a "security clean-up" of the vendor's."""
        await self._connection.execute(
            "UPDATE oauth_access_tokens SET expires_in = $2 WHERE application_id = $1", customer.application, lifetime
        )

    async def delete(self, customer: Customer) -> None:
        """Remove the customer's tokens: what a cleanup job does."""
        await self._connection.execute("DELETE FROM oauth_access_tokens WHERE application_id = $1", customer.application)
