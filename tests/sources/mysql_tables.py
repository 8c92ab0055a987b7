"""Doorkeeper's tables as its generators make them on MySQL, and rows in them; the same interface as `doorkeeper_tables`."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import aiomysql

from proxy.sources.doorkeeper.mysql_connection import Target

ENGINE: Final = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"

MODERN: Final = f"""
CREATE TABLE oauth_applications (id bigint AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL,
  uid varchar(255) NOT NULL UNIQUE, secret varchar(255) NOT NULL, redirect_uri text, scopes varchar(255) NOT NULL DEFAULT '',
  confidential tinyint(1) NOT NULL DEFAULT 1, created_at datetime(6) NOT NULL DEFAULT now(6)) {ENGINE};
CREATE TABLE oauth_access_grants (id bigint AUTO_INCREMENT PRIMARY KEY, resource_owner_id bigint NOT NULL,
  application_id bigint NOT NULL, token varchar(255) NOT NULL UNIQUE, expires_in int NOT NULL, redirect_uri text,
  created_at datetime(6) NOT NULL DEFAULT now(6), revoked_at datetime(6), scopes varchar(255) NOT NULL DEFAULT '') {ENGINE};
CREATE TABLE users (id bigint AUTO_INCREMENT PRIMARY KEY, email varchar(255), active tinyint(1), deactivated_at datetime(6),
  account varchar(255)) {ENGINE};
CREATE TABLE oauth_access_tokens (id bigint AUTO_INCREMENT PRIMARY KEY, resource_owner_id bigint,
  application_id bigint NOT NULL, token varchar(255) NOT NULL, refresh_token varchar(255), expires_in int,
  revoked_at datetime(6), created_at datetime(6) NOT NULL, scopes varchar(255),
  previous_refresh_token varchar(255) NOT NULL DEFAULT '',
  UNIQUE KEY by_token (token), UNIQUE KEY by_refresh (refresh_token), KEY by_application (application_id),
  KEY by_owner (resource_owner_id)) {ENGINE};
"""

WHOLE_SECONDS: Final = MODERN.replace("datetime(6)", "datetime").replace("now(6)", "now()")
TIMESTAMPS: Final = MODERN.replace("revoked_at datetime(6)", "revoked_at timestamp(6) NULL").replace(
    "created_at datetime(6)", "created_at timestamp(6)"
)
LATIN: Final = MODERN.replace("CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci", "CHARSET=latin1")
UUID_KEYS: Final = MODERN.replace("id bigint AUTO_INCREMENT PRIMARY KEY", "id char(36) DEFAULT (uuid()) PRIMARY KEY").replace(
    "_id bigint", "_id char(36)"
)


class MysqlTables:
    """A database with Doorkeeper's tables, written to as Doorkeeper would: in UTC, whatever the zone of the session."""

    def __init__(self, dsn: str, connection: Any) -> None:
        self.dsn = dsn
        self.connection = connection

    @classmethod
    async def create(cls, dsn: str, schema: str = MODERN) -> MysqlTables:
        """Connect and create the tables."""
        connection = await aiomysql.connect(
            **Target(dsn, 5, 5).arguments(), charset="utf8mb4", autocommit=True, init_command="SET time_zone = '+00:00'"
        )
        tables = cls(dsn, connection)
        for statement in schema.split(";\n"):
            if statement.strip():
                await tables.execute(statement)
        return tables

    async def execute(self, sql: str, *parameters: object) -> Any:
        """Run a statement; `$1` and so on as in PostgreSQL. Returns the first column of the first row, if any."""
        order = [int(part[0]) for part in sql.split("$")[1:]]
        for number in set(order):
            sql = sql.replace(f"${number}", "%s")
        async with self.connection.cursor() as cursor:
            await cursor.execute(sql, tuple(_value(parameters[number - 1]) for number in order) or None)
            row = await cursor.fetchone() if cursor.description else None
            return row[0] if row else None

    async def _insert(self, table: str, values: dict[str, object]) -> Any:
        names, sql, parameters = ", ".join(values), [], []
        for value in values.values():
            if isinstance(value, str) and value.startswith("="):
                sql.append(value[1:])
            else:
                parameters.append(value)
                sql.append(f"${len(parameters)}")
        return await self.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join(sql)}) RETURNING id", *parameters)

    async def application(self, name: str = "acme", uid: str | None = None, secret: str = "app-secret") -> Any:
        return await self._insert("oauth_applications", {"name": name, "uid": uid or f"uid-{name}", "secret": secret})

    async def owner(self, *, active: bool | None = True, account: str = "acme") -> Any:
        return await self._insert("users", {"active": active, "account": account})

    async def token(self, token: str, **columns: object) -> Any:
        """Insert a row; a str value beginning with `=` is SQL, `created_at` is now unless given. Returns its key."""
        return await self._insert("oauth_access_tokens", {"token": token, "created_at": "=utc_timestamp(6)", **columns})

    def close(self) -> None:
        self.connection.close()


def _value(value: object) -> object:
    return value.isoformat(" ") if isinstance(value, dt.datetime) else value
