"""The PostgreSQL dialect of the port: which query for which question, over a few connections of one server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from proxy.core.credential import Fingerprinter
from proxy.core.finding import Finding
from proxy.core.token import Known, Sibling
from proxy.sources.doorkeeper import postgres_check
from proxy.sources.doorkeeper.batches import Batches
from proxy.sources.doorkeeper.database import Answer, Found, Kin, Trouble
from proxy.sources.doorkeeper.options import Options
from proxy.sources.doorkeeper.postgres_connection import Lane, Target
from proxy.sources.doorkeeper.postgres_schema import INSPECT, Shape, names, shape_from
from proxy.sources.doorkeeper.postgres_sql import Statements
from proxy.sources.doorkeeper.rows import Row, Version, instant
from proxy.sources.doorkeeper.schema import SchemaChanged
from proxy.sources.doorkeeper.source import Doorkeeper
from proxy.tasks import Tasks

SHAPE_LIFETIME: Final = 300.0
"""Seconds after which the schema is looked at again: a column that a migration or a GRANT added is used within minutes.
One that vanished is noticed at once, by the query that fails."""

AROUND_LIMIT: Final = 50
"""Diagnoses that may wait for the one connection they share; beyond, an incident goes without its surroundings."""

_NO_VERSION: Final = (None, None, None)
_STARTED: Final = 3  # where a version says of which server it is: by when that started
_VERSION: Final = 16  # where the four columns of a version begin in a record: behind the clock and the facts of a Row

Choose = Callable[[Statements], str]


class Postgres:
    """One server: `lookup_connections` for look-ups, one for the re-reads of tokens in use, one for diagnoses."""

    def __init__(self, dsn: str, via: str, options: Options, tasks: Tasks, *, wall: Callable[[], float] = time.time) -> None:
        self.via = via
        self._options = options
        self._wall = wall
        target = Target(dsn, options.pgbouncer, options.connect_timeout, options.query_timeout)
        name = f"{options.name}-{via}"
        self._lookups = [Lane(target, tasks, f"{name}-connect-{n}") for n in range(options.lookup_connections)]
        self._refresh = Lane(target, tasks, f"{name}-connect-refresh", options.query_timeout)
        self._around = Lane(target, tasks, f"{name}-connect-around")
        self._around_waiting = 0
        self._batches = Batches[Answer](self._ask_forms, options.lookup_connections, tasks, f"{name}-lookups")
        self._statements: tuple[float, Statements, str] | None = None

    async def by_forms(self, forms: Sequence[str]) -> Answer:
        """See Database. Waits at most `query_timeout`, connecting included."""
        try:
            async with asyncio.timeout(self._options.query_timeout):
                return await self._batches.get(forms)
        except TimeoutError:
            if self._statements is None and any(lane.trying for lane in self._lookups):
                raise Trouble("starting", "no connection to the database yet") from None
            raise Trouble("timeout", "the database did not answer in time") from None

    async def by_keys(self, keys: Sequence[int | str], versions: Sequence[Version | None]) -> Answer:
        """See Database. Without versions (a view, column grants, a vendor's own query) every row comes back; so it does from
        another server, whose transactions may have the same numbers: one that was promoted, or restored."""
        started = next((version[_STARTED] for version in versions if version), None)
        told = [v[:_STARTED] if v and v[_STARTED] == started else _NO_VERSION for v in versions]
        columns = map(list, zip(*told, strict=True))
        return self._answer(await self._ask_again(lambda statements: statements.by_keys, list(keys), *columns, started))

    async def kin(self, known: Known) -> Kin:
        """See Database."""
        records = await self._ask_around(
            lambda statements: statements.kin, str(known.row), known.application, known.owner, known.created_at
        )
        stored = next((record[-1] for record in records if record[0] == "self"), None)
        others = [record for record in records if record[0] != "self"]
        return Kin(stored, [_sibling(record) for record in others], [record[-1] for record in others])

    async def granted(self, known: Known) -> bool | None:
        """See Database."""
        if known.application is None or known.owner is None:
            return None
        records = await self._ask_around(
            lambda statements: statements.granted, known.application, known.owner, known.created_at
        )
        return records[0][0] if records else None

    async def same_instant(self, known: Known) -> tuple[Sequence[Sibling], int]:
        """See Database. Among rows of the same application and owner only where a look at all would be dear."""
        records = await self._ask_around(
            lambda statements: statements.same_instant, str(known.row), known.application, known.owner, known.revoked_at
        )
        return [_sibling(record[1:]) for record in records], records[0][0] if records else 0

    async def near(self, candidates: Sequence[str], prefix: str | None) -> Sequence[Found]:
        """See Database."""
        records = await self._ask_around(lambda statements: statements.near, list(candidates))
        if prefix is not None and (await self._known_statements(self._around)).near_prefix:
            escaped = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            records += await self._ask_around(lambda statements: statements.near_prefix, prefix, escaped)
        return [Found(column, value, row, tenant) for column, value, row, tenant in records]

    async def flags(self) -> tuple[str, ...]:
        """See Database."""
        statements = await self._known_statements(self._around)
        own = statements.shape.flags()
        return own if statements.same_instant_whole else (*own, "same_instant_within_grant")

    async def shape(self) -> Shape:
        """The schema as it is now known."""
        return (await self._known_statements(self._around)).shape

    async def check(self) -> Sequence[Finding]:
        """See Database."""
        return await postgres_check.findings(self.via, self._options, self._around.fetch, self.shape, self._wall)

    async def close(self) -> None:
        """See Database."""
        for lane in (*self._lookups, self._refresh, self._around):
            lane.close()

    async def _ask_forms(self, lane: int, forms: Sequence[str]) -> Answer:
        await self._known_statements(self._lookups[lane])
        return self._answer(await self._ask(self._lookups[lane], lambda chosen: chosen.by_forms, self._holdable(forms)))

    def _holdable(self, forms: Sequence[str]) -> list[str]:
        """A database in a single-byte encoding refuses a whole batch for one letter that it does not have."""
        encoding = self._statements[2] if self._statements else "UTF8"
        return list(forms) if encoding in ("UTF8", "SQL_ASCII") else [form for form in forms if form.isascii()]

    async def _ask_around(self, choose: Choose, *args: object) -> list[Any]:
        if self._around_waiting >= AROUND_LIMIT:
            raise Trouble("overload", "too many diagnoses wait for the database")
        self._around_waiting += 1
        try:
            return await self._ask(self._around, choose, *args)
        finally:
            self._around_waiting -= 1

    async def _ask_again(self, choose: Choose, *args: object) -> list[Any]:
        """Over the re-reads' own connection; where the server has none to spare for it, over one for look-ups."""
        try:
            return await self._ask(self._refresh, choose, *args)
        except Trouble as trouble:
            lane = next((lane for lane in self._lookups if lane.connected), None)
            if lane is None or trouble.why not in ("overload", "refused"):
                raise
        return await self._ask(lane, choose, *args)

    async def _ask(self, lane: Lane, choose: Choose, *args: object) -> list[Any]:
        try:
            return await lane.fetch(choose(await self._known_statements(lane)), *args)
        except SchemaChanged:
            self._statements = None
        try:
            return await lane.fetch(choose(await self._known_statements(lane)), *args)
        except SchemaChanged as changed:
            raise changed.trouble from None

    async def _known_statements(self, lane: Lane) -> Statements:
        kept = self._statements
        if kept is not None and time.monotonic() < kept[0] + SHAPE_LIFETIME:
            return kept[1]
        tables = names(self._options)
        try:
            encoding = (await lane.fetch("SELECT current_setting('server_encoding')"))[0][0]
            records = await lane.fetch(INSPECT, list(tables), list(tables.values()))
        except SchemaChanged as changed:
            raise changed.trouble from None
        shape = shape_from(records, self._options)
        unchanged = kept is not None and kept[1].shape == shape
        statements = kept[1] if kept is not None and unchanged else Statements(shape, self._options)
        self._statements = (time.monotonic(), statements, encoding)
        return statements

    def _answer(self, records: Sequence[Any]) -> Answer:
        read_at = self._wall()
        # a row's key is never NULL: the one record without it carries only the clock
        rows = [_row(record) for record in records if record[1] is not None]
        return Answer(rows, records[0][0], read_at, {row.token: row for row in rows if row.id is not None})


def _row(record: Sequence[Any]) -> Row:
    version = record[_VERSION:]
    return Row(*[*record[1:_VERSION], None if version[0] is None else tuple(version)])


def _sibling(record: Iterable[Any]) -> Sibling:
    relation, row, created_at, revoked_at, expires_in, tenant, application, owner, used, refreshable, _ = record
    return Sibling(
        relation=relation,
        row=row,
        created_at=instant(created_at),
        revoked_at=None if revoked_at is None else instant(revoked_at),
        expires_in=expires_in,
        tenant=tenant or "",
        application=application,
        owner=owner,
        used=used,
        refreshable=refreshable,
    )


def doorkeeper_on_postgres(options: Options, fingerprinter: Fingerprinter, tasks: Tasks) -> Doorkeeper:
    """Return the source over a primary and, where one is configured, a replica. Nothing is connected yet."""
    primary = Postgres(options.primary, "primary", options, tasks)
    replica = Postgres(options.replica, "replica", options, tasks) if options.replica else None
    return Doorkeeper(options, primary, replica, fingerprinter)
