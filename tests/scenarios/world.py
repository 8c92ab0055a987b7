"""One world for one scenario: Doorkeeper's tables in PostgreSQL, the wired proxy, a scripted backend, clients that send what
Okta and Entra send. A scenario sets the world and plays it; what the product says of it is asked as a person would ask."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import pathlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import aiohttp
import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from proxy.cli import app as command_line
from proxy.core.credential import Fingerprinter
from proxy.settings import load
from proxy.wire import Program
from tests.servers.postgres import PostgresServer
from tests.sources.doorkeeper_tables import MODERN, Tables

OKTA: Final = "Okta SCIM Client 1.0.0"
ENTRA: Final = "azure-scim/1.0"
LIST: Final = "/scim/v2/Users?startIndex=1&count=2"
PATIENCE: Final = 60.0
"""Seconds within which whatever is waited for has happened on any machine."""
LOOKS: Final = (0.2, 0.4, 0.7)
"""Seconds of the re-reads after an incident: short ones, so that a scenario need not wait a minute for the last."""

Answer = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]

CONFIG: Final = """\
state_dir = "{directory}/state"
{top}
[listen]
port = 0
drain_seconds = 1
trusted_proxies = ["127.0.0.1"]
[upstream]
url = "{upstream}"
[store]
url = "{store}"
[ops]
port = 0
[log]
destination = "{directory}/proxy.log"
[evidence]
reread_after = [0.2, 0.4, 0.7]
[fresh]
refresh_every = 0.2
fresh_for = 0.5
negative_ttl = 0.2
{source}
{more}
"""
SOURCE: Final = """\
[source]
kind = "doorkeeper_postgres"
dsn = "{dsn}"
surroundings_timeout = 5
query_timeout = 5
{more}
[source.owner]
table = "users"
active_column = "active"
"""


class Backend:
    """Answers as the scenario says; `seen` are the paths that reached it."""

    def __init__(self) -> None:
        self.script: Answer = served
        self.seen: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.seen.append(request.path)
        said = self.script(request)
        return await said if inspect.isawaitable(said) else said

    def app(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.answer)
        return application


def served(_: web.Request) -> web.StreamResponse:
    return web.json_response({"totalResults": 0, "Resources": []})


def refused(status: int = 401, challenge: str = 'Bearer realm="Doorkeeper", error="invalid_token"', **more: Any) -> Answer:
    return lambda _: web.json_response(
        more.get("body", {"detail": "no"}), status=status, headers={"WWW-Authenticate": challenge} if challenge else {}
    )


class World:
    """See the module. `db` is the vendor's database, seen by the vendor."""

    def __init__(self, directory: pathlib.Path, postgres: PostgresServer, store: str) -> None:
        self.directory = directory
        self.postgres = postgres
        self.store = store
        self.backend = Backend()
        self.upstream = ""
        self.name = ""
        self.db: Tables = None  # type: ignore[assignment]
        self.program: Program | None = None
        self._stack = contextlib.AsyncExitStack()
        self.session: aiohttp.ClientSession = None  # type: ignore[assignment]
        self._secrets: dict[str, tuple[Any, Any]] = {}

    @property
    def config(self) -> pathlib.Path:
        return self.directory / "proxy.toml"

    async def build(
        self, *, schema: str = MODERN, source: str | None = None, source_more: str = "", more: str = "", top: str = ""
    ) -> World:
        """Make the database and start the proxy. `source` replaces the whole section."""
        self.name, self.db = await self.database(schema)
        if not self.upstream:
            server = TestServer(self.backend.app())
            await server.start_server()
            self._stack.push_async_callback(server.close)
            self.upstream = f"http://127.0.0.1:{server.port}"
        section = (
            SOURCE.format(dsn=self.db.dsn, more=source_more) if source is None else source.replace("@production@", self.db.dsn)
        )
        self.config.write_text(
            CONFIG.format(
                directory=self.directory, upstream=self.upstream, store=self.store, source=section, more=more, top=top
            )
        )
        await self.start()
        return self

    async def database(self, schema: str = MODERN) -> tuple[str, Tables]:
        """One more database with Doorkeeper's tables."""
        name = await self.postgres.create_database("scene")
        connection: asyncpg.Connection[Any] = await self.postgres.connect(name)
        self._stack.push_async_callback(self.postgres.drop_database, name)
        self._stack.push_async_callback(connection.close)
        await connection.execute(schema)
        return name, Tables(self.postgres.dsn(name, tcp=True), connection)

    async def start(self) -> None:
        self.program = Program(load(self.config, {}))
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        await self.program.start()

    async def stop(self) -> None:
        if self.program is not None:
            await self.session.close()  # first, for a drain leaves idle connections half a second
            await self.program.stop()
            self.program = None

    def also_close(self, close: Callable[[], Awaitable[Any]]) -> None:
        """Have something of the scenario closed at its end."""
        self._stack.push_async_callback(close)

    async def close(self) -> None:
        await self.stop()
        await self._stack.aclose()

    # --- the vendor ---------------------------------------------------------------------------------------------------

    async def customer(self, name: str = "acme", **columns: object) -> str:
        """A customer with an application, an owner and a token, which is returned."""
        application = await self.db.application(name)
        owner = await self.db.owner(account=name)
        return await self.issue(application, owner, **columns)

    async def issue(self, application: Any, owner: Any, **columns: object) -> str:
        token = str(columns.pop("token", secrets.token_urlsafe(32)))
        defaults = {"created_at": "=(now() AT TIME ZONE 'utc') - interval '14 days'", "scopes": "scim"}
        await self.db.token(token, application_id=application, resource_owner_id=owner, **defaults | columns)
        self._secrets[token] = (application, owner)
        return token

    def party(self, token: str) -> tuple[Any, Any]:
        """Application and owner of a token."""
        return self._secrets[token]

    async def revoke(self, token: str, when: str = "clock_timestamp()") -> None:
        await self.db.execute(
            f"UPDATE oauth_access_tokens SET revoked_at = ({when} AT TIME ZONE 'utc') WHERE token = $1", token
        )

    async def regenerate(self, token: str) -> str:
        """Press "Regenerate token": revoke the old row and insert a new one in one transaction."""
        new = secrets.token_urlsafe(32)
        async with self.db.connection.transaction():
            await self.revoke(token)
            application, owner = self.party(token)
            await self.issue(application, owner, token=new, created_at="=clock_timestamp() AT TIME ZONE 'utc'")
        return new

    async def delete(self, token: str) -> None:
        await self.db.execute("DELETE FROM oauth_access_tokens WHERE token = $1", token)

    # --- the client ---------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        assert self.program is not None
        host, port = self.program.data_address
        return f"http://{host}:{port}"

    async def call(
        self,
        token: str | None = None,
        *,
        method: str = "GET",
        path: str = LIST,
        agent: str = OKTA,
        address: str = "192.0.2.7",
        authorization: str | None = None,
        json_body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """One request as a client sends it; returns the status and the incident's id, if one is named."""
        sent = {"User-Agent": agent, "X-Forwarded-For": address, "Accept": "application/scim+json", **(headers or {})}
        if authorization is None and token is not None:
            authorization = f"Bearer {token}"
        if authorization is not None:
            sent["Authorization"] = authorization
        async with self.session.request(method, self.url + path, headers=sent, json=json_body) as answer:
            await answer.read()
            return answer.status, answer.headers.get("X-Incident-Id", "")

    async def works(self, token: str, times: int = 1, **how: Any) -> None:
        for _ in range(times):
            status, _ = await self.call(token, **how)
            assert 200 <= status < 300, status

    async def fails(self, token: str | None = None, **how: Any) -> str:
        """A request that is refused; returns its incident."""
        status, incident = await self.call(token, **how)
        assert status in (401, 403), status
        assert incident
        return incident

    async def until_failing(self, token: str, because: str = "", **how: Any) -> str:
        """Send until it is refused, for that reason if one is named; returns the incident."""
        found = ""

        async def refused_now() -> bool:
            nonlocal found
            status, found = await self.call(token, **how)
            if status not in (401, 403) or not because:
                return status in (401, 403)
            shown = await self.command("incidents", "show", found)
            return shown is not None and shown["incident"]["reason"] == because

        await until(refused_now)
        return found

    async def unanswered(self) -> None:
        """Wait until the proxy knows that its source does not answer."""

        async def noticed() -> bool:
            return (await self.call(secrets.token_urlsafe(32)))[0] == 503

        await until(noticed)

    def fingerprint(self, token: str) -> str:
        """The name under which this proxy writes a token down."""
        key = (self.directory / "state" / "fingerprint.key").read_bytes()
        return Fingerprinter(key.strip()).of(token.encode())

    # --- the person who asks --------------------------------------------------------------------------------------

    async def command(self, *arguments: str) -> Any:
        """Run a command of the program as one would; returns its JSON, None when it failed."""
        done = await asyncio.to_thread(CliRunner().invoke, command_line, [*arguments, "--json", "--config", str(self.config)])
        return json.loads(done.stdout) if done.exit_code == 0 else None

    async def shown(self, incident: str, *also: str) -> dict[str, Any]:
        """`incidents show --json` once everything has been learned that is going to be: surroundings and last re-read, and
        the notes of the names in `also`."""
        last: dict[str, Any] = {}

        async def complete() -> bool:
            nonlocal last
            last = await self.command("incidents", "show", incident) or {}
            if not last:
                return False
            names = {note["name"] for note in last["notes"]}
            if not last["incident"].get("credential_length"):
                return True
            wanted = {"surroundings"} | ({f"reread+{LOOKS[-1]:g}s"} if "reading" in last["incident"] else set())
            return wanted | set(also) <= names

        await until(complete)
        return last


async def until(true: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await true():
        assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {true}"
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def world(directory: pathlib.Path, postgres: PostgresServer, store: str) -> AsyncIterator[World]:
    made = World(directory, postgres, store)
    try:
        yield made
    finally:
        await made.close()
