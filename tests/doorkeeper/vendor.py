"""The vendor with the real Doorkeeper: the Rails application in `app/` as a process, its console, its database."""

from __future__ import annotations

import pathlib
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import asyncpg

from tests.doorkeeper.asking import Address, Answer, ask, post
from tests.servers import process

APP: Final = pathlib.Path(__file__).parent / "app"
TEN_YEARS: Final = 10 * 365 * 24 * 3600
CALLBACK: Final = "http://127.0.0.1/callback"
RAKE_SECONDS: Final = 60.0

MODES: Final[Mapping[str, str]] = {"plain": "plain", "hashed": "sha256", "fallback": "sha256_fallback_plain"}
"""How the vendor keeps secrets (TOKEN_SECRETS) -> the proxy's `source.hashing` for it."""


def required() -> None:
    """Skip, or fail in CI, where Ruby or one of the gems is missing."""
    if shutil.which("ruby") is None or shutil.which("puma") is None:
        process.missing("NO RUBY: nothing was compared with the real Doorkeeper (ruby-doorkeeper ruby-rails ruby-pg puma)")
    asked = subprocess.run(
        ["ruby", "-e", 'require "rails"; require "doorkeeper"; require "pg"'], capture_output=True, check=False
    )
    if asked.returncode:
        process.missing("NO DOORKEEPER GEM: nothing was compared with the real one (ruby-doorkeeper ruby-rails ruby-pg)")


class Customer(NamedTuple):
    """A customer: an OAuth application and the service account that owns its tokens."""

    account: int
    application: int
    uid: str
    secret: str


class Issued(NamedTuple):
    """A token as it was handed out once."""

    id: int
    token: str
    refresh_token: str | None


class Vendor:
    """One running application. `dsn` is the superuser's; `options` are those of app/application.rb."""

    def __init__(self, dsn: str, directory: pathlib.Path, **options: str) -> None:
        self.dsn = dsn
        self.mode = options.get("TOKEN_SECRETS", "plain")
        self.address: Address = ("127.0.0.1", process.free_port())
        self._environment = {"DATABASE_URL": dsn, "RAILS_ENV": "production", **options}
        bind = f"tcp://{self.address[0]}:{self.address[1]}"
        self.process = process.ServerProcess(
            [*self._env(), _which("puma"), "--dir", APP, "-b", bind, "-t", "1:4", "-e", "production", "config.ru"],
            directory=directory,
            ready=lambda: process.accepts(socket.AF_INET, self.address),
        )

    def _env(self) -> list[str]:
        return [_which("env"), *(f"{name}={value}" for name, value in self._environment.items())]

    def rake(self, task: str) -> None:
        """Run a rake task as the vendor's cron job does."""
        command = [*self._env(), _which("rake"), "--rakefile", str(APP / "Rakefile"), task]
        subprocess.run(command, cwd=self.process.directory, check=True, capture_output=True, timeout=RAKE_SECONDS)

    async def sql(self, statement: str, *values: object) -> Any:
        """Run one statement in the vendor's database and return the first value."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    async def set(self, token: int, **columns: str) -> None:
        """Set columns of a token's row to SQL expressions."""
        assigned = ", ".join(f"{column} = {expression}" for column, expression in columns.items())
        await self.sql(f"UPDATE oauth_access_tokens SET {assigned} WHERE id = $1", token)

    # --- the console ---

    async def sign_up(self, name: str) -> Customer:
        return Customer(**await self._console("sign_up", name=name))

    async def issue(self, customer: Customer, *, refresh: bool = False, scopes: str = "scim", **more: object) -> Issued:
        """A static token, made in the console; it never expires unless `expires_in` is given."""
        given = {"application": customer.application, "account": customer.account, "scopes": scopes, **more}
        return Issued(**await self._console("issue", **given, **({"refresh": 1} if refresh else {})))

    async def regenerate(self, token: Issued) -> Issued:
        return Issued(**await self._console("regenerate", token=token.id))

    async def revoke_all(self, customer: Customer) -> int:
        given = await self._console("revoke_all", application=customer.application, account=customer.account)
        return int(given["revoked"])

    async def destroy(self, customer: Customer) -> None:
        await self._console("destroy", application=customer.application)

    async def _console(self, button: str, **form: object) -> dict[str, Any]:
        answer = await post(self.address, f"/console/{button}", **form)
        assert answer.status == 200, (button, answer)
        return dict(answer.json)

    # --- OAuth ---

    async def code(self, customer: Customer, *, clear: bool = False) -> str:
        """The customer's administrator authorizes; `clear`: this vendor revokes what was there before."""
        query = {"client_id": customer.uid, "redirect_uri": CALLBACK, "response_type": "code", "scope": "scim"}
        query |= {"account": str(customer.account)} | ({"clear": "1"} if clear else {})
        answer = await ask(self.address, "/oauth/authorize?" + urllib.parse.urlencode(query))
        assert answer.status == 302, answer
        return urllib.parse.parse_qs(urllib.parse.urlsplit(answer.fields["location"]).query)["code"][0]

    async def token_for(self, customer: Customer, **form: str) -> Answer:
        """POST /oauth/token in the client's name."""
        return await post(self.address, "/oauth/token", client_id=customer.uid, client_secret=customer.secret, **form)


def _which(program: str) -> str:
    found = shutil.which(program)
    assert found is not None, program
    return found
