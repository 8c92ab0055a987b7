"""Opens every configured source for an audit, and what is remembered of the use of its tokens."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from proxy.core.audit import Row, Rules, Tally, alive, given_up, schema_finding
from proxy.core.history import TokenHistory
from proxy.core.token import Known
from proxy.evidence.in_use import remembered
from proxy.evidence.redis_store import StoreError
from proxy.settings import Settings
from proxy.settings.issuers import Introspection, Jwt
from proxy.settings.tokens import DoorkeeperMysql, TokenFile
from proxy.sources.doorkeeper.audit import TableAudit
from proxy.sources.doorkeeper.database import Trouble
from proxy.sources.doorkeeper.mysql_audit import MysqlTableAudit
from proxy.sources.token_file_format import SIZE_LIMIT, TokenFileError, parse
from proxy.wire import store as stores
from proxy.wire.token_sources import doorkeeper_options

FILE_BATCH: Final = 5_000

Uses = dict[tuple[str, int | str], TokenHistory]


class AuditError(Exception):
    """A source could not be read to its end. One line that names it."""


class Progress(msgspec.Struct, frozen=True):
    """How far it is: rows read of a source, and how many the planner expects (None: nobody knows)."""

    source: str
    rows: int
    estimate: float | None


async def uses_of(settings: Settings) -> list[TokenHistory]:
    """What is remembered of tokens that worked. StoreError when the store does not answer."""
    url = stores.url_of(settings)
    if url is None:
        raise StoreError("unreachable", "the embedded store does not run")
    store = stores.open_store(settings, url)
    try:
        return [history async for history in remembered(store)]
    finally:
        await store.close()


async def audit(
    settings: Settings, uses: list[TokenHistory], tally: Tally, now: float, rules: Rules
) -> AsyncIterator[Progress]:
    """Read every source once and fill the tally. Yields after each batch. AuditError."""
    by_row = _by_row(uses)
    for source in settings.source:
        if isinstance(source, TokenFile):
            for row in _file_rows(source):
                tally.rows += 1
                if alive(row.token, now):
                    tally.saw(row, by_row.get((row.source, row.token.row)), now, rules)
            yield Progress(source.name, tally.rows, tally.rows)
            continue
        if isinstance(source, Introspection | Jwt):
            continue  # see `unaudited`
        options = doorkeeper_options(source)
        table = MysqlTableAudit(options) if isinstance(source, DoorkeeperMysql) else TableAudit(options)
        async for progress in _table(table, by_row, tally, now, rules):
            yield progress
    for finding in given_up(uses, now):
        tally.add(finding)


def unaudited(settings: Settings) -> dict[str, str]:
    """The sources that cannot be read through, by name, and what of their tokens is not known for it."""
    told = {}
    for source in settings.source:
        if isinstance(source, Introspection):
            told[source.name] = (
                "an introspection endpoint answers for one token at a time and lists none: when its tokens end, who owns them "
                "and which set-up their tenants use is not audited"
            )
        elif isinstance(source, Jwt):
            told[source.name] = (
                "signed tokens are listed nowhere: when they end is not audited; their clients fetch new ones as a rule"
            )
    return told


async def _table(
    table: TableAudit | MysqlTableAudit, by_row: Uses, tally: Tally, now: float, rules: Rules
) -> AsyncIterator[Progress]:
    read = nulls = 0
    try:
        async for batch in table.batches(now):
            read += batch.read
            nulls += batch.previous_null
            tally.rows += batch.read
            for row in batch.rows:
                tally.saw(row, by_row.get((row.source, row.token.row)), now, rules)
            yield Progress(table.name, read, table.estimate)
    except Trouble as trouble:
        raise AuditError(f"source {table.name} {trouble.why}: {trouble.detail}") from None
    flagged = schema_finding(table.name, table.flags, nulls)
    if flagged is not None:
        tally.add(flagged)


def _by_row(uses: list[TokenHistory]) -> Uses:
    """Of several tokens that one row held in turn, the last good one counts."""
    found: Uses = {}
    for use in sorted(uses, key=lambda use: use.last_good or 0.0):
        last = use.last_reading
        if last is not None and isinstance(last.state, Known):
            found[last.source, last.state.row] = use
    return found


def _file_rows(source: TokenFile) -> list[Row]:
    content = _content(source)
    newest: dict[tuple[str, str | None, str | None], float] = {}
    for token in content:
        if token.revoked_at is None:
            kin = (token.tenant, token.application, token.owner)
            newest[kin] = max(token.created_at, newest.get(kin, token.created_at))
    return [
        Row(source.name, token, newest.get((token.tenant, token.application, token.owner)), granted=False) for token in content
    ]


def _mark(digest: bytes) -> str:
    return hashlib.sha256(digest).hexdigest()[:16]


def _content(source: TokenFile) -> list[Known]:
    path: Path = source.path
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise AuditError(f"source {source.name}: {path}: {error.strerror}") from None
    if len(raw) > SIZE_LIMIT:
        raise AuditError(f"source {source.name}: {path} is larger than {SIZE_LIMIT >> 20} MiB")
    try:
        parsed = parse(raw, str(path), _mark, keyed=source.digest_key is not None)
    except TokenFileError as error:
        raise AuditError(f"source {source.name}: {error.faults[0]}") from None
    return list(parsed.tokens.values())
