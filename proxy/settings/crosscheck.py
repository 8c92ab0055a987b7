"""Rules between keys. Each is a line or a small function; every finding names the keys that it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.core.policy import OnDisagreement
from proxy.settings.issuers import Introspection, Jwt
from proxy.settings.section import is_loopback
from proxy.settings.server import UpstreamTls
from proxy.settings.shape import Settings
from proxy.settings.tokens import Doorkeeper, DoorkeeperPostgres, Owner, Source, TokenFile, unverified
from proxy.settings.toml_lines import Path

_ANY_ADDRESS = ("0.0.0.0", "::", "[::]")  # noqa: S104 - names it in order to recognise it


class Finding(NamedTuple):
    """Keys that do not go together; the first one that was written down is where it is reported."""

    keys: tuple[Path, ...]
    message: str
    fix: str


def faults_between(settings: Settings) -> Iterator[Finding]:
    """Yield what makes the settings unusable although each key by itself is right."""
    yield from _addresses(settings)
    yield from _times(settings)
    yield from _tls(settings)
    yield from _sources(settings)
    yield from _evidence(settings)
    yield from _oauth(settings)
    yield from _fronts(settings)


def warnings_about(settings: Settings) -> Iterator[Finding]:
    """Yield what is allowed but unwise."""
    upstream, policy = settings.upstream, settings.policy
    if upstream.head_timeout >= 60:
        yield Finding(
            (("upstream", "head_timeout"),),
            "is 60 s or more: Okta and Entra give up at 60 s, before our 504",
            "Set it below 60",
        )
    if not upstream.tls.verify:
        yield Finding(
            (("upstream", "tls", "verify"),), "is off: whoever is on the way to the backend can read the tokens", "Set ca_file"
        )
    if policy.allow_query_token:
        yield Finding(
            (("policy", "allow_query_token"),),
            "lets tokens into URLs, which others log",
            "Switch it off when no client needs it",
        )
    yield from _clear_text(settings)
    if policy.on_disagreement is OnDisagreement.RETRY_ONCE and policy.retry_body_limit == 0:
        yield Finding(
            (("policy", "retry_body_limit"),), "is 0: requests with a body will not be retried", "Set it to 64 KiB or so"
        )


def _clear_text(settings: Settings) -> Iterator[Finding]:
    for number, source in enumerate(settings.source):
        for key in ("url", "jwks_url"):
            url = urlsplit(getattr(source, key, ""))
            if url.scheme == "http" and not is_loopback(url.hostname or ""):
                what = "tokens can be read" if key == "url" else "keys can be exchanged"
                yield Finding((("source", number, key),), f"is http: {what} on the way there", "Write https")
        for key in ("dsn", "replica_dsn"):
            if isinstance(source, DoorkeeperPostgres) and unverified(getattr(source, key)):
                yield Finding(
                    (("source", number, key), ("source", number, f"{key}_file")),
                    "names an sslrootcert, but without sslmode nothing is checked by it",
                    "Add sslmode=verify-full",
                )


def _addresses(settings: Settings) -> Iterator[Finding]:
    listen, ops = settings.listen, settings.ops
    if listen.port == ops.port != 0 and _same_host(listen.host, ops.host):
        yield Finding((("ops", "port"), ("listen", "port")), "is the port of the other listener", "Choose another one")
    parts = urlsplit(settings.upstream.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for section, listener in (("listen", listen), ("ops", ops)):
        if port == listener.port and _same_host(parts.hostname or "", listener.host):
            yield Finding(
                (("upstream", "url"), (section, "port")),
                f"is our own listener ({section}): requests would go round for ever",
                "Set it to the address of the SCIM backend",
            )
    if not is_loopback(ops.host) and ops.token is None and ops.tls.client_ca_file is None:
        yield Finding(
            (("ops", "host"), ("ops", "token")),
            "opens the ops listener to the network without a token or clients' certificates",
            "Set ops.token_file, or ops.tls.client_ca_file",
        )


def _same_host(one: str, other: str) -> bool:
    if one == other or (is_loopback(one) and is_loopback(other)):
        return True
    return any(a in _ANY_ADDRESS and (b in _ANY_ADDRESS or is_loopback(b)) for a, b in ((one, other), (other, one)))


def _times(settings: Settings) -> Iterator[Finding]:
    fresh = settings.fresh
    if fresh.fresh_for < fresh.refresh_every:
        yield Finding(
            (("fresh", "fresh_for"), ("fresh", "refresh_every")),
            "fresh_for is shorter than refresh_every: every reading would be stale before the next",
            "Set fresh_for to twice refresh_every",
        )
    if fresh.active_window < fresh.refresh_every:
        yield Finding(
            (("fresh", "active_window"), ("fresh", "refresh_every")),
            "active_window is shorter than refresh_every: no token would ever be read again",
            "Set active_window to minutes",
        )


def _tls(settings: Settings) -> Iterator[Finding]:
    tls = settings.upstream.tls
    pairs = ((("upstream", "tls"), tls), (("ops", "tls"), settings.ops.tls), (("listen", "tls"), settings.listen.tls))
    for path, pair in pairs:
        if (pair.cert_file is None) != (pair.key_file is None):
            given, lacking = ("cert_file", "key_file") if pair.key_file is None else ("key_file", "cert_file")
            yield Finding(((*path, given),), f"is given without {lacking}", f"Set {lacking} too")
    own = settings.ops.tls
    if own.client_ca_file is not None and own.cert_file is None and own.key_file is None:
        yield Finding((("ops", "tls", "client_ca_file"),), "is given without cert_file", "Set cert_file and key_file too")
    if own.client_ca_file is None:
        for key, value in (("client_names", own.client_names), ("open_probes", own.open_probes)):
            if value:
                yield Finding(
                    (("ops", "tls", key),), "says nothing without client_ca_file", f"Set client_ca_file, or remove {key}"
                )
    if settings.upstream.url.startswith("http://") and tls != UpstreamTls():
        yield Finding((("upstream", "tls"),), "is given, but upstream.url is http", "Write https in upstream.url, or remove it")


def _fronts(settings: Settings) -> Iterator[Finding]:
    if settings.listen.trusted_proxies:
        return
    keys: list[Path] = []
    if settings.listen.proxy_protocol:
        keys.append(("listen", "proxy_protocol"))
    if settings.forward_auth.front != "off":
        keys.append(("forward_auth", "front"))
    for key in keys:
        yield Finding(
            (key,),
            "is on, but nobody is trusted to tell who the client is",
            "Set listen.trusted_proxies to the front's address",
        )


def _sources(settings: Settings) -> Iterator[Finding]:
    names = [source.name for source in settings.source]
    for number, source in enumerate(settings.source):
        path: Path = ("source", number)
        if source.name in names[:number]:
            yield Finding(((*path, "name"),), "is the name of another source as well", "Give each source its own name")
        if isinstance(source, Doorkeeper):
            yield from _doorkeeper(source, path)
        elif isinstance(source, Introspection):
            yield from _introspection(source, path, settings)
        elif isinstance(source, Jwt) and not source.tenants and any("{tenant}" in issuer for issuer in source.issuer):
            yield Finding(
                ((*path, "tenants"), (*path, "issuer"), path),
                "is empty, and the issuer signs tokens of anybody's tenants",
                'Name those that are let in: tenants = { "id at the issuer" = "name here" }',
            )
    if settings.policy.refuse_inactive_owner and not any(_tells_owners(source) for source in settings.source):
        yield Finding(
            (("policy", "refuse_inactive_owner"), ("source",)), "needs a source that reads owners", "Set source.owner.table"
        )


def _tells_owners(source: Source) -> bool:
    """Whether owners are read from it. The entries of a token file name theirs themselves."""
    return isinstance(source, TokenFile) or (isinstance(source, Doorkeeper) and source.owner.table is not None)


def _introspection(source: Introspection, path: Path, settings: Settings) -> Iterator[Finding]:
    if source.bearer is None and (not source.client_id or source.client_secret is None):
        yield Finding(
            ((*path, "client_id"), (*path, "client_secret"), path),
            "has nobody to ask as: RFC 7662 section 2.1 wants client credentials or a bearer",
            "Set client_id and client_secret_file, or bearer_file",
        )
    elif source.bearer is not None and (source.client_id is not None or source.client_secret is not None):
        yield Finding(((*path, "bearer"), (*path, "client_id")), "is given besides a client", "Keep one of the two")
    tables = [other.name for other in settings.source if not isinstance(other, Introspection)]
    if source.cross_check is not None and source.cross_check not in tables:
        yield Finding(((*path, "cross_check"),), "names no other source", "Set it to the name of the one that holds the table")
    beside = [o.cross_check for o in settings.source if isinstance(o, Introspection) and o.cross_check is not None]
    if source.cross_check is not None and beside.count(source.cross_check) > 1:
        yield Finding(((*path, "cross_check"),), "names a source that another one checks already", "One for each table")


def _doorkeeper(source: Doorkeeper, path: Path) -> Iterator[Finding]:
    owner, by = source.owner, (*path, "tenant_from")
    if source.dsn is None:
        replica_only = source.replica_dsn is not None
        yield Finding(
            ((*path, "dsn"), (*path, "dsn_file"), *(((*path, "replica_dsn"),) if replica_only else ()), path),
            "has a replica but no primary: refusals must rest on the primary" if replica_only else "dsn is required",
            "Set dsn or dsn_file to the primary's URL",
        )
    if owner.table is None and owner != Owner():
        yield Finding(((*path, "owner", "table"), (*path, "owner")), "owner has no table", "Set owner.table, such as users")
    if owner.active_column is not None and owner.active_expression is not None:
        yield Finding(((*path, "owner", "active_expression"),), "is given besides active_column", "Keep one of the two")
    if source.tenant_from == "owner" and owner.table is None:
        yield Finding((by,), "is owner, but owners are not read", "Set owner.table and owner.tenant_column")
    if source.tenant_query is not None and "$1" not in source.tenant_query:
        yield Finding(((*path, "tenant_query"),), "does not use $1", "Write $1 where the id of the token's row belongs")
    if (source.tenant_from == "query") != (source.tenant_query is not None):
        yield Finding(
            ((*path, "tenant_query"), by), 'tenant_query and tenant_from = "query" belong together', "Set both or neither"
        )


def _oauth(settings: Settings) -> Iterator[Finding]:
    o, base = settings.oauth, settings.base_path
    paths = {"token": o.token, "authorize": o.authorize, "revoke": o.revoke, "introspect": o.introspect}
    for number, (key, path) in enumerate(paths.items()):
        if path in list(paths.values())[:number]:
            yield Finding((("oauth", key),), "is the path of another endpoint as well", "Give each endpoint its own path")
        if base and (path == base or path.startswith(f"{base}/")):
            yield Finding(
                (("oauth", key), ("base_path",)), "lies below base_path, where every request needs a token", "Move it out"
            )


def _evidence(settings: Settings) -> Iterator[Finding]:
    spool, store = settings.spool, settings.store
    if spool.segment_bytes * 2 * settings.workers > spool.total_bytes:
        shared = ", of which each worker has its share" if settings.workers > 1 else ""
        yield Finding(
            (("spool", "segment_bytes"), ("spool", "total_bytes"), ("workers",)),
            f"segment_bytes is more than half of total_bytes{shared}: only whole segments are freed",
            "Set total_bytes to many times segment_bytes",
        )
    if store.url is None:
        for key in ("username", "password", "ca_file"):
            if getattr(store, key) is not None:
                yield Finding(
                    (("store", key), ("store", f"{key}_file")), "is given without store.url", "Set store.url, or remove it"
                )
    elif store.embedded_binary is not None:
        yield Finding((("store", "embedded_binary"),), "is given besides store.url", "Keep one of the two")
