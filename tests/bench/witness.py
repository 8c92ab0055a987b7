"""Our own contender: `scim-witness run` as anybody starts it, with every feature on.

Tokens in Doorkeeper's tables in PostgreSQL, the embedded store, evidence, exchange log to a file, metrics, heartbeats,
histories. Nothing is switched off and nothing but bounds that would end the measurement is changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import asyncpg

from proxy.demo.vendor import SCHEMA
from tests.bench import machine, mix
from tests.bench.backend import Child
from tests.bench.contender import Contender, Place, Running
from tests.servers import process
from tests.servers.postgres import PostgresServer

COMMAND: Final = str(pathlib.Path(sys.executable).with_name("scim-witness"))
NAME: Final = "scim-witness"
REFUSALS: Final = "scim-witness, refusals alone, each recorded"

_APPLICATIONS: Final = """
INSERT INTO oauth_applications (name, uid, secret, redirect_uri, scopes, created_at, updated_at)
    SELECT 'customer-' || n, 'uid-' || n, 'secret-' || n, 'urn:ietf:wg:oauth:2.0:oob', 'scim', now() AT TIME ZONE 'utc', now()
    FROM generate_series(0, $1::bigint - 1) AS n
"""
_ACCOUNTS: Final = """
INSERT INTO service_accounts (email, customer)
    SELECT 'scim@c' || n || '.example', 'customer-' || n FROM generate_series(0, $1::bigint - 1) AS n
"""
_TOKENS: Final = """
INSERT INTO oauth_access_tokens (resource_owner_id, application_id, token, expires_in, created_at, scopes, revoked_at)
    SELECT n % $2::bigint + 1, n % $2::bigint + 1, $3::text || lpad(n::text, 9, '0') || '_' || $4::text, 315360000,
           (now() AT TIME ZONE 'utc') - interval '1 day', 'scim',
           CASE WHEN $5::boolean THEN (now() AT TIME ZONE 'utc') - interval '1 hour' END
    FROM generate_series(0, $1::bigint - 1) AS n
"""


def code() -> str:
    """How the program that is measured runs: `compiled`, `plain`, or something in between (proxy/compiled)."""
    done = subprocess.run([COMMAND, "version", "--json"], capture_output=True, check=True, timeout=30)
    return str(json.loads(done.stdout)["code"])


async def fill(dsn: str, tokens: int, tenants: int) -> None:
    """A vendor's database with so many living tokens of so many tenants, and the revoked ones of the mix."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
    try:
        await connection.execute(SCHEMA)
        await connection.execute(_APPLICATIONS, tenants)
        await connection.execute(_ACCOUNTS, tenants)
        await connection.execute(_TOKENS, tokens, tenants, "g", mix.TAIL, False)
        await connection.execute(_TOKENS, mix.REVOKED, tenants, "r", mix.TAIL, True)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


class Witness:
    """Starts the program in front of a backend. `settings` are more lines of TOML by table."""

    def __init__(self, postgres: PostgresServer, customers: int, tenants: int | None = None) -> None:
        self._postgres = postgres
        self.database = ""
        self._customers = customers
        self._tenants = tenants or customers

    def prepare(self, cores: machine.Cores) -> None:
        """Create and fill the database. PostgreSQL works on the proxy's core, for it belongs to the whole stack."""

        async def go() -> str:
            name = await self._postgres.create_database("bench")
            await fill(self._postgres.dsn(name), self._customers, self._tenants)
            return name

        self.database = asyncio.run(go())
        machine.pin([self._postgres._process.pid], cores.proxy)

    def drop(self) -> None:
        """Remove the database."""
        asyncio.run(self._postgres.drop_database(self.database))

    def contenders(self) -> list[Contender]:
        """Ourselves with the mix, and ourselves with refusals alone, of which none may be folded into another."""
        evidence: dict[str, object] = {"fold_window": 0, "flood_threshold": 1_000_000_000}
        return [
            Contender(NAME, self.start),
            Contender(REFUSALS, lambda place: self.start(place, evidence=evidence), refusals=True),
        ]

    @contextlib.contextmanager
    def start(self, place: Place, **tables: dict[str, object]) -> Iterator[Running]:
        """Start it, wait until it answers, stop it in order."""
        place.folder.mkdir(parents=True, exist_ok=True)
        port, log = process.free_port(), place.folder / "exchanges.log"
        config = place.folder / "proxy.toml"
        config.write_text(self._toml(place, port, log, tables))
        command = [COMMAND, "run", "--config", str(config)]
        child = Child(command, place.cores.proxy, place.folder / "output.log")
        try:
            child.wait_for(port)
            store = [p.pid for p in machine.tree([child.pid]) if p.pid != child.pid]
            yield Running(port, [child.pid], [*store, self._postgres._process.pid], log)
        finally:
            child.stop()

    def _toml(self, place: Place, port: int, log: pathlib.Path, tables: dict[str, dict[str, object]]) -> str:
        chosen: dict[str, dict[str, object]] = {
            "listen": {"port": port},
            # The default of 100 protects a small backend; the peers have no such bound, and 512 clients would wait for it.
            "upstream": {"url": f"http://127.0.0.1:{place.backend}", "max_connections": 1_024},
            "source": {"kind": "doorkeeper_postgres", "dsn": self._postgres.dsn(self.database)},
            "source.owner": {"table": "service_accounts", "active_column": "active"},
            "ops": {"port": process.free_port()},
            "log": {"destination": str(log)},
        }
        for table, more in tables.items():
            chosen.setdefault(table, {}).update(more)
        lines = [f"state_dir = {json.dumps(str(place.folder / 'state'))}", f"base_path = {json.dumps(mix.BASE)}"]
        for table, keys in chosen.items():
            lines += ["", f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        return "\n".join(lines) + "\n"
