"""A simulated Okta provisioning client: it sends what Okta sends and falls silent as Okta does.

Source: what Okta's SCIM client is publicly known to send (User-Agent, Accept, order of calls). After a failure the job
stays failed until an administrator resubmits it: `failure` is set and nothing more is sent.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp
import yarl

HEADERS: Final = {
    "User-Agent": "Okta SCIM Client 1.0.0",
    "Accept": "application/scim+json",
    "Accept-Encoding": "gzip,deflate",
    "Content-Type": "application/scim+json",
}
TIMEOUT: Final = 60.0
"""Seconds Okta waits for an answer."""

Watch = Callable[[str, str, int], None]
"""Told of every call: method, target below the base URL, status."""

_USER: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
_PATCH: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class ProvisioningError(Exception):
    """The job failed. `status` is HTTP's (0: no answer at all), `detail` what the server said, `incident` its incident id."""

    def __init__(self, status: int, detail: str, incident: str) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.incident = incident


class OktaApp:
    """One application in one customer's Okta: a base URL and an Authorization header, typed in by an administrator."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        authorization: str | None,
        watch: Watch = lambda _method, _path, _status: None,
    ) -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._headers = dict(HEADERS)
        if authorization is not None:
            self._headers["Authorization"] = authorization
        self.failure: ProvisioningError | None = None
        self.sent = 0
        self._watch = watch

    async def test_connection(self) -> int:
        """Press "Test API Credentials": return how many users there are."""
        return int((await self._call("GET", "/Users?startIndex=1&count=2"))["totalResults"])

    async def create(self, user_name: str, given: str, family: str) -> str:
        """Assign a user to the application: look for it, then create it. Return its id."""
        wanted = urllib.parse.quote(f'userName eq "{user_name}"')
        found = await self._call("GET", f"/Users?filter={wanted}&startIndex=1&count=100")
        if found["totalResults"]:
            return str(found["Resources"][0]["id"])
        body = {
            "schemas": [_USER],
            "userName": user_name,
            "name": {"givenName": given, "familyName": family},
            "emails": [{"primary": True, "value": user_name, "type": "work"}],
            "displayName": f"{given} {family}",
            "active": True,
        }
        return str((await self._call("POST", "/Users", body))["id"])

    async def update(self, user_id: str, changes: Mapping[str, Any]) -> None:
        """Push a changed profile: read it, then replace it."""
        now = await self._call("GET", f"/Users/{user_id}")
        await self._call("PUT", f"/Users/{user_id}", {**now, **changes})

    async def deactivate(self, user_id: str) -> None:
        """Unassign a user. Okta never sends DELETE /Users."""
        await self._call("GET", f"/Users/{user_id}")
        operation = {"op": "replace", "value": {"active": False}}
        await self._call("PATCH", f"/Users/{user_id}", {"schemas": [_PATCH], "Operations": [operation]})

    async def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one request. After a failure nothing is sent: the same failure is raised again."""
        if self.failure is not None:
            raise self.failure
        self.sent += 1
        status, answer, incident = await self._exchange(method, path, body)
        self._watch(method, path, status)
        if not 200 <= status < 300:
            self.failure = ProvisioningError(status, str(answer.get("detail", "")), incident)
            raise self.failure
        return answer

    async def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None) -> tuple[int, dict[str, Any], str]:
        data = None if body is None else json.dumps(body).encode()
        url, limit = yarl.URL(self._base + path, encoded=True), aiohttp.ClientTimeout(TIMEOUT)
        try:
            async with self._session.request(method, url, data=data, headers=self._headers, timeout=limit) as response:
                raw = await response.read()
                return response.status, _json(raw), response.headers.get("X-Incident-Id", "")
        except (aiohttp.ClientError, OSError) as error:
            return 0, {"detail": f"no answer: {error}"}, ""


def _json(raw: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(raw)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
