"""A vendor with both set-ups behind one address: Doorkeeper's token endpoint as it works on its tables, and SCIM beside it."""

from __future__ import annotations

import asyncio
import secrets
import urllib.parse
from typing import Any, Final

from aiohttp import web

from tests.scenarios.world import OKTA, World

SWITCHED_ON: Final = "[oauth]\nenabled = true\n"
CALLBACK: Final = "https://okta.example/callback"


class Vendor:
    """Answers for the backend of a world. `lifetime` and `refreshing` are what it issues; `refuse` makes the token endpoint
    answer with that error; `clear` revokes what an application and owner had when a code is exchanged."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lifetime: int | None = 7200
        self.refreshing = True
        self.refuse = ""
        self.clear = False
        self.headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
        self.codes: dict[str, tuple[Any, Any]] = {}
        world.backend.script = self.answer

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/oauth/token":
            return await self._token(await request.post())
        if request.path == "/oauth/authorize":
            return web.Response(status=302, headers={"Location": f"{CALLBACK}?code={request.query['code']}"})
        if request.path == "/oauth/revoke":
            form = await request.post()
            await self.world.revoke(str(form["token"]))
            return web.json_response({})
        return await self._scim(request)

    async def _token(self, form: Any) -> web.Response:
        await asyncio.sleep(0)
        if self.refuse:
            status = 401 if self.refuse == "invalid_client" else 400
            return web.json_response({"error": self.refuse}, status=status, headers=self.headers)
        if form.get("grant_type") == "authorization_code" and form.get("code") in self.codes:
            application, owner = self.codes.pop(str(form["code"]))
            return await self._issue(application, owner, previous="")
        db = self.world.db.connection
        row = await db.fetchrow(
            "SELECT application_id, resource_owner_id FROM oauth_access_tokens WHERE refresh_token = $1 AND revoked_at IS NULL",
            str(form.get("refresh_token", "")),
        )
        if row is None:
            return web.json_response({"error": "invalid_grant"}, status=400, headers=self.headers)
        return await self._issue(row[0], row[1], previous=str(form["refresh_token"]))

    async def _issue(self, application: Any, owner: Any, previous: str) -> web.Response:
        if self.clear:
            await self.world.db.execute(
                "UPDATE oauth_access_tokens SET revoked_at = (clock_timestamp() AT TIME ZONE 'utc') "
                "WHERE application_id = $1 AND resource_owner_id = $2 AND revoked_at IS NULL",
                application,
                owner,
            )
        access = secrets.token_urlsafe(32)
        refresh = secrets.token_urlsafe(32) if self.refreshing else None
        await self.world.issue(
            application, owner, token=access, refresh_token=refresh, previous_refresh_token=previous, expires_in=self.lifetime,
            created_at="=clock_timestamp() AT TIME ZONE 'utc'",
        )  # fmt: skip
        said = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime, "refresh_token": refresh}
        return web.json_response({k: v for k, v in said.items() if v is not None}, headers=self.headers)

    async def _scim(self, request: web.Request) -> web.Response:
        """The first use of a refreshed token ends the one before it, as at Doorkeeper."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        await self.world.db.execute(
            "UPDATE oauth_access_tokens SET revoked_at = (clock_timestamp() AT TIME ZONE 'utc') WHERE revoked_at IS NULL AND "
            "refresh_token = (SELECT previous_refresh_token FROM oauth_access_tokens WHERE token = $1) ",
            token,
        )
        await self.world.db.execute("UPDATE oauth_access_tokens SET previous_refresh_token = '' WHERE token = $1", token)
        alive = await self.world.db.connection.fetchval(
            "SELECT 1 FROM oauth_access_tokens WHERE token = $1 AND revoked_at IS NULL AND (expires_in IS NULL OR created_at + "
            "expires_in * interval '1 second' >= clock_timestamp() AT TIME ZONE 'utc')",
            token,
        )
        if alive is None:
            return web.json_response({"detail": "no"}, status=401, headers={"WWW-Authenticate": 'Bearer realm="Doorkeeper"'})
        return web.json_response({"totalResults": 0, "Resources": []})


class Connection:
    """One connection of a customer's Okta, set up by authorization code, through the proxy."""

    def __init__(self, vendor: Vendor, application: Any, owner: Any, uid: str, secret: str = "app-secret") -> None:
        self.vendor = vendor
        self.application = application
        self.owner = owner
        self.uid = uid
        self.secret = secret
        self.access = ""
        self.refresh_token = ""

    @classmethod
    async def of(cls, vendor: Vendor, name: str = "acme") -> Connection:
        """A customer that has signed in once."""
        application = await vendor.world.db.application(name)
        owner = await vendor.world.db.owner(account=name)
        made = cls(vendor, application, owner, f"uid-{name}")
        await made.authorize()
        return made

    async def authorize(self) -> None:
        """The customer's administrator consents, and Okta exchanges the code."""
        code = secrets.token_urlsafe(32)
        self.vendor.codes[code] = (self.application, self.owner)
        query = urllib.parse.urlencode({"client_id": self.uid, "response_type": "code", "code": code})
        async with self.vendor.world.session.get(
            f"{self.vendor.world.url}/oauth/authorize?{query}", allow_redirects=False
        ) as answer:
            assert answer.status == 302
        status, _ = await self.ask(grant_type="authorization_code", code=code, redirect_uri=CALLBACK)
        assert status == 200, status

    async def refresh(self, *, lost: bool = False) -> tuple[int, str]:
        """Renew; returns the status and the incident."""
        return await self.ask(lost=lost, grant_type="refresh_token", refresh_token=self.refresh_token)

    async def ask(self, *, lost: bool = False, **form: str) -> tuple[int, str]:
        world = self.vendor.world
        form |= {"client_id": self.uid, "client_secret": self.secret}
        async with world.session.post(f"{world.url}/oauth/token", data=form, headers={"User-Agent": OKTA}) as answer:
            said = await answer.json()
            if answer.status == 200 and not lost:
                self.access, self.refresh_token = said["access_token"], said.get("refresh_token", "")
            return answer.status, answer.headers.get("X-Incident-Id", "")
