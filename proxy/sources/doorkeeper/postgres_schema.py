"""How PostgreSQL is asked what Doorkeeper's tables look like: pg_catalog, which every role may read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.schema import Column, Shape, Table, faults_of

__all__ = ["INSPECT", "Column", "Shape", "Table", "names", "quoted", "shape_from"]

INSPECT: Final = """
SELECT k.role, a.attname::text, CASE a.atttypid WHEN 'bpchar'::regtype THEN 'bpchar' ELSE format_type(a.atttypid, NULL) END,
       a.attnotnull,
       has_column_privilege(c.oid, a.attnum, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE') AS readable,
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum
               AND i.indisvalid AND i.indpred IS NULL) AS indexed,
       c.reltuples::float8
FROM unnest($1::text[], $2::text[]) AS k(role, name)
JOIN pg_catalog.pg_class c ON c.oid = to_regclass(k.name)::oid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND (a.attnum > 0 OR a.attname = 'xmin'
     AND c.relkind <> 'f' AND NOT (c.relhassubclass AND EXISTS (SELECT FROM pg_catalog.pg_foreign_table)))
"""
"""An index that is partial or has the column second does not count: it cannot serve a look-up by that column alone. A foreign
table's xmin is 0 whatever becomes of the row. `character` in a cast is one letter, and bpchar is as many as there are."""


def quoted(identifier: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def names(options: Options) -> dict[str, str]:
    """Return role -> quoted name of each table to inspect."""

    tables = {"tokens": options.tokens, "applications": options.applications, "grants": options.grants}
    if options.owner is not None:
        tables["owner"] = options.owner.table
    return {role: _full(options.schema, table) for role, table in tables.items()}


def _full(schema: str, table: str) -> str:
    parts = table.split(".") if "." in table or not schema else [schema, table]
    return ".".join(quoted(part) for part in parts)


def shape_from(records: Iterable[Sequence[Any]], options: Options) -> Shape:
    """Build the shape from the records of INSPECT. Trouble when what is there does not suffice to judge a token."""
    columns: dict[str, dict[str, Column]] = {}
    rows: dict[str, float] = {}
    for role, name, kind, required, readable, indexed, estimate in records:
        columns.setdefault(role, {})[name] = Column(kind, required, readable, indexed)
        rows[role] = estimate

    def table(role: str, name: str) -> Table:
        estimate = rows.get(role, -1.0)
        return Table(name, columns.get(role, {}), None if estimate < 0 else estimate)

    tables = {role: table(role, name) for role, name in names(options).items()}
    shape = Shape(tables["tokens"], tables["applications"], tables["grants"], tables.get("owner"))
    missing = list(faults_of(shape, options))
    if missing:
        raise Trouble("error", "; ".join(missing))
    return shape
