"""One world per kind of source: the same two tokens in its own technology, and the ways to change what is behind it."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from proxy.core.token import TokenSource
from proxy.sources.doorkeeper.options import Hashing, Owner
from proxy.sources.endpoint import EndpointOptions
from proxy.sources.introspection.source import Caller, Introspection, IntrospectionOptions
from proxy.sources.jwt.facts import Rules
from proxy.sources.jwt.keys import KeysOptions
from proxy.sources.jwt.source import Jwt, JwtOptions
from proxy.sources.token_file import TokenFile
from proxy.tasks import Tasks
from tests.sources.conftest import FINGERPRINTER, tables_in
from tests.sources.doorkeeper_tables import digest
from tests.sources.issuer import CLIENT, PASSWORD, Issuer
from tests.sources.mysql_tables import MysqlTables

CREATED = dt.datetime(2026, 5, 3, 10, tzinfo=dt.UTC)
REVOKED = dt.datetime(2026, 6, 1, 10, tzinfo=dt.UTC)

Wire = Callable[[str], Awaitable[str]]
"""The URL under which a source reaches a server, of the server's own."""

EVERYTHING = frozenset({"revocation", "replacement", "owner state", "kin", "near"})


class World:
    """A source with the tokens `alive` and `other`. `tells` names what this technology can know at all."""

    def __init__(
        self,
        source: TokenSource,
        delete: Callable[[str], Awaitable[None]],
        revoke: Callable[[str], Awaitable[None]] | None = None,
        replace: Callable[[str, str], Awaitable[None]] | None = None,
        presented: Callable[[str], str] = str,
        tells: frozenset[str] = EVERYTHING,
        owner: str | None = "1",
        lifetime: int = 60,
    ) -> None:
        self.source = source
        self.delete = delete
        self._revoke = revoke
        self._replace = replace
        self.presented = presented
        self.tells = tells
        self.owner = owner
        self.lifetime = lifetime

    def needs(self, what: str) -> None:
        """Skip a test about what this technology cannot know."""
        if what not in self.tells:
            pytest.skip(f"this kind of source knows of no {what}")

    async def revoke(self, token: str) -> None:
        self.needs("revocation")
        assert self._revoke is not None
        await self._revoke(token)

    async def replace(self, token: str, by: str) -> None:
        self.needs("replacement")
        assert self._replace is not None
        await self._replace(token, by)


async def instantly(_: float) -> None:
    """No pause."""


class FileWorld:
    def __init__(self, path: Path) -> None:
        self.path = path
        common = {"tenant": "acme", "created_at": CREATED.isoformat(), "application": "okta"}
        owner = {"id": "1", "active": True}
        self.entries: dict[str, dict[str, Any]] = {
            "alive": {"scopes": ["scim", "Other"], "expires_in": 60, "owner": owner} | common,
            "other": {"scopes": ["scim"], "owner": owner} | common | {"created_at": REVOKED.isoformat()},
        }
        for name, entry in self.entries.items():
            entry |= {"name": name, "digest": digest(name)}
        self.write()
        self.faults: list[tuple[str, ...]] = []
        self.source = TokenFile(path, fingerprinter=FINGERPRINTER, report=self.faults.append, sleep=instantly)

    def write(self) -> None:
        self.path.write_text(json.dumps({"token": list(self.entries.values())}))

    async def changed(self) -> None:
        self.write()
        await self.source.poll()

    async def revoke(self, token: str) -> None:
        self.entries[token]["revoked_at"] = REVOKED.isoformat()
        await self.changed()

    async def delete(self, token: str) -> None:
        del self.entries[token]
        await self.changed()

    async def replace(self, token: str, by: str) -> None:
        self.entries[token]["digest"] = digest(by)
        await self.changed()


async def doorkeeper_world(tables: Any, opened: Callable[..., Any], hashing: Hashing, wire: Wire, **options: object) -> World:
    stored = digest if hashing is Hashing.SHA256 else str
    application, owner = await tables.application("acme"), await tables.owner()
    common = {"application_id": application, "resource_owner_id": owner}
    naive = CREATED.replace(tzinfo=None)
    await tables.token(stored("alive"), scopes="scim Other", expires_in=60, **(common | {"created_at": naive}))
    await tables.token(stored("other"), scopes="scim", **(common | {"created_at": REVOKED.replace(tzinfo=None)}))
    change = "UPDATE oauth_access_tokens SET "

    async def revoke(token: str) -> None:
        await tables.execute(change + "revoked_at = $2 WHERE token = $1", stored(token), REVOKED.replace(tzinfo=None))

    async def delete(token: str) -> None:
        await tables.execute("DELETE FROM oauth_access_tokens WHERE token = $1", stored(token))

    async def replace(token: str, by: str) -> None:
        await tables.execute(change + "token = $2 WHERE token = $1", stored(token), stored(by))

    source = opened(await wire(tables.dsn), hashing=hashing, owner=Owner("users", active="active"), **options)
    return World(source, delete, revoke, replace)


async def introspection_world(issuer: Issuer, wire: Wire, timeout: float = 5.0) -> World:
    """RFC 7662 knows no row: it can only stop to show a token."""
    common = {"active": True, "client_id": "acme", "sub": "1"}
    issuer.tokens["alive"] = common | {"scope": "scim Other", "iat": _at(CREATED), "exp": _at(CREATED) + 60}
    issuer.tokens["other"] = common | {"scope": "scim", "iat": _at(REVOKED)}

    async def delete(token: str) -> None:
        issuer.tokens[token] = {"active": False}

    options = IntrospectionOptions(
        EndpointOptions(await wire(f"{issuer.url}/introspect"), timeout=timeout), Caller(CLIENT, PASSWORD), recheck_every=0
    )
    source = Introspection(options, FINGERPRINTER)
    return World(source, delete, tells=frozenset({"near"}))


async def jwt_world(issuer: Issuer, tasks: Tasks, wire: Wire, timeout: float = 5.0) -> World:
    """A signed token ends by the withdrawal of its key, which each of these has of its own."""
    keys = {name: RSAKey.generate_key(2_048, {"kid": name}) for name in ("alive", "other", "stranger")}
    issuer.keys = [keys[name].as_dict(private=False) for name in ("alive", "other")]
    common = {"iss": "https://issuer", "aud": "scim", "org": "acme", "sub": "1"}
    claims = {
        "alive": common | {"scope": "scim Other", "iat": _at(CREATED), "exp": _at(CREATED) + 60},
        "other": common | {"scope": "scim", "iat": _at(REVOKED), "exp": _at(REVOKED) + 315_360_000},
    }
    claims["stranger"] = claims["other"]
    signed = {n: jwt.encode({"alg": "RS256", "kid": n}, claims[n], keys[n], algorithms=["RS256"]) for n in keys}
    rules = Rules(("https://issuer",), frozenset({"scim"}), "org", leeway=0)
    at = EndpointOptions(await wire(f"{issuer.url}/keys"), timeout=timeout)
    source = Jwt(JwtOptions(KeysOptions(at), rules, frozenset({"RS256"})), FINGERPRINTER, tasks)

    async def delete(token: str) -> None:
        issuer.keys = [key for key in issuer.keys if key["kid"] != token]
        await source.keys.fetch()

    return World(source, delete, presented=lambda token: signed.get(token, token), tells=frozenset({"near"}))


def _at(time: dt.datetime) -> int:
    return int(time.timestamp())


@contextlib.asynccontextmanager
async def postgres_tables(server: Any) -> AsyncIterator[Any]:
    """Doorkeeper's tables in a fresh database of PostgreSQL."""
    name = await server.create_database()
    async with tables_in(server.dsn(name, tcp=True)) as tables:
        yield tables
    await server.drop_database(name)


@contextlib.asynccontextmanager
async def mariadb_tables(server: Any) -> AsyncIterator[Any]:
    """Doorkeeper's tables in a fresh database of MariaDB."""
    name = await server.create_database()
    tables = await MysqlTables.create(server.dsn(name))
    yield tables
    tables.close()
    await server.drop_database(name)
