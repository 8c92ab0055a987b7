"""Builds the token sources from settings.

A source's driver is imported where that source is built: a process keeps in memory only what its configuration needs
(joserfc with cryptography is 9 MiB, asyncpg 3, aiomysql 1).
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from proxy.core.credential import Fingerprinter
from proxy.core.history import StateChange
from proxy.core.policy import Policy
from proxy.core.token import Reading, TokenSource
from proxy.settings import Settings
from proxy.settings.issuers import Introspection, Jwt
from proxy.settings.tokens import Doorkeeper, DoorkeeperMysql, DoorkeeperPostgres, Source, TokenFile
from proxy.sources.cross_check import CrossCheck
from proxy.sources.doorkeeper.options import Hashing, Options, Owner, TenantFrom
from proxy.sources.first_match import FirstMatch
from proxy.sources.fresh import Fresh, FreshOptions
from proxy.sources.token_file import TokenFile as TokenFileSource
from proxy.sources.token_file_format import TokenFileError
from proxy.tasks import Tasks
from proxy.wire.state import StartFault

_log = structlog.get_logger("sources")


def sources_of(
    settings: Settings, fingerprinter: Fingerprinter, tasks: Tasks, report: Callable[[tuple[str, ...]], None]
) -> list[TokenSource]:
    """Build every configured source, in order. `report` gets what a token file says of itself when it is reloaded."""
    return [_source_of(source, fingerprinter, tasks, report) for source in settings.source]


def _source_of(
    source: Source, fingerprinter: Fingerprinter, tasks: Tasks, report: Callable[[tuple[str, ...]], None]
) -> TokenSource:
    match source:
        case TokenFile():
            return _token_file(source, fingerprinter, report)
        case DoorkeeperPostgres():
            from proxy.sources.doorkeeper.postgres import doorkeeper_on_postgres  # noqa: PLC0415 - asyncpg, see above

            return doorkeeper_on_postgres(doorkeeper_options(source), fingerprinter, tasks)
        case DoorkeeperMysql():
            from proxy.sources.doorkeeper.mysql import doorkeeper_on_mysql  # noqa: PLC0415 - aiomysql, see above

            return doorkeeper_on_mysql(doorkeeper_options(source), fingerprinter, tasks)
        case Introspection():
            from proxy.wire.introspection import introspection  # noqa: PLC0415 - aiohttp's client, see above

            return introspection(source, fingerprinter)
        case Jwt():
            from proxy.wire.jwt import jwt  # noqa: PLC0415 - joserfc with cryptography, see above

            return jwt(source, fingerprinter, tasks)


def _token_file(source: TokenFile, fingerprinter: Fingerprinter, report: Callable[[tuple[str, ...]], None]) -> TokenSource:
    try:
        key = source.digest_key.get_secret_value().encode() if source.digest_key is not None else None
        return TokenFileSource(source.path, fingerprinter=fingerprinter, name=source.name, key=key, report=report)
    except TokenFileError as error:
        raise StartFault(f"source.path: {error}") from None


def doorkeeper_options(source: Doorkeeper) -> Options:
    """What the settings say of the tables."""
    owner = source.owner
    active = owner.active_expression or owner.active_column or ""
    return Options(
        primary=source.dsn.get_secret_value(),  # type: ignore[union-attr]
        replica=source.replica_dsn.get_secret_value() if source.replica_dsn else None,
        name=source.name,
        schema=source.schema_ or "",
        tokens=source.tokens_table,
        applications=source.applications_table,
        grants=source.grants_table,
        hashing=Hashing(source.hashing),
        owner=Owner(owner.table, owner.key, active, owner.tenant_column or "", owner.type or "") if owner.table else None,
        tenant_from=TenantFrom(source.tenant_from),
        tenant_query=source.tenant_query or "",
        pgbouncer=isinstance(source, DoorkeeperPostgres) and not source.statement_cache,
        lookup_connections=source.pool_size,
        query_timeout=source.query_timeout,
        connect_timeout=source.connect_timeout,
        surroundings_timeout=source.surroundings_timeout,
    )


def composed(sources: list[TokenSource], settings: Settings, tasks: Tasks) -> TokenSource:
    """One source of all: the first that knows a token speaks for it. An endpoint that checks a table stands with it."""
    return one_of(in_place(sources, settings, tasks))


def one_of(placed: list[TokenSource]) -> TokenSource:
    """One source of those that stand in an order."""
    return placed[0] if len(placed) == 1 else FirstMatch(placed)


def in_place(sources: list[TokenSource], settings: Settings, tasks: Tasks) -> list[TokenSource]:
    """The sources in their order; an endpoint that checks a table stands with it."""
    by_name = {source.name: source for source in sources}
    checks = {s.cross_check: by_name[s.name] for s in settings.source if isinstance(s, Introspection) and s.cross_check}
    beside = {source.name for source in checks.values()}
    placed: list[TokenSource] = [
        CrossCheck(source, checks[source.name], tasks, _disagree) if source.name in checks else source
        for source in sources
        if source.name not in beside
    ]
    return placed


def _disagree(fingerprint: str, by_table: Reading, by_other: Reading) -> None:
    """Say it once per token; with a refusal it goes into the incident as well."""
    _log.warning(
        "sources_disagree",
        token=fingerprint,
        table=by_table.source,
        table_says=type(by_table.state).__name__.lower(),
        other=by_other.source,
        other_says=type(by_other.state).__name__.lower(),
    )


def fresh_of(settings: Settings, source: TokenSource, tasks: Tasks, on_change: Callable[[str, StateChange], None]) -> Fresh:
    """Put memory in front of a source."""
    f = settings.fresh
    options = FreshOptions(
        known_limit=f.tokens_limit,
        negative_limit=f.negative_limit,
        negative_ttl=f.negative_ttl,
        active_window=f.active_window,
        refresh_every=f.refresh_every,
        second_looks=f.second_looks_per_second,
        second_looks_burst=2 * f.second_looks_per_second,
    )
    return Fresh(source, tasks, options, on_change=on_change)


def policy_of(settings: Settings) -> Policy:
    """The rules beyond Doorkeeper's own."""
    p = settings.policy
    return Policy(
        mode=p.mode,
        tenant_modes={name: tenant.mode for name, tenant in settings.tenants.items() if tenant.mode is not None},
        read_scopes=frozenset(p.read_scopes),
        write_scopes=frozenset(p.write_scopes),
        read_only_tenants=frozenset(p.read_only_tenants),
        refuse_inactive_owner=p.refuse_inactive_owner,
        fresh_for=settings.fresh.fresh_for,
        stale_grace=settings.fresh.stale_grace,
        on_disagreement=p.on_disagreement,
    )
