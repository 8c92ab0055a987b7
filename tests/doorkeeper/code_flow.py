"""A customer's Okta that was set up by authorization code, with the OAuth endpoints reached through the proxy."""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from typing import Final

from tests.doorkeeper.asking import Address, Answer, ask, bearer
from tests.doorkeeper.vendor import CALLBACK, Customer, Vendor

AGENT: Final = [("User-Agent", b" Okta SCIM Client 1.0.0")]
FORM: Final = [("Content-Type", b" application/x-www-form-urlencoded"), *AGENT]
PATIENCE: Final = 60.0


class CodeFlow:
    """One connection. What it holds are the tokens that it was given last."""

    def __init__(self, vendor: Vendor, through: Address, customer: Customer) -> None:
        self.vendor = vendor
        self.through = through
        self.customer = customer
        self.secret = customer.secret
        self.access_token = ""
        self.refresh_token = ""

    async def authorize(self, *, clear: bool = False) -> None:
        """The administrator signs in, and Okta exchanges the code."""
        answer = await self.exchange(await self.code(clear=clear))
        assert answer.status == 200, answer

    async def code(self, *, clear: bool = False) -> str:
        """`clear`: this vendor revokes at that moment what the account had before."""
        query = {"client_id": self.customer.uid, "redirect_uri": CALLBACK, "response_type": "code", "scope": "scim"}
        query |= {"account": str(self.customer.account)} | ({"clear": "1"} if clear else {})
        answer = await ask(self.through, "/oauth/authorize?" + urllib.parse.urlencode(query), fields=AGENT)
        assert answer.status == 302, answer
        return urllib.parse.parse_qs(urllib.parse.urlsplit(answer.fields["location"]).query)["code"][0]

    async def exchange(self, code: str, redirect_uri: str = CALLBACK) -> Answer:
        return await self._token(grant_type="authorization_code", code=code, redirect_uri=redirect_uri)

    async def refresh(self) -> Answer:
        return await self._token(grant_type="refresh_token", refresh_token=self.refresh_token)

    async def lose_a_refresh(self) -> None:
        """The request arrives, the vendor has issued a new token, and then the line is cut: Okta never sees the answer."""
        issued = "SELECT count(*) FROM oauth_access_tokens WHERE application_id = $1"
        before = await self.vendor.sql(issued, self.customer.application)
        body = self._form(grant_type="refresh_token", refresh_token=self.refresh_token)
        _, writer = await asyncio.open_connection(*self.through)
        head = b"POST /oauth/token HTTP/1.1\r\nHost: scim.example\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        head += b"User-Agent: Okta SCIM Client 1.0.0\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        deadline = time.monotonic() + PATIENCE
        while await self.vendor.sql(issued, self.customer.application) == before:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        writer.transport.abort()

    async def scim(self, token: str = "") -> Answer:
        return await ask(self.through, fields=[*bearer(token or self.access_token), *AGENT])

    async def until_refused(self, token: str = "") -> str:
        """Ask until the token is refused; return the incident."""
        token = token or self.access_token
        deadline = time.monotonic() + PATIENCE
        while (answer := await self.scim(token)).status == 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert answer.status == 401, answer
        return answer.fields["x-incident-id"]

    async def _token(self, **form: str) -> Answer:
        answer = await ask(self.through, "/oauth/token", method="POST", fields=FORM, body=self._form(**form))
        if answer.status == 200:
            self.access_token, self.refresh_token = answer.json["access_token"], answer.json.get("refresh_token", "")
        return answer

    def _form(self, **form: str) -> bytes:
        return urllib.parse.urlencode({**form, "client_id": self.customer.uid, "client_secret": self.secret}).encode()
