"""What Doorkeeper's tables look like in one database, whatever its dialect, and what our role may read of them.

Every generation of Doorkeeper's migrations is met: without refresh tokens, with nullable application_id, without
previous_refresh_token or with a nullable one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.options import Options, TenantFrom

SMALL: Final = 100_000
"""Rows up to which a table may be read through for a diagnosis: tens of milliseconds on any machine."""

CODE_BEFORE: Final = 3_600
CODE_AFTER: Final = 60
"""Seconds before and after a token was issued in which the grant that it was issued for was made: a code lives for ten minutes
unless configured otherwise. An older grant of the same application and owner is of another sign-in."""
_REQUIRED: Final = ("id", "token", "created_at", "expires_in", "revoked_at")
_READABLE_IF_THERE: Final = ("scopes", "application_id", "resource_owner_id")
_WHOLE_NUMBERS: Final = frozenset({"smallint", "integer", "bigint", "int", "mediumint", "tinyint"})


class SchemaChanged(Exception):  # noqa: N818 - a signal to look at the schema again
    """A query met a table, column or privilege that is not as it was."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble)
        self.trouble = trouble


class Column(msgspec.Struct, frozen=True):
    """One column; `type` is its name in SQL, without length."""

    type: str
    required: bool
    readable: bool
    indexed: bool


class Table(msgspec.Struct, frozen=True):
    """One table under its quoted name; `rows` as the planner estimates them, None when it was never analysed."""

    name: str
    columns: dict[str, Column] = {}
    rows: float | None = None

    def reads(self, column: str) -> bool:
        """Whether the column exists and our role may read it."""
        found = self.columns.get(column)
        return found is not None and found.readable

    def indexed(self, column: str) -> bool:
        """Whether a look-up by this column alone is cheap."""
        found = self.columns.get(column)
        return found is not None and found.indexed

    @property
    def small(self) -> bool:
        """Whether it may be read through."""
        return self.rows is None or self.rows <= SMALL


class Shape(msgspec.Struct, frozen=True):
    """The tables as they are. `owner` is None when none is configured."""

    tokens: Table
    applications: Table
    grants: Table
    owner: Table | None

    @property
    def numbered(self) -> bool:
        """Whether tokens have whole numbers as primary keys (else their text is used: uuid)."""
        return self.tokens.columns["id"].type in _WHOLE_NUMBERS

    @property
    def finds_grants(self) -> bool:
        """Whether the grants of an application and owner can be looked up cheaply."""
        grants = self.grants
        readable = grants.reads("application_id") and grants.reads("resource_owner_id")
        return readable and (grants.small or grants.indexed("application_id") or grants.indexed("resource_owner_id"))

    @property
    def versioned(self) -> bool:
        """Whether every table that a row of ours comes from shows the transaction that wrote it last (not a view's)."""
        tables = [self.tokens, *([self.owner] if self.owner else [])]
        if self.applications.columns:
            tables.append(self.applications)
        return all(table.reads("xmin") for table in tables)

    def flags(self) -> tuple[str, ...]:
        """Words for `Surroundings.schema_flags`."""
        previous = self.tokens.columns.get("previous_refresh_token")
        found = []
        if previous is None:
            found.append("no_previous_refresh_token")
        elif not previous.required:
            found.append("previous_refresh_token_nullable")
        if "refresh_token" not in self.tokens.columns:
            found.append("no_refresh_token")
        application = self.tokens.columns.get("application_id")
        if application is None or not application.required:
            found.append("application_id_nullable")
        return tuple(found)


def faults_of(shape: Shape, options: Options) -> Iterable[str]:
    """What is missing or hidden so that no token could be judged, one sentence each."""
    tokens = shape.tokens
    if not tokens.columns:
        yield f"there is no table {tokens.name} in reach of this role"
        return
    for column in _REQUIRED:
        if column not in tokens.columns:
            yield f"{tokens.name} has no column {column}"
    for column in (*_REQUIRED, *_READABLE_IF_THERE):
        if column in tokens.columns and not tokens.reads(column):
            yield f"{tokens.name}.{column} cannot be read by this role"
    if shape.owner is not None and options.owner is not None:
        if not shape.owner.columns:
            yield f"there is no table {shape.owner.name} in reach of this role"
        elif not shape.owner.reads(options.owner.key):
            yield f"{shape.owner.name}.{options.owner.key} is missing or cannot be read by this role"
        if options.owner.type and not tokens.reads("resource_owner_type"):
            yield f"{tokens.name}.resource_owner_type is missing or cannot be read by this role, and owner.type speaks of it"
    wanted = {TenantFrom.APPLICATION_NAME: "name", TenantFrom.APPLICATION_UID: "uid"}.get(options.tenant_from)
    for column in ("id", wanted) if wanted is not None else ():
        if not shape.applications.reads(column):
            yield f"{shape.applications.name}.{column} is missing or cannot be read by this role, and the tenant hangs on it"
