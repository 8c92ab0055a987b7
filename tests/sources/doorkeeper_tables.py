"""Doorkeeper's tables as its generators made them over the years, and rows in them."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import asyncpg

APPLICATIONS: Final = """
CREATE TABLE oauth_applications (id bigserial PRIMARY KEY, name varchar NOT NULL, uid varchar NOT NULL UNIQUE,
  secret varchar NOT NULL, redirect_uri text, scopes varchar NOT NULL DEFAULT '', confidential boolean NOT NULL DEFAULT true,
  created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'), updated_at timestamp);
CREATE TABLE oauth_access_grants (id bigserial PRIMARY KEY, resource_owner_id bigint NOT NULL, application_id bigint NOT NULL,
  token varchar NOT NULL UNIQUE, expires_in integer NOT NULL, redirect_uri text NOT NULL DEFAULT '',
  created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'), revoked_at timestamp, scopes varchar NOT NULL DEFAULT '');
CREATE TABLE users (id bigserial PRIMARY KEY, email varchar, active boolean, deactivated_at timestamp, account varchar);
"""

MODERN: Final = (
    APPLICATIONS
    + """
CREATE TABLE oauth_access_tokens (id bigserial PRIMARY KEY, resource_owner_id bigint,
  application_id bigint NOT NULL REFERENCES oauth_applications, token varchar NOT NULL, refresh_token varchar,
  expires_in integer, revoked_at timestamp, created_at timestamp NOT NULL, scopes varchar,
  previous_refresh_token varchar NOT NULL DEFAULT '');
CREATE UNIQUE INDEX ON oauth_access_tokens (token);
CREATE UNIQUE INDEX ON oauth_access_tokens (refresh_token);
CREATE INDEX ON oauth_access_tokens (application_id);
CREATE INDEX ON oauth_access_tokens (resource_owner_id);
"""
)

OLD: Final = (
    APPLICATIONS
    + """
CREATE TABLE oauth_access_tokens (id serial PRIMARY KEY, resource_owner_id integer, application_id integer,
  token varchar(255) NOT NULL, expires_in integer, revoked_at timestamp, created_at timestamp NOT NULL, scopes varchar(255));
CREATE UNIQUE INDEX ON oauth_access_tokens (token);
"""
)

NULLABLE_PREVIOUS: Final = MODERN.replace(
    "previous_refresh_token varchar NOT NULL DEFAULT ''", "previous_refresh_token varchar"
)

WITH_TIME_ZONE: Final = MODERN.replace(
    "revoked_at timestamp, created_at timestamp", "revoked_at timestamptz, created_at timestamptz"
)

UUID_KEYS: Final = MODERN.replace("id bigserial", "id uuid DEFAULT gen_random_uuid()").replace("_id bigint", "_id uuid")


def digest(token: str) -> str:
    """A token as `hash_token_secrets` stores it."""
    return hashlib.sha256(token.encode()).hexdigest()


class Tables:
    """A database with Doorkeeper's tables, written to as Doorkeeper would. Times are SQL expressions or epoch seconds."""

    def __init__(self, dsn: str, connection: asyncpg.Connection[Any]) -> None:
        self.dsn = dsn
        self.connection = connection

    async def application(self, name: str = "acme", uid: str | None = None, secret: str = "app-secret") -> Any:
        return await self.connection.fetchval(
            "INSERT INTO oauth_applications (name, uid, secret) VALUES ($1, $2, $3) RETURNING id",
            name,
            uid or f"uid-{name}",
            secret,
        )

    async def owner(self, *, active: bool | None = True, account: str = "acme") -> Any:
        return await self.connection.fetchval(
            "INSERT INTO users (active, account) VALUES ($1, $2) RETURNING id", active, account
        )

    async def token(self, token: str, **columns: object) -> Any:
        """Insert a row; a str value beginning with `=` is SQL, `created_at` is now unless given. Returns its key."""
        values: dict[str, object] = {"token": token, "created_at": "=clock_timestamp() AT TIME ZONE 'utc'", **columns}
        names = ", ".join(values)
        sql, parameters = [], []
        for value in values.values():
            if isinstance(value, str) and value.startswith("="):
                sql.append(value[1:])
            else:
                parameters.append(value)
                sql.append(f"${len(parameters)}")
        return await self.connection.fetchval(
            f"INSERT INTO oauth_access_tokens ({names}) VALUES ({', '.join(sql)}) RETURNING id", *parameters
        )

    async def execute(self, sql: str, *parameters: object) -> None:
        await self.connection.execute(sql, *parameters)
