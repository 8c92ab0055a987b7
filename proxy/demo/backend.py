"""A sample SCIM backend: Users and Groups in memory, RFC 7644 as far as identity providers use it in daily work.

It has no authentication of its own: like many a backend it trusts what stands in front of it. Memory is bounded by
`RESOURCES_LIMIT`.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiohttp import web

BASE: Final = "/scim/v2"
RESOURCES_LIMIT: Final = 10_000
"""Resources per type: a demo that runs for days under a script must not eat the machine."""
PAGE: Final = 100
"""Resources in a list answer unless `count` asks for fewer: one page of Okta's."""

Resource = dict[str, Any]

_ERROR_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:Error"
_LIST_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_FILTER: Final = re.compile(r'^\s*([A-Za-z][\w.]*)\s+eq\s+"((?:[^"\\]|\\.)*)"\s*$', re.IGNORECASE)
_KEYS: Final = {"Users": "userName", "Groups": "displayName"}
_CONFIG: Final[Resource] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
    "filter": {"supported": True, "maxResults": PAGE},
    "changePassword": {"supported": False},
    "sort": {"supported": False},
    "etag": {"supported": False},
    "authenticationSchemes": [
        {"type": "oauthbearertoken", "name": "OAuth Bearer Token", "description": "Checked in front of this server"}
    ],
}


class ScimError(Exception):
    """An answer of RFC 7644 section 3.12: HTTP status, scimType (may be empty), detail for people."""

    def __init__(self, status: int, detail: str, scim_type: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.body: Resource = {"schemas": [_ERROR_SCHEMA], "status": str(status), "detail": detail}
        if scim_type:
            self.body["scimType"] = scim_type


class Backend:
    """The backend's memory. `answered` counts the requests that reached it: the demo shows that a refused one did not."""

    def __init__(self) -> None:
        self.answered = 0
        self._stores: dict[str, dict[str, Resource]] = {kind: {} for kind in _KEYS}

    def app(self) -> web.Application:
        """Return the aiohttp application, mounted at `/scim/v2`."""
        app = web.Application(middlewares=[self._around])
        kind = "{kind:Users|Groups}"
        app.router.add_get(f"{BASE}/ServiceProviderConfig", self._config)
        app.router.add_get(f"{BASE}/{kind}", self._list)
        app.router.add_post(f"{BASE}/{kind}", self._create)
        app.router.add_get(f"{BASE}/{kind}/{{id}}", self._get)
        app.router.add_put(f"{BASE}/{kind}/{{id}}", self._replace)
        app.router.add_patch(f"{BASE}/{kind}/{{id}}", self._modify)
        app.router.add_delete(f"{BASE}/{kind}/{{id}}", self._delete)
        return app

    @web.middleware
    async def _around(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.answered += 1
        try:
            response = await handler(request)
        except ScimError as error:
            response = _answer(error.body, error.status)
        except web.HTTPException as error:
            response = _answer(ScimError(error.status, error.reason).body, error.status)
        if "gzip" in request.headers.get("Accept-Encoding", "") and response.status != 204:
            response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _config(self, _request: web.Request) -> web.Response:
        return _answer(_CONFIG)

    async def _list(self, request: web.Request) -> web.Response:
        found = [r for r in self._store(request).values() if _matches(r, request.query.get("filter"))]
        start = max(_number(request, "startIndex", 1), 1)
        count = min(max(_number(request, "count", PAGE), 0), PAGE)
        page = [_located(request, resource) for resource in found[start - 1 : start - 1 + count]]
        counts = {"totalResults": len(found), "startIndex": start, "itemsPerPage": len(page)}
        return _answer({"schemas": [_LIST_SCHEMA], **counts, "Resources": page})

    async def _create(self, request: web.Request) -> web.Response:
        store, body = self._store(request), await _body(request)
        name = _name(request, body)
        if any(str(r[_KEYS[_kind(request)]]).casefold() == name.casefold() for r in store.values()):
            raise ScimError(409, f"{name} exists already.", "uniqueness")
        if len(store) >= RESOURCES_LIMIT:
            raise ScimError(507, f"This sample backend holds at most {RESOURCES_LIMIT} resources of a type.")
        now = _now()
        resource = {**body, "id": uuid.uuid4().hex, "meta": {"resourceType": _kind(request)[:-1], "created": now}}
        resource["meta"]["lastModified"] = now
        store[resource["id"]] = resource
        located = _located(request, resource)
        return _answer(located, 201, {"Location": located["meta"]["location"]})

    async def _get(self, request: web.Request) -> web.Response:
        return _answer(_located(request, self._resource(request)))

    async def _replace(self, request: web.Request) -> web.Response:
        old, body = self._resource(request), await _body(request)
        _name(request, body)
        return self._keep(request, {**body, "id": old["id"], "meta": {**old["meta"]}})

    async def _modify(self, request: web.Request) -> web.Response:
        resource, body = dict(self._resource(request)), await _body(request)
        operations = body.get("Operations")
        if not isinstance(operations, list):
            raise ScimError(400, "A PATCH body needs Operations.", "invalidSyntax")
        for operation in operations:
            _apply(resource, operation)
        _name(request, resource)
        return self._keep(request, resource)

    async def _delete(self, request: web.Request) -> web.Response:
        del self._store(request)[self._resource(request)["id"]]
        return web.Response(status=204)

    def _keep(self, request: web.Request, resource: Resource) -> web.Response:
        resource["meta"]["lastModified"] = _now()
        self._store(request)[resource["id"]] = resource
        return _answer(_located(request, resource))

    def _store(self, request: web.Request) -> dict[str, Resource]:
        return self._stores[_kind(request)]

    def _resource(self, request: web.Request) -> Resource:
        wanted = request.match_info["id"]
        try:
            return self._store(request)[wanted]
        except KeyError:
            raise ScimError(404, f"There is no {_kind(request)[:-1]} {wanted}.") from None


def _kind(request: web.Request) -> str:
    return request.match_info["kind"]


def _name(request: web.Request, body: Resource) -> str:
    key = _KEYS[_kind(request)]
    name = body.get(key)
    if not isinstance(name, str) or not name:
        raise ScimError(400, f"{key} is required.", "invalidValue")
    return name


async def _body(request: web.Request) -> Resource:
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise ScimError(400, "The body is not JSON.", "invalidSyntax") from None
    if not isinstance(body, dict):
        raise ScimError(400, "The body is not a JSON object.", "invalidSyntax")
    return body


def _answer(body: Resource, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers=headers, content_type="application/scim+json", charset="utf-8"
    )


def _located(request: web.Request, resource: Resource) -> Resource:
    """Return the resource with `meta.location` as the client would address it: the proxy leaves Host as it came."""
    place = f"{request.scheme}://{request.host}{BASE}/{_kind(request)}/{resource['id']}"
    return {**resource, "meta": {**resource["meta"], "location": place}}


def _matches(resource: Resource, wanted: str | None) -> bool:
    if wanted is None:
        return True
    found = _FILTER.match(wanted)
    if found is None:
        raise ScimError(400, 'This sample backend knows only filters of the form: attribute eq "value".', "invalidFilter")
    value: Any = resource
    for part in found[1].split("."):
        value = (
            next((v for k, v in value.items() if k.casefold() == part.casefold()), None) if isinstance(value, dict) else None
        )
    return isinstance(value, str) and value.casefold() == json.loads(f'"{found[2]}"').casefold()


def _apply(resource: Resource, operation: Any) -> None:
    """Apply one PATCH operation to a top-level attribute or one below it: what Okta and Entra send for Users and Groups."""
    op = str(operation.get("op", "")).lower() if isinstance(operation, dict) else ""
    if op not in ("add", "replace", "remove"):
        raise ScimError(400, "A PATCH operation is add, replace or remove.", "invalidSyntax")
    path, value = operation.get("path"), operation.get("value")
    if path is None:
        if op == "remove" or not isinstance(value, dict):
            raise ScimError(400, "An operation without path needs an object as value.", "noTarget")
        resource.update({k: v for k, v in value.items() if k not in ("id", "meta", "schemas")})
        return
    _set(resource, str(path).split("."), op, value)


def _set(resource: Resource, path: list[str], op: str, value: Any) -> None:
    *above, last = path
    if path[0] in ("id", "meta", "schemas"):
        raise ScimError(400, f"{path[0]} cannot be changed.", "mutability")
    for part in above:
        inner = resource.get(part)
        resource[part] = resource = dict(inner) if isinstance(inner, dict) else {}
    if op == "remove":
        resource.pop(last, None)
    elif op == "add" and isinstance(resource.get(last), list) and isinstance(value, list):
        resource[last] = [*resource[last], *value]
    else:
        resource[last] = value


def _number(request: web.Request, name: str, otherwise: int) -> int:
    text = request.query.get(name, "")
    if text and not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ScimError(400, f"{name} is not a number.", "invalidValue")
    return int(text) if text else otherwise


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
