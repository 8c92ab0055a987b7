"""Builds the token sources from settings."""

from __future__ import annotations

from collections.abc import Callable

from proxy.core.credential import Fingerprinter
from proxy.core.history import StateChange
from proxy.core.policy import Policy
from proxy.core.token import TokenSource
from proxy.settings import Settings
from proxy.settings.tokens import DoorkeeperPostgres, TokenFile
from proxy.sources.doorkeeper.options import Hashing, Options, Owner, TenantFrom
from proxy.sources.doorkeeper.postgres import doorkeeper_on_postgres
from proxy.sources.first_match import FirstMatch
from proxy.sources.fresh import Fresh, FreshOptions
from proxy.sources.token_file import TokenFile as TokenFileSource
from proxy.sources.token_file_format import TokenFileError
from proxy.tasks import Tasks
from proxy.wire.state import StartFault


def sources_of(
    settings: Settings, fingerprinter: Fingerprinter, tasks: Tasks, report: Callable[[tuple[str, ...]], None]
) -> list[TokenSource]:
    """Build every configured source, in order. `report` gets what a token file says of itself when it is reloaded."""
    built: list[TokenSource] = []
    for source in settings.source:
        if isinstance(source, TokenFile):
            built.append(_token_file(source, fingerprinter, report))
        else:
            built.append(doorkeeper_on_postgres(doorkeeper_options(source), fingerprinter, tasks))
    return built


def _token_file(source: TokenFile, fingerprinter: Fingerprinter, report: Callable[[tuple[str, ...]], None]) -> TokenSource:
    try:
        key = source.digest_key.get_secret_value().encode() if source.digest_key is not None else None
        return TokenFileSource(source.path, fingerprinter=fingerprinter, name=source.name, key=key, report=report)
    except TokenFileError as error:
        raise StartFault(f"source.path: {error}") from None


def doorkeeper_options(source: DoorkeeperPostgres) -> Options:
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
        owner=Owner(owner.table, owner.key, active, owner.tenant_column or "") if owner.table else None,
        tenant_from=TenantFrom(source.tenant_from),
        tenant_query=source.tenant_query or "",
        pgbouncer=not source.statement_cache,
        lookup_connections=source.pool_size,
        query_timeout=source.query_timeout,
        connect_timeout=source.connect_timeout,
        surroundings_timeout=source.surroundings_timeout,
    )


def composed(sources: list[TokenSource]) -> TokenSource:
    """One source of all: the first that knows a token speaks for it."""
    return sources[0] if len(sources) == 1 else FirstMatch(sources)


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
